//! Reads a Parquet file of records.
//!
//! Columns are found by name, in any order and beside others, so that a file that another program has written again can be read. No
//! memory is taken by what a file says of its size: rows are decoded some at a time.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;
use qmp_wire::Record;

use super::cell::{Cell, Row, record};
use super::columns::{Column, JOURNAL_KEY, LOCAL_KEY};
use super::part_error::PartError;

/// Rows that are decoded at a time, so that a row group of long records need not fit in memory twice.
const DECODED_MAX_RECORDS: usize = 1024;

/// A Parquet file of records.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    journal: Option<Box<str>>,
    is_local: bool,
    rows: u64,
    /// The lowest offset of each row group, and the number of the row before it; 0 where the file does not say.
    groups: Vec<(u64, u64)>,
}

impl Part {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    ///
    /// [`PartError::Io`], [`PartError::Parquet`], [`PartError::Damaged`] and [`PartError::Column`].
    pub fn open(path: &Path) -> Result<Self, PartError> {
        guarded(|| Self::read_footer(path))
    }

    fn read_footer(path: &Path) -> Result<Self, PartError> {
        let reader = reader(path)?;
        let metadata = reader.metadata();
        let file = metadata.file_metadata();
        let offsets = places(file.schema_descr())?[Column::Offset as usize];
        let keys = file.key_value_metadata();
        let value = |name: &str| keys?.iter().find(|entry| entry.key == name)?.value.as_deref();
        let (mut groups, mut rows) = (Vec::new(), 0);
        for group in metadata.row_groups() {
            let lowest = offsets.and_then(|index| match group.column(index).statistics() {
                Some(Statistics::Int64(statistics)) => u64::try_from(*statistics.min_opt()?).ok(),
                _ => None,
            });
            groups.push((lowest.unwrap_or_default(), rows));
            rows += u64::try_from(group.num_rows()).unwrap_or_default();
        }
        Ok(Self {
            path: path.to_owned(),
            journal: value(JOURNAL_KEY).map(Into::into),
            is_local: value(LOCAL_KEY) == Some("true"),
            rows,
            groups,
        })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal that the offsets belong to; `None` if another program wrote the file.
    #[must_use]
    pub fn journal(&self) -> Option<&str> {
        self.journal.as_deref()
    }

    /// Whether the records have no host in the journal.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The number of records, as the file says.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The lowest offset of each row group; 0 where the file does not say.
    pub(super) fn lowest_offsets(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().map(|(lowest, _)| *lowest)
    }

    /// Passes the records of a row group to `take`, in the order of the file.
    ///
    /// # Errors
    ///
    /// Those of the file, and of `take`.
    pub fn read_group<E: From<PartError>>(
        &self,
        group: usize,
        mut take: impl FnMut(Record<'static>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut columns = guarded(|| columns(&self.path, group))?;
        let mut row = self.groups[group].1;
        loop {
            let rows = guarded(|| decode(&mut columns))?;
            if rows.is_empty() {
                return Ok(());
            }
            for mut cells in rows {
                row += 1;
                let what = |what| PartError::Row { row, what };
                take(record(&mut cells, self.is_local).map_err(what)?)?;
            }
        }
    }
}

/// Calls the library, which panics at some damaged pages. Nothing that it holds is used after an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, PartError>) -> Result<T, PartError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(PartError::Damaged))
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>, PartError> {
    Ok(SerializedFileReader::new(File::open(path)?)?)
}

/// The readers of the columns of a row group; `None` for a column that the file does not have.
fn columns(path: &Path, group: usize) -> Result<Vec<Option<ColumnReader>>, PartError> {
    let reader = reader(path)?;
    let group = reader.get_row_group(group)?;
    let places = places(reader.metadata().file_metadata().schema_descr())?;
    let columns = places.map(|place| place.map(|index| group.get_column_reader(index)).transpose());
    Ok(columns.into_iter().collect::<Result<_, _>>()?)
}

/// The index of each column in the file.
fn places(schema: &SchemaDescriptor) -> Result<[Option<usize>; Column::ALL.len()], PartError> {
    let mut places = [None; Column::ALL.len()];
    for column in Column::ALL {
        let fault = |what| PartError::Column { column: column.name(), what };
        let found = schema.columns().iter().position(|one| one.path().parts() == [column.name()]);
        let Some(index) = found else {
            if column.is_required() {
                return Err(fault("missing"));
            }
            continue;
        };
        let found = schema.column(index);
        if found.max_rep_level() > 0 || found.max_def_level() > 1 {
            return Err(fault("a list"));
        }
        match (column.is_number(), found.physical_type()) {
            (true, PhysicalType::INT64) | (false, PhysicalType::BYTE_ARRAY) => {
                places[column as usize] = Some(index);
            }
            (true, _) => return Err(fault("not of 64-bit integers")),
            (false, _) => return Err(fault("not of text")),
        }
    }
    Ok(places)
}

/// Decodes the next rows of all columns.
fn decode(columns: &mut [Option<ColumnReader>]) -> Result<Vec<Row>, PartError> {
    let mut rows: Vec<Row> = Vec::new();
    for (column, reader) in Column::ALL.into_iter().zip(columns) {
        let cells: Vec<Cell<'static>> = match reader {
            None => continue,
            Some(ColumnReader::Int64ColumnReader(reader)) => {
                read::<Int64Type>(reader, |value| Ok(Cell::Number(*value)))?
            }
            Some(ColumnReader::ByteArrayColumnReader(reader)) => {
                read::<ByteArrayType>(reader, |value| text(column, value))?
            }
            Some(_) => return Err(PartError::Column { column: column.name(), what: "of another type" }),
        };
        if column == Column::Offset {
            rows = cells.iter().map(|_| Row::default()).collect();
        }
        if cells.len() != rows.len() {
            return Err(PartError::Column { column: column.name(), what: "of another length than `offset`" });
        }
        for (row, cell) in rows.iter_mut().zip(cells) {
            row[column as usize] = cell;
        }
    }
    Ok(rows)
}

fn text(column: Column, value: &ByteArray) -> Result<Cell<'static>, PartError> {
    let text = std::str::from_utf8(value.data());
    let text = text.map_err(|_| PartError::Column { column: column.name(), what: "not UTF-8" })?;
    Ok(Cell::Text(text.to_owned().into()))
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    cell: impl Fn(&T::T) -> Result<Cell<'static>, PartError>,
) -> Result<Vec<Cell<'static>>, PartError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let (rows, _, _) = reader.read_records(DECODED_MAX_RECORDS, Some(&mut levels), None, &mut values)?;
    let mut values = values.iter();
    let mut next = |is_value: bool| match is_value {
        true => values.next().map_or(Ok(Cell::Null), &cell),
        false => Ok(Cell::Null),
    };
    match levels.is_empty() {
        true => (0..rows).map(|_| next(true)).collect(),
        false => levels.iter().map(|level| next(*level > 0)).collect(),
    }
}

#[cfg(test)]
mod tests;

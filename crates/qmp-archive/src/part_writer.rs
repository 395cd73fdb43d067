//! Writes records as a Parquet file.

use std::io::Write;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use qmp_wire::Record;

use super::cell::{Cell, Origin, cell};
use super::columns::{Column, JOURNAL_KEY, LOCAL_KEY, ROW_GROUP_MAX_RECORDS, properties, schema};
use super::part_error::PartError;

/// Writes the records of one origin as a whole Parquet file, and returns the writer. The records are sorted by VM and time of
/// reception; each has an offset.
///
/// # Errors
///
/// [`PartError::Io`] and [`PartError::Parquet`].
pub fn write_part<W: Write + Send>(
    out: W,
    origin: &Origin,
    records: &mut [Record<'_>],
) -> Result<W, PartError> {
    records.sort_by(|a, b| (&a.vm, a.received, a.offset).cmp(&(&b.vm, b.received, b.offset)));
    let mut metadata = vec![KeyValue::new(JOURNAL_KEY.to_owned(), origin.journal.to_string())];
    if origin.is_local {
        metadata.push(KeyValue::new(LOCAL_KEY.to_owned(), "true".to_owned()));
    }
    let mut writer = SerializedFileWriter::new(out, schema(), Arc::new(properties(metadata)))?;
    for records in records.chunks(ROW_GROUP_MAX_RECORDS) {
        let mut group = writer.next_row_group()?;
        for column in Column::ALL {
            let mut out = group.next_column()?.expect("the columns of the schema");
            write_column(&mut out, column, records, origin)?;
            out.close()?;
        }
        group.close()?;
    }
    Ok(writer.into_inner()?)
}

fn write_column(
    out: &mut SerializedColumnWriter<'_>,
    column: Column,
    records: &[Record<'_>],
    origin: &Origin,
) -> Result<(), ParquetError> {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    let mut levels: Vec<i16> = Vec::with_capacity(records.len());
    for record in records {
        let cell = cell(column, record, origin);
        levels.push(i16::from(cell != Cell::Null));
        match cell {
            Cell::Null => {}
            Cell::Number(number) => numbers.push(number),
            Cell::Text(text) => texts.push(ByteArray::from(text.as_ref())),
        }
    }
    let levels = (!column.is_required()).then_some(levels.as_slice());
    if column.is_number() {
        out.typed::<Int64Type>().write_batch(&numbers, levels, None)?;
    } else {
        out.typed::<ByteArrayType>().write_batch(&texts, levels, None)?;
    }
    Ok(())
}

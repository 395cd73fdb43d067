//! The errors of reading and writing a Parquet file of records.

use parquet::errors::ParquetError;

/// Errors of a Parquet file of records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is no whole Parquet file, or uses what the library does not have, such as another compression.
    #[error("not a Parquet file that can be read: {0}")]
    Parquet(ParquetError),
    /// A page of the file is damaged so that the library ended reading it by a panic.
    #[error("not a Parquet file that can be read: a page is damaged")]
    Damaged,
    /// The file has no such column, or one of another type.
    #[error("not a file of records: column `{column}` is {what}")]
    Column {
        /// The name of the column.
        column: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row is not a record.
    #[error("row {row} is not a record: {what}")]
    Row {
        /// The number of the row in the file, from 1.
        row: u64,
        /// The invalid value.
        what: String,
    },
}

impl From<ParquetError> for PartError {
    fn from(error: ParquetError) -> Self {
        // A full disk is an error of the disk, and its text needs no words around it.
        match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(source) => Self::Parquet(ParquetError::External(source)),
            },
            error => Self::Parquet(error),
        }
    }
}

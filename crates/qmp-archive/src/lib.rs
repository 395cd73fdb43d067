#![doc = include_str!("../README.md")]
//!
//! ```text
//! records ─ ParquetFolder ─ windows ─ parts:   DIR/day=2026-11-28/host=node1/part-FIRST-LAST.parquet
//! parts ─ OffsetMerge ─ records in the order of their offsets
//! lines ─ JsonLines ─ records
//! ```
//!
//! A folder of parts is written by one export after another. Parts are immutable: they are written beside, synced and renamed. A
//! file of the folder, `_qmp-export.json`, has the journal and the offset up to which its records are in the parts; an export that
//! was killed leaves parts after that offset, whose names say which records the next export leaves out.
//!
//! The crate never knows journals, hubs or the terminal.

#[cfg(test)]
mod samples;
mod day;
mod memory;
mod columns;
mod cell;
mod part_error;
mod part_writer;
mod part;
mod merge;
mod json_lines;
mod find;
mod whole_file;
mod manifest;
mod part_name;
mod folder;

pub use cell::Origin;
pub use columns::ROW_GROUP_MAX_RECORDS;
pub use find::{Archived, FindError, find};
pub use folder::{FolderError, FolderSummary, ParquetFolder};
pub use json_lines::{JsonLines, LineError};
pub use merge::{MergeError, OffsetMerge};
pub use part::Part;
pub use part_error::PartError;
pub use part_writer::write_part;
pub use whole_file::WholeFile;

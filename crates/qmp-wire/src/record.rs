//! Records: the entries of a journal, and their JSON lines.

mod error;
mod instant;
mod detach_reason;
mod body;
mod read;
mod write;

pub use body::{ADDED_SEQ_FIRST, Body, Causes, Epoch, Offset, Record, Seq};
pub use detach_reason::DetachReason;
pub use error::RecordError;
pub use instant::UnixMicros;

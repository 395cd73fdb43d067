#![doc = include_str!("../README.md")]
//!
//! ```text
//! Appender ─ Batch → queue → writer: names → numbering → storage (one transaction) → head
//!                                                                                     │
//! Reader, Cursor ─ filter → scan: segments by time, postings by name, records ────────┤
//! Reader::read_summaries ─ counts and changes of segments, and of the records after ────┘
//! ```
//!
//! The writer knows its file by the trait `Storage` only, so that a test runs it on a paused clock with a disk that fails
//! (`docs/adr/0012-journal-storage.md`).
//!
//! # Choices
//!
//! - **Write-ahead log, `synchronous=FULL`**: a commit is on the disk before it is published, and readers never wait
//!   for the writer. The log is copied into the file every 16 MiB.
//! - **Group commit**: a commit of 20,000 records takes about half the time per record of one of 1,000, more than any
//!   other setting gives. So the writer commits the whole queue, and a lone event at once.
//! - **No index on the commit path**: indexes by VM and by event cost more than the records themselves. Sealed
//!   segments have postings, written once in the order of the file: three to four bytes a record. Their key
//!   begins with the segment for that reason; by name first, a thousand VMs would touch a thousand pages.
//! - **Summaries**: a sealed segment also has one blob with its records counted by VM, name and minute, and one with what
//!   they changed, as a [`Digest`] of the journal's owner derives it: a year of 10^7 records is read in a fraction of a
//!   second. Rows by VM and hour would touch a thousand pages a segment.
//! - **Pages of 8 KiB**: three bytes a record less than with 4 KiB; no difference in time was measured.
//! - **One row a statement**, prepared once: statements of 10 and 50 rows were not faster. A page cache larger than
//!   SQLite's own was not faster, either.
//!
//! `cargo bench -p qmp-journal --bench journal` compares the journal with plain SQLite.
//!
//! The crate never knows monitors, VMs, findings, HTTP or TLS: a program that reads journals links it alone.

mod body;
mod varint;
mod columns;
mod checksum;
mod limits;
mod globs;
mod query;
mod retention;
mod digest;
mod summary;
mod options;
mod error;
mod beside;
mod damage;
mod rows;
mod bounds;
mod names;
mod filter;
mod segment;
mod checkpoint;
mod feed;
mod batch;
mod foreign;
mod unreadable;
mod numbering;
mod health;
mod commit_offsets;
mod queue;
mod figures;
mod sent_names;
mod checkpoints;
mod feeds;
mod schema;
mod lock;
mod file;
mod row;
mod light;
mod open_part;
mod open_summary;
mod storage;
mod summaries;
mod summary_cache;
mod read;
mod restore;
mod store;
mod prune;
mod fill;
mod sqlite;
mod sweep;
mod fill_pause;
mod passing;
mod find_foreign;
mod find;
mod vm_selection;
mod segment_counts;
mod summary_request;
mod summary_plan;
mod summary_load;
mod summary_reader;
mod scan;
mod cursor;
mod reader;
mod lookup;
mod summary_check;
mod verify_numbers;
mod verify;
mod backup;
mod writer;
mod handle;

pub use backup::{Backup, BackupError, BackupSummary};
pub use batch::{Batch, Draft};
pub use body::{RecordKind, UnknownKind};
pub use checkpoint::Checkpoint;
pub use commit_offsets::{CommitOffset, Ticket};
pub use cursor::Cursor;
pub use damage::{Damage, DamagedSpan};
pub use digest::{Change, ChangeKind, Class, Digest, NoDigest, Track};
pub use error::{JournalEnded, JournalError, Overrun};
pub use feed::{Feed, StreamPosition};
pub use figures::{Figures, Gauge};
pub use find::EpochSpan;
pub use foreign::{ForeignBatch, ForeignError};
pub use globs::{Globs, QueryError};
pub use handle::{Journal, PruneTicket};
pub use health::Health;
pub use limits::*;
pub use lock::no_follow;
pub use lookup::Name;
pub use options::JournalOptions;
pub use query::{FINDING_MEMBERS, Query, WherePath};
pub use queue::Appender;
pub use reader::{JournalVm, Reader, Tail, Tally};
pub use retention::{PrunedRange, Retention};
pub use row::LargeRecord;
pub use schema::{APPLICATION_ID, FORMAT_VERSION};
pub use segment_counts::{SegmentCounts, VmCounts};
pub use summary::{CountKey, MinuteCount};
pub use summary_request::{SummaryRead, SummaryRequest, SummaryVisitor};
pub use verify::{VerifyReport, verify, verify_with};
pub use vm_selection::VmSelection;

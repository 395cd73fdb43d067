//! The journal's limits, each with its unit and its reason.

use std::time::Duration;

/// How much may wait between the appenders and the writer, the commit under way included, in bytes.
///
/// At QEMU's own ceiling of about 3,000 events a second (half a megabyte) one VM fills it in two minutes of
/// a disk that does not answer; 1,000 VMs at ten events a second fill it in half a minute. One batch that
/// is larger than the limit is taken when nothing else waits, so that the longest message can be recorded.
pub const JOURNAL_QUEUE_MAX_BYTES: usize = 64 << 20;

/// Records in one transaction at most.
///
/// A group this large spreads one `fsync` over 16,384 records; larger ones gain nothing and would make the
/// head, and whoever waits for it, late.
pub const COMMIT_MAX_RECORDS: usize = 16_384;

/// Records in a sealed segment.
///
/// Reading without an index never covers more than one segment: 16,384 records are scanned in about 2 ms.
/// Smaller segments would spend more rows on the same postings.
pub const SEGMENT_RECORDS: u64 = 16_384;

/// Texts of the records in a sealed segment, in bytes; the record that passes the limit is the last.
///
/// Retention removes whole segments, so this is how exactly it can hold a size. 16,384 records of the usual size have
/// less than half of it.
pub const SEGMENT_MAX_BYTES: u64 = 8 << 20;

/// First pause after a commit that failed; each following one is twice as long.
pub const COMMIT_RETRY_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between two tries of a commit: the delay after which a freed disk is noticed.
pub const COMMIT_RETRY_MAX: Duration = Duration::from_secs(2);

/// How long a connection waits for another program's lock before it reports it.
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the lock of a hub that is gone is waited for: a hub that was killed in the moment in which it started a command
/// leaves its lock to the child until that has become the command.
pub const LEFT_LOCK_MAX: Duration = Duration::from_secs(2);

/// How often it is tried meanwhile.
pub(super) const LEFT_LOCK_POLL: Duration = Duration::from_millis(10);

/// Names (of VMs and events) that the writer and each connection for reading keep in memory, in bytes.
///
/// QEMU has 61 event names; a peer that invents one for each event must not grow the hub. Beyond the limit
/// names are looked up in the file. As much holds the names of 40,000 VMs.
pub const NAMES_CACHED_MAX_BYTES: usize = 4 << 20;

/// Names per filter that are looked up in a segment's postings; a wider filter reads the segment through.
///
/// Sixty-four look-ups cost about a tenth of a scan of the segment.
pub const POSTING_NAMES_MAX: usize = 64;

/// Segments visited in one read transaction.
///
/// A reader that stays in one transaction keeps the write-ahead log from being emptied; 64 segments are a
/// million records, about a second at worst.
pub const READ_SEGMENTS_MAX: usize = 64;

/// Memory of the records that one batch hands out, in bytes; the record that passes the limit is the last.
pub const READ_BATCH_MAX_BYTES: usize = 8 << 20;

/// Data of a record with which it counts as large, in bytes; a reader that bounds its memory reads it alone. The longest
/// events of a QEMU have some KiB, and the state of a VM that is attached has less than 64.
pub const LARGE_RECORD_BYTES: usize = 64 << 10;

/// Spans of records that cannot be read, kept to be reported. Spans next to each other are one; a damaged name or page gives
/// one for each run of records, and whoever reads the report needs no more.
pub const DAMAGED_SPANS_MAX: usize = 256;

/// Offsets that are looked for one by one behind a record that is damaged or missing, before wider steps are taken.
///
/// A page has some dozen records, a damaged page of the table's tree stands for some ten thousand. So many are asked for
/// in about 10 ms.
pub const SEARCHED_RECORDS: u64 = 4_096;

/// The highest offset, number or epoch that a hub goes on from: behind it a damaged file is certain, since a million records a
/// second would take 140,000 years to get there.
pub const NUMBERS_MAX: u64 = 1 << 62;

/// Faults that a check of a journal tells one by one; of more it tells how many. A damaged page gives one for each thing
/// that refers to it.
pub const VERIFY_FAULTS_MAX: usize = 1_000;

/// Idle reading connections kept for the next reader, in connections of about 100 KiB and three file
/// descriptors.
pub const READ_CONNECTIONS_IDLE_MAX: usize = 8;

/// Records that go in one transaction when old ones are removed, if nothing else is to do.
///
/// Removing so many takes about a millisecond: what a commit that comes meanwhile is delayed by.
pub const RETENTION_CHUNK_RECORDS: u64 = 1_024;

/// Into how many segments the time is cut for which records are kept, at least.
///
/// Only whole segments go, so records stay for a tenth longer than was asked.
pub const RETENTION_SEGMENTS_PER_AGE: u32 = 10;

/// How often the writer looks whether something is too old or too much, besides after each segment that it seals.
/// It takes some hundred microseconds.
pub const RETENTION_LOOK_EVERY: Duration = Duration::from_secs(60);

/// The shortest time for which records can be kept. What correlators look back at must still be there.
pub const RETENTION_MIN_AGE: Duration = Duration::from_secs(3600);

/// The smallest size to which a journal can be limited, in bytes: some segments, which go one at a time.
pub const RETENTION_MIN_BYTES: u64 = 16 << 20;

/// How often a reader of a file that another process writes looks for more.
///
/// Below the threshold of what a person notices as late, at a cost of some microseconds each.
pub const FOREIGN_POLL: Duration = Duration::from_millis(100);

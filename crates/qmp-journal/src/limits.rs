//! Limits of the journal, each with its unit and its reason.

use std::time::Duration;

/// Bytes that may wait between the appenders and the writer, the commit in progress included.
///
/// At QEMU's own ceiling of about 3,000 events a second (half a megabyte) one VM fills the queue in two minutes of a
/// disk that does not answer; 1,000 VMs at ten events a second fill it in half a minute. A batch larger than the limit
/// is accepted when the queue is empty, so that the longest message can be recorded.
pub const JOURNAL_QUEUE_MAX_BYTES: usize = 64 << 20;

/// Records in one transaction at most.
///
/// A group this large spreads one `fsync` over 16,384 records; larger ones gain nothing and would delay the head and
/// the readers that wait for it.
pub const COMMIT_MAX_RECORDS: usize = 16_384;

/// Records in a sealed segment.
///
/// Reading without an index never covers more than one segment: 16,384 records are scanned in about 2 ms.
/// Smaller segments would spend more rows on the same postings.
pub const SEGMENT_RECORDS: u64 = 16_384;

/// Texts of the records in a sealed segment, in bytes; the record that exceeds the limit is the last.
///
/// Retention removes whole segments, so the limit is also the precision of a size limit. 16,384 records of the usual
/// size have less than half of it.
pub const SEGMENT_MAX_BYTES: u64 = 8 << 20;

/// The longest word of a change in a summary, in bytes; a longer one is cut. The longest run state of QEMU has 16, the
/// longest kind of finding 21, and the name of an event or device in a word may have up to 256.
pub const WORD_MAX_BYTES: usize = 128;

/// The number of conditions that last at a time for one VM in a summary: beyond, the oldest is taken for ended. A VM has one storm an event, and
/// QEMU has 61 events, few of which come often.
pub const OPEN_WORDS_MAX: usize = 64;

/// VMs of which a summary keeps what holds; beyond, those with the oldest changes are left out. A VM takes some 40 bytes, in
/// every 64th segment.
pub const STANDING_VMS_MAX: usize = 20_000;

/// Segments after which a summary has what holds of all VMs. A reader reads the changes of at most so many segments before
/// its window, about a millisecond.
pub const STANDING_EVERY_SEGMENTS: u32 = 64;

/// Memory of a reader for the summaries of segments that it has decoded, in bytes. A segment takes some 55 KiB, of which a year of
/// 1,000 VMs with 10^7 records has 610. Segments beyond are decoded by each request.
pub const SUMMARY_CACHE_MAX_BYTES: usize = 48 << 20;

/// Threads that decode summaries for one request. A year of 1,000 VMs with 10^7 records takes one thread some 200 ms the first time.
pub const SUMMARY_THREADS_MAX: usize = 4;

/// Records that the writer reads at once for the summary of a segment that has none. Reading this many takes about a
/// millisecond, which is the delay of a commit that waits for it.
pub const FILL_CHUNK_RECORDS: u64 = 1_024;

/// How long the writer waits after an error before it continues to make missing summaries.
pub const FILL_RETRY: Duration = Duration::from_secs(60);

/// Checkpoints of VMs whose epochs retention has removed, so that their last state is still known. A checkpoint takes
/// two to four KiB.
pub const CHECKPOINTS_WITHOUT_EPOCH_MAX: u32 = 1_000;

/// First pause after a failed commit; each following pause is twice as long.
pub const COMMIT_RETRY_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between two tries of a commit: the delay after which the writer notices a freed disk.
pub const COMMIT_RETRY_MAX: Duration = Duration::from_secs(2);

/// How long a connection waits for another program's lock before it reports it.
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a hub waits for the lock of a hub that has ended: a hub that was killed while it started a command leaves
/// its lock to the child process until the child executes the command.
pub const LEFT_LOCK_MAX: Duration = Duration::from_secs(2);

/// Interval between two tries of the lock.
pub(super) const LEFT_LOCK_POLL: Duration = Duration::from_millis(10);

/// Names (of VMs and events) that the writer and each connection for reading keep in memory, in bytes.
///
/// QEMU has 61 event names; a peer that invents a name for each event must not grow the hub. Beyond the limit, names
/// are looked up in the file. The limit holds the names of 40,000 VMs.
pub const NAMES_CACHED_MAX_BYTES: usize = 4 << 20;

/// Names per filter that are looked up in a segment's postings; a wider filter scans the segment.
///
/// Sixty-four look-ups cost about a tenth of a scan of the segment.
pub const POSTING_NAMES_MAX: usize = 64;

/// Segments visited in one read transaction.
///
/// A long read transaction keeps the write-ahead log from being emptied; 64 segments are a million records, about a
/// second at worst.
pub const READ_SEGMENTS_MAX: usize = 64;

/// Memory of the records that one batch returns, in bytes; the record that exceeds the limit is the last.
pub const READ_BATCH_MAX_BYTES: usize = 8 << 20;

/// Data of a record above which it is large, in bytes; a reader with bounded memory reads a large record alone. The
/// longest events of a QEMU have some KiB, and the snapshot of an attached VM has less than 64.
pub const LARGE_RECORD_BYTES: usize = 64 << 10;

/// Spans of records that cannot be read, kept for the report. Adjoining spans are joined; a damaged name or page gives
/// one span for each run of records, and a report needs no more.
pub const DAMAGED_SPANS_MAX: usize = 256;

/// Offsets that are tried one by one after a damaged or missing record, before the steps become wider.
///
/// A page has some dozen records, a damaged page of the table's tree refers to some ten thousand. The search tries this
/// many in about 10 ms.
pub const SEARCHED_RECORDS: u64 = 4_096;

/// The highest offset, number or epoch after which a hub continues: a higher one shows a damaged file, since a million
/// records a second would take 140,000 years to get there.
pub const NUMBERS_MAX: u64 = 1 << 62;

/// Faults that a check of a journal lists; further faults are only counted. A damaged page gives one for each reference
/// to it.
pub const VERIFY_FAULTS_MAX: usize = 1_000;

/// Idle reading connections kept for the next reader, in connections of about 100 KiB and three file
/// descriptors.
pub const READ_CONNECTIONS_IDLE_MAX: usize = 8;

/// Records removed in one transaction by retention, if the writer has nothing else to do.
///
/// Removing this many takes about a millisecond, which is the delay of a commit that waits for it.
pub const RETENTION_CHUNK_RECORDS: u64 = 1_024;

/// The least number of segments in the time for which records are kept.
///
/// Retention removes whole segments only, so records stay for up to a tenth longer than configured.
pub const RETENTION_SEGMENTS_PER_AGE: u32 = 10;

/// Interval at which the writer checks age and size, besides after each segment that it seals. A check takes some
/// hundred microseconds.
pub const RETENTION_LOOK_EVERY: Duration = Duration::from_secs(60);

/// The shortest time for which records can be kept. Correlators need the records of the last hour.
pub const RETENTION_MIN_AGE: Duration = Duration::from_secs(3600);

/// The smallest size to which a journal can be limited, in bytes: some segments, which are removed one at a time.
pub const RETENTION_MIN_BYTES: u64 = 16 << 20;

/// Interval at which a reader polls a file that another process writes.
///
/// Below the delay that a person notices, at a cost of some microseconds for each poll.
pub const FOREIGN_POLL: Duration = Duration::from_millis(100);

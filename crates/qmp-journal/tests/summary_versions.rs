//! Summaries that change while they are read: a hub of another release makes them again, retention removes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qmp_journal::{
    Batch, Change, ChangeKind, Class, CountKey, Digest, Draft, Journal, JournalOptions, MinuteCount,
    NoDigest, READ_SEGMENTS_MAX, Reader, Retention, STANDING_EVERY_SEGMENTS, SummaryRead, SummaryRequest,
    SummaryVisitor, Track, VmSelection,
};
use qmp_wire::{Body, Offset, UnixMicros};
use rusqlite::Connection;
use tempfile::TempDir;

const MINUTE: i64 = 60_000_000;

/// Classes and words that name the version which derived them.
#[derive(Clone, Copy, Debug)]
struct Release(u8);

impl Digest for Release {
    fn version(&self) -> u32 {
        self.0.into()
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        if let Body::Event { name, .. } = body {
            let word = format!("{name} of release {}", self.0).into();
            changes.push(Change { at: received, kind: ChangeKind::Set { track: Track::new(0), word } });
        }
        Class::new(self.0)
    }
}

static FIRST: Release = Release(1);
static SECOND: Release = Release(2);

/// A journal of the first release.
struct WrittenJournal {
    _home: TempDir,
    path: PathBuf,
    segment_records: u64,
}

impl WrittenJournal {
    /// Writes an event a minute.
    fn new(segment_records: u64, events: &[(&'static str, &'static str)]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let written = Self { path: home.path().join("journal.db"), _home: home, segment_records };
        let journal = written.open(&FIRST);
        let drafts: Vec<Draft<'_>> = (0..)
            .zip(events)
            .map(|(index, (vm, name))| {
                let body = Body::Event { name: (*name).into(), sent_name: None, timestamp: None, data: None };
                Draft { vm, received: UnixMicros(index * MINUTE), body }
            })
            .collect();
        append(&journal, &drafts);
        wait_until_filled(&written.path, &FIRST);
        journal.close().expect("closes");
        written
    }

    fn open(&self, digest: &'static dyn Digest) -> Journal {
        let options =
            JournalOptions { segment_records: self.segment_records, digest, ..JournalOptions::default() };
        Journal::open(&self.path, options).expect("opens")
    }

    /// A hub of another release opens the journal, makes its summaries, and ends.
    fn fill_by(&self, release: &'static dyn Digest) {
        let journal = self.open(release);
        wait_until_filled(&self.path, release);
        journal.close().expect("closes");
    }

    /// Retention removes all records: they are older than an hour.
    fn remove_all(&self) {
        let journal = self.open(&FIRST);
        let ticket = journal.retain(Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: None });
        block_on(journal.wait_for_pruning(ticket)).expect("prunes");
        journal.close().expect("closes");
        let reader = Reader::open(&self.path).expect("opens");
        assert!(reader.first().expect("reads") > reader.head().expect("reads"));
    }
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    block_on(appender.committed(ticket)).expect("is committed");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Waits until the writer has made all summaries of the release, and in every 64th what holds.
fn wait_until_filled(path: &Path, release: &dyn Digest) {
    let connection = Connection::open(path).expect("opens");
    let sql = "SELECT count(*) FILTER (WHERE summary.version IS NOT ?1) = 0 AND count(standing) >= count(*) / ?2 \
               FROM segment LEFT JOIN summary ON summary.segment = segment.last";
    let parameters = (release.version(), STANDING_EVERY_SEGMENTS);
    for _ in 0..10_000 {
        if connection.query_row(sql, parameters, |row| row.get(0)).expect("reads") {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("summaries are still missing");
}

/// What a reader found.
#[derive(Debug, Default, PartialEq, Eq)]
struct ClassesAndWords {
    /// Records by class.
    records: BTreeMap<u8, u64>,
    /// The offset and the word of the last change of each VM, by the id of its name.
    words: BTreeMap<u32, (u64, String)>,
}

/// Collects what is read, and does something else when the first segment has begun.
struct Interrupted<F> {
    found: ClassesAndWords,
    interruption: Option<F>,
}

impl<F: FnOnce()> SummaryVisitor for Interrupted<F> {
    fn segment(&mut self, _first: Offset, _last: Offset) {
        if let Some(interruption) = self.interruption.take() {
            interruption();
        }
    }

    fn counts(&mut self, key: CountKey, minutes: &[MinuteCount]) {
        let records: u64 = minutes.iter().map(|minute| minute.records).sum();
        *self.found.records.entry(key.class.number()).or_default() += records;
    }

    fn record(&mut self, key: CountKey, _at: UnixMicros, _offset: Offset) {
        *self.found.records.entry(key.class.number()).or_default() += 1;
    }

    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>) {
        if let ChangeKind::Set { word, .. } = change.kind {
            self.found.words.insert(vm, (offset.0, word.into_owned()));
        }
    }
}

/// A request of a program of this release for all records from a time on.
fn request(release: &Release, since: i64) -> SummaryRequest<'_> {
    SummaryRequest {
        digest: release,
        since: UnixMicros(since),
        until: UnixMicros(i64::MAX),
        after: Offset(0),
        is_exact: false,
        together: true,
        counts: VmSelection::None,
        changes: VmSelection::Every,
        deadline: None,
    }
}

fn read(
    reader: &Reader,
    request: &SummaryRequest<'_>,
    interruption: impl FnOnce(),
) -> (ClassesAndWords, SummaryRead) {
    let mut visitor = Interrupted { found: ClassesAndWords::default(), interruption: Some(interruption) };
    let read = reader.read_summaries(request, &mut visitor).expect("reads");
    (visitor.found, read)
}

/// A reader takes only summaries of its own release, also if they are replaced after it has looked for them: it reads, and
/// keeps in memory, those of a later transaction.
#[test]
fn summary_of_another_release_is_not_read_in_its_place() {
    //             name                    made again by
    let cases: [(&str, &'static dyn Digest); 2] =
        [("another release", &SECOND), ("a hub without words", &NoDigest)];
    let (segments, all) = (READ_SEGMENTS_MAX + 1, request(&FIRST, 0));
    let expected = |found: &ClassesAndWords, when: &str| {
        assert_eq!(found.records, BTreeMap::from([(1, segments as u64)]), "{when}");
        let words: Vec<_> = found.words.values().cloned().collect();
        assert_eq!(words, [(segments as u64, "STOP of release 1".to_owned())], "{when}");
    };
    for (name, other) in cases {
        let mut events = vec![("web1", "RESUME"); segments - 1];
        events.push(("web1", "STOP"));
        let written = WrittenJournal::new(1, &events);
        let reader = Reader::open(&written.path).expect("opens");
        expected(&read(&reader, &all, || written.fill_by(other)).0, name);
        written.fill_by(&FIRST);
        expected(&read(&reader, &all, || ()).0, &format!("{name}, and again from memory"));
        assert_eq!(reader.damage(), [], "{name}");
    }
}

/// Records that retention removes while a reader is at it are no damage: the reader has those that it had reached.
#[test]
fn segment_removed_while_it_is_read_is_no_damage() {
    // name, records in a segment, records, whether each is wanted with its time, records that are found
    let cases = [
        ("summaries", 1, READ_SEGMENTS_MAX + 2, false, READ_SEGMENTS_MAX),
        ("records of segments", 1, READ_SEGMENTS_MAX + 2, true, 0),
        ("records after the last segment", 2, 3, false, 2),
    ];
    for (name, segment_records, events, is_exact, expected) in cases {
        let written = WrittenJournal::new(segment_records, &vec![("web1", "STOP"); events]);
        let reader = Reader::open(&written.path).expect("opens");
        let all = SummaryRequest { is_exact, ..request(&FIRST, 0) };
        let (found, _) = read(&reader, &all, || written.remove_all());
        assert_eq!(found.records.values().sum::<u64>(), expected as u64, "{name}");
        assert_eq!(reader.damage(), [], "{name}");
    }
}

/// The value that a VM has before a window is passed if everything since is known: an older one may be wrong.
#[test]
fn value_before_a_window_is_the_last_one_or_unknown() {
    // The 64th segment has what holds after it, and the window begins with the last segment.
    let mut events = vec![("busy", "RESUME"); 70];
    for (offset, vm) in [(3, "web1"), (67, "web2"), (70, "web3")] {
        events[offset - 1] = (vm, "STOP");
    }
    // name, change of the file, release of the reader, offsets of each STOP that is known, whether all summaries are there
    let cases: [(&str, &str, &Release, &[u64], bool); 8] = [
        ("all summaries", "", &FIRST, &[3, 67, 70], true),
        ("damaged", "UPDATE summary SET changes = x'01ff' WHERE segment = 67", &FIRST, &[3, 67, 70], true),
        ("none before the window", "DELETE FROM summary WHERE segment = 69", &FIRST, &[70], false),
        ("none before the last STOP", "DELETE FROM summary WHERE segment = 66", &FIRST, &[67, 70], false),
        ("none before what holds", "DELETE FROM summary WHERE segment = 63", &FIRST, &[3, 67, 70], false),
        ("without words", "UPDATE summary SET version = 0 WHERE segment = 66", &FIRST, &[67, 70], false),
        (
            "one of another release",
            "UPDATE summary SET version = 2 WHERE segment = 66",
            &FIRST,
            &[3, 67, 70],
            false,
        ),
        ("all of another release", "", &SECOND, &[3, 67, 70], false),
    ];
    for (name, sql, release, expected, has_all_summaries) in cases {
        let written = WrittenJournal::new(1, &events);
        Connection::open(&written.path).and_then(|connection| connection.execute_batch(sql)).expect("writes");
        let reader = Reader::open(&written.path).expect("opens");
        let (found, read) = read(&reader, &request(release, 69 * MINUTE), || ());
        let stops = found.words.into_values().filter(|(_, word)| word.starts_with("STOP"));
        assert_eq!(stops.map(|(offset, _)| offset).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(read.has_all_summaries, has_all_summaries, "{name}");
    }
}

//! A damaged journal: damage is skipped and reported, and everything else can be read and appended to.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use qmp_journal::{
    Backup, Batch, Draft, Globs, Journal, JournalError, JournalOptions, Query, Reader, Retention, verify,
};
use qmp_wire::{Body, Offset, Record, UnixMicros};
use rusqlite::Connection;

const RECORDS: u64 = 1_000;
const SEGMENT_RECORDS: u64 = 300;

/// Damages the file, and returns the records that cannot be read after that.
type Damage = fn(&Path) -> Vec<(u64, u64)>;

/// Kinds of damage. Records 1 to 900 are sealed.
const DAMAGES: [(&str, Damage); 16] = [
    ("a byte of a sealed record", |path| byte_of(path, 450)),
    ("a byte of a record that is not sealed", |path| byte_of(path, 950)),
    ("the last record", |path| byte_of(path, RECORDS)),
    ("an unknown kind", |path| sql(path, "UPDATE record SET kind = 99 WHERE offset = 700", &[(700, 700)])),
    ("an open kind", |path| sql(path, "UPDATE record SET kind = 'x' WHERE offset = 950", &[(950, 950)])),
    ("a VM without a name", |path| sql(path, "UPDATE record SET vm = 4242 WHERE offset = 20", &[(20, 20)])),
    ("a time", |path| sql(path, "UPDATE record SET received = x'ff' WHERE offset = 970", &[(970, 970)])),
    ("a name", |path| {
        sql(path, "UPDATE name SET name = CAST(x'ff' AS TEXT) WHERE name = 'RARE'", &[(500, 500), (999, 999)])
    }),
    ("a page in the middle", |path| page_of(path, 450)),
    ("the time of the first record of an epoch", |path| {
        sql(path, "UPDATE record SET received = x'ff' WHERE offset = 1", &[(1, 1)])
    }),
    ("a page that is not sealed", |path| page_of(path, 950)),
    ("missing records", |path| {
        sql(path, "DELETE FROM record WHERE offset BETWEEN 450 AND 480", &[(450, 480)])
    }),
    ("missing first records", |path| sql(path, "DELETE FROM record WHERE offset <= 40", &[(1, 40)])),
    ("missing records after the last seal", |path| {
        sql(path, "DELETE FROM record WHERE offset BETWEEN 920 AND 999", &[(920, 999)])
    }),
    ("missing last records", |path| sql(path, "DELETE FROM record WHERE offset >= 990", &[(990, RECORDS)])),
    ("an index of a segment", |path| {
        sql(path, "UPDATE posting SET offsets = x'ffffffffffffffffffffffff' WHERE segment = 600", &[])
    }),
];

#[test]
fn readers_get_all_undamaged_records_and_report_the_rest() {
    for (name, damage) in DAMAGES {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let whole = make(&path);
        let damaged = damage(&path);
        let is_whole = |record: &&Record<'_>| {
            let offset = record.offset.expect("in a journal").0;
            !damaged.iter().any(|(first, last)| (*first..=*last).contains(&offset))
        };
        let expected: Vec<Record<'_>> = whole.iter().filter(is_whole).cloned().collect();
        assert!(whole.len() - expected.len() < 200, "{name}: a page holds some dozen records");

        let reader = Reader::open(&path).expect("opens");
        let found = read(&reader, &Query::default());
        let spans: Vec<_> = reader.damage().iter().map(|span| (span.first.0, span.last.0)).collect();
        assert_eq!(spans, damaged, "{name}");
        assert_eq!(found, expected, "{name}");
        // Backwards, and by index.
        for vm in ["web1", "web2"] {
            let query = Query { vm: Globs::parse([vm]).expect("a pattern"), ..Query::default() };
            let of_vm: Vec<_> = expected.iter().filter(|record| record.vm == vm).cloned().collect();
            assert_eq!(read(&reader, &query), of_vm, "{name} {vm}");
            for max in [5, 250, 2_000] {
                let tail = reader.last(&query, max).expect("reads").records;
                assert_eq!(tail, of_vm[of_vm.len().saturating_sub(max)..], "{name} {vm} {max}");
            }
        }
        let rare = Query { event: Globs::parse(["RARE"]).expect("a pattern"), ..Query::default() };
        let found = read(&reader, &rare).len();
        assert_eq!(found, expected.iter().filter(|record| is_rare(record)).count(), "{name}");
        assert_eq!(!reader.damage().is_empty(), name != "an index of a segment" || found > 0, "{name}");
        let vms: Vec<_> = reader.vms().expect(name).into_iter().map(|vm| vm.vm).collect();
        assert_eq!(vms.iter().map(|vm| &**vm).collect::<Vec<_>>(), VMS, "{name}");
        let last = reader.last_of_each_vm().expect(name);
        assert!(last.iter().all(|record| whole.contains(record)), "{name}: {last:?}");
        drop(reader);

        let verified = verify(&path).expect("opens");
        assert_ne!(verified.faults, Vec::<Box<str>>::new(), "{name}");
        let copy = Backup::open(&path).expect("opens").write(&home.path().join("copy.db"), false);
        assert!(copy.is_err(), "{name}: {copy:?}");
        assert!(!home.path().join("copy.db").exists(), "{name}");
        // A hub continues with the file, and assigns no identity twice.
        let journal = Journal::open(&path, options()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let all: Vec<_> =
            VMS.into_iter().map(|vm| draft(vm, 5_000, Body::Attached { snapshot: "{}".into() })).collect();
        append(&journal, &all);
        let written = read(&journal.reader(), &Query::default()).split_off(expected.len());
        assert!(written.len() >= 2, "{name}: {written:?}");
        for record in written {
            let twice = whole.iter().find(|seen| {
                seen.offset == record.offset
                    || (&seen.vm, seen.epoch, seen.seq) == (&record.vm, record.epoch, record.seq)
            });
            assert_eq!(twice, None, "{name}: {record:?}");
        }
    }
}

/// A search or scan of SQLite that goes wrong without an error: readers report each record that they do not return.
#[test]
fn row_out_of_order_loses_no_record_silently() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let whole = make(&path);
    let intact = fs::read(&path).expect("reads");
    for damaged in [3, 4, 450, 600, 601, 950, 999, RECORDS] {
        for offset in [0, 5, 700, 1_500, 16_383] {
            let name = format!("record {damaged} has offset {offset}");
            let mut bytes = intact.clone();
            set_offset(&mut bytes, damaged, offset);
            fs::write(&path, bytes).expect("writes");
            if u64::from(offset) == damaged {
                continue;
            }
            let lost = check_no_silent_loss(&path, &whole, &name).expect("opens and is read");
            assert!(lost < 200, "{name}: {lost} records are lost, more than a page has");
        }
    }
}

/// A row whose numbers lead nowhere may have been a match of any query.
#[test]
fn row_with_unknown_numbers_is_reported_by_every_query() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let whole = make(&path);
    let intact = fs::read(&path).expect("reads");
    for offset in [38, 950] {
        for change in ["vm = 73", "event = 9000", "kind = 99"] {
            fs::write(&path, &intact).expect("writes");
            sql(&path, &format!("UPDATE record SET {change} WHERE offset = {offset}"), &[]);
            assert_eq!(check_no_silent_loss(&path, &whole, change), Some(1), "{change} at {offset}");
        }
    }
}

/// Missing or changed rows of the index hide no record.
#[test]
fn damaged_index_loses_no_record() {
    let cases = [
        "DELETE FROM segment",
        "DELETE FROM segment WHERE last = 600",
        "UPDATE segment SET last = 4000000 WHERE last = 900",
        "UPDATE segment SET first = 100 WHERE last = 600",
        "DELETE FROM posting",
        "DELETE FROM posting WHERE segment = 600 AND name = (SELECT id FROM name WHERE name = 'RARE')",
        // The first offset of the posting is one more.
        "UPDATE posting SET offsets = x'ca01' WHERE segment = 600 AND name = (SELECT id FROM name WHERE name = 'RARE')",
    ];
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let whole = make(&path);
    let intact = fs::read(&path).expect("reads");
    for change in cases {
        fs::write(&path, &intact).expect("writes");
        sql(&path, change, &[]);
        assert_eq!(check_no_silent_loss(&path, &whole, change), Some(0), "{change}");
        assert_ne!(verify(&path).expect("opens").faults, Vec::<Box<str>>::new(), "{change}");
    }
}

/// A name that is gone, or cannot be read, may be the one that a query asks for: its records are reported.
#[test]
fn missing_name_is_reported_by_every_query() {
    let cases = [
        ("of an event", "DELETE FROM name WHERE name = 'RARE'", 2),
        ("of a VM", "DELETE FROM name WHERE name = 'web2'", 143),
        ("unreadable", "UPDATE name SET name = CAST(x'ff' AS TEXT) WHERE name = 'RARE'", 2),
        ("all", "DELETE FROM name", 1_000),
    ];
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let whole = make(&path);
    let intact = fs::read(&path).expect("reads");
    for (name, change, lost) in cases {
        fs::write(&path, &intact).expect("writes");
        sql(&path, change, &[]);
        assert_eq!(check_no_silent_loss(&path, &whole, name), Some(lost), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A reader of a journal with overwritten bytes returns each record, or reports it.
    #[test]
    fn overwritten_bytes_lose_no_record_silently(position in 8_192_usize..1 << 20, bytes in prop::collection::vec(any::<u8>(), 1..60)) {
        static MADE: LazyLock<([Vec<u8>; 2], Vec<Record<'static>>)> = LazyLock::new(|| {
            let home = tempfile::tempdir().expect("a directory");
            let path = home.path().join("journal.db");
            let whole = make(&path);
            ([path.clone(), home.path().join("journal.db.lock")].map(|path| fs::read(path).expect("reads")), whole)
        });
        let ([intact, lock], whole) = &*MADE;
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let mut damaged = intact.clone();
        let position = 8_192 + position % (damaged.len() - 8_192 - bytes.len());
        damaged[position..position + bytes.len()].copy_from_slice(&bytes);
        fs::write(&path, damaged).expect("writes");
        fs::write(home.path().join("journal.db.lock"), lock).expect("writes");
        check_no_silent_loss(&path, whole, &format!("{bytes:?} at {position}"));
        // No number in the file may cause a panic.
        let _ = verify(&path);
        let _ = Journal::open(&path, options());
    }
}

/// Reads forwards, backwards and by index: each record is returned or reported. Returns how many are missing; `None` if
/// the journal cannot be read at all, which is an error.
fn check_no_silent_loss(path: &Path, whole: &[Record<'static>], name: &str) -> Option<usize> {
    let vm = |vm: &str| Query { vm: Globs::parse([vm]).expect("a pattern"), ..Query::default() };
    let rare = Query { event: Globs::parse(["RARE"]).expect("a pattern"), ..Query::default() };
    let mut lost = None;
    for query in [Query::default(), vm("web1"), vm("web2"), rare] {
        for backwards in [false, true] {
            let reader = Reader::open(path).ok()?;
            let found = match backwards {
                false => try_read(&reader, &query).ok()?,
                true => reader.last(&query, 2_000).ok()?.records,
            };
            let offsets: Vec<Offset> = found.iter().filter_map(|record| record.offset).collect();
            assert!(offsets.is_sorted_by(|one, next| one < next), "{name}: {offsets:?}");
            let damage = reader.damage();
            let reported: Vec<_> = damage.iter().filter(|span| span.loses_records()).collect();
            let is_reported =
                |offset: Offset| reported.iter().any(|span| (span.first..=span.last).contains(&offset));
            let missing: Vec<Offset> = whole
                .iter()
                .filter(|record| query.matches(record))
                .filter_map(|record| record.offset)
                .filter(|offset| offsets.binary_search(offset).is_err())
                .collect();
            let silent: Vec<_> = missing.iter().filter(|offset| !is_reported(**offset)).collect();
            assert_eq!(silent, [&Offset(0); 0], "{name}, backwards {backwards}: {query:?} {damage:?}");
            lost = lost.max(Some(missing.len()));
        }
    }
    lost
}

/// A number that no hub can have assigned leaves none for further records: the hub reports it and does not start.
#[test]
fn journal_with_numbers_at_their_end_is_refused() {
    let cases = [
        (
            "UPDATE record SET offset = 9223372036854775807 WHERE offset = 1000",
            "its last offset is 9223372036854775807",
        ),
        (
            "UPDATE record SET seq = 9223372036854775807 WHERE offset = 1000",
            "its last number within an epoch is 9223372036854775807",
        ),
        (
            "UPDATE record SET epoch = 4294967295 WHERE offset = 1000",
            "its last number of an epoch is 4294967295",
        ),
    ];
    for (change, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        make(&path);
        sql(&path, change, &[]);
        let error = Journal::open(&path, options()).expect_err(change).to_string();
        assert!(error.contains(expected) && error.contains("put a backup in its place"), "{error}");
        assert_ne!(verify(&path).expect("opens").faults, Vec::<Box<str>>::new(), "{change}");
    }
}

/// Changes that no reader can notice, since the changed values can be read.
#[test]
fn verify_finds_readable_damage() {
    let cases = [
        ("data", "UPDATE record SET data = replace(data, 'x', 'y') WHERE offset = 450", "checksum"),
        ("a time", "UPDATE record SET received = received + 1 WHERE offset = 450", "checksum"),
        ("a name", "UPDATE name SET name = 'RARF' WHERE name = 'RARE'", "checksum"),
        ("a number", "UPDATE record SET seq = seq + 1 WHERE offset = 950", "record 950 is number"),
        ("an epoch", "UPDATE record SET epoch = 7 WHERE offset = 950", "of epoch 7 of VM"),
        ("a record", "DELETE FROM record WHERE offset = 950", "records 950 to 950 are missing"),
        ("an epoch's row", "UPDATE epoch SET opened = 4 WHERE opened = 2", "does not name record 2"),
        (
            "an epoch's end",
            "UPDATE epoch SET closed = 951 WHERE opened = 2",
            "names record 951, which is not of it",
        ),
        ("a missing posting", "DELETE FROM posting WHERE segment = 600", "its postings do not fit"),
        ("a count", "UPDATE tally SET records = records + 1", "counts of `tally`"),
        ("a VM", "UPDATE vm SET seq = seq + 1", "which is not its last sealed one"),
        ("a segment", "DELETE FROM segment WHERE last = 600", "segments do not follow each other"),
        ("the identity", "UPDATE identity SET id = 'x'", "identity"),
    ];
    for (name, change, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        make(&path);
        let found = verify(&path).expect("opens");
        assert_eq!(
            (&found.faults[..], found.records, found.segments, found.unsummed),
            (&[][..], RECORDS, 3, 0),
            "{name}"
        );
        sql(&path, change, &[]);
        let found = verify(&path).expect("opens");
        assert!(found.faults.iter().any(|fault| fault.contains(expected)), "{name}: {:?}", found.faults);
    }
}

/// A journal that lost records, was pruned, and whose VMs were attached and detached is valid.
#[test]
fn verify_finds_no_fault_in_valid_journal() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    make(&path);
    for _ in 0..2 {
        let journal = Journal::open(&path, options()).expect("opens");
        append(
            &journal,
            &[
                draft("web1", 1, Body::Attached { snapshot: "{}".into() }),
                draft("web1", 2, numbered("STOP", 9_999)),
            ],
        );
        let order = journal.retain(Retention { max_bytes: Some(1), ..Retention::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(journal.wait_for_pruning(order)).expect("is open");
        journal.close().expect("closes");
        let found = verify(&path).expect("opens");
        assert_eq!(found.faults, Vec::<Box<str>>::new());
        assert!(found.first.0 > 900, "{found:?}");
    }
}

const VMS: [&str; 2] = ["web1", "web2"];

/// A journal of [`RECORDS`] records in open epochs, closed.
fn make(path: &Path) -> Vec<Record<'static>> {
    let journal = Journal::open(path, options()).expect("opens");
    let mut drafts: Vec<_> =
        VMS.into_iter().map(|vm| draft(vm, 1, Body::Attached { snapshot: "{}".into() })).collect();
    for number in 3..=RECORDS {
        let name = if number % 500 == 0 || number == 999 { "RARE" } else { "STOP" };
        let vm = if number % 7 == 0 { "web2" } else { "web1" };
        drafts.push(draft(vm, i64::try_from(number).expect("small"), numbered(name, number)));
    }
    // The last record is not rare: a damaged name must be in the middle.
    drafts[999].body = numbered("STOP", RECORDS);
    append(&journal, &drafts);
    let records = read(&journal.reader(), &Query::default());
    assert_eq!(records.len() as u64, RECORDS);
    journal.close().expect("closes");
    records
}

fn options() -> JournalOptions {
    JournalOptions { segment_records: SEGMENT_RECORDS, ..JournalOptions::default() }
}

fn is_rare(record: &Record<'_>) -> bool {
    matches!(&record.body, Body::Event { name, .. } if name == "RARE")
}

/// An event whose data has a mark with its number, to find it in the file.
fn numbered(name: &'static str, number: u64) -> Body<'static> {
    let data = format!("{{\"mark\": \"<{number:08}>\", \"pad\": \"{}\"}}", "x".repeat(60));
    Body::Event { name: name.into(), sent_name: None, timestamp: None, data: Some(data.into()) }
}

fn draft(vm: &'static str, received: i64, body: Body<'static>) -> Draft<'static> {
    Draft { vm, received: UnixMicros(received), body }
}

/// The position of a record's data in the file.
fn position_of(bytes: &[u8], offset: u64) -> usize {
    let mark = format!("<{offset:08}>");
    bytes.windows(mark.len()).position(|window| window == mark.as_bytes()).expect("it is in the file")
}

fn byte_of(path: &Path, offset: u64) -> Vec<(u64, u64)> {
    let mut bytes = fs::read(path).expect("reads");
    let position = position_of(&bytes, offset);
    bytes[position] = 0xff;
    fs::write(path, bytes).expect("writes");
    vec![(offset, offset)]
}

/// Zeroes a page, and returns the records that it had.
fn page_of(path: &Path, offset: u64) -> Vec<(u64, u64)> {
    let mut bytes = fs::read(path).expect("reads");
    let page = position_of(&bytes, offset) / 8192;
    let page = &mut bytes[page * 8192..(page + 1) * 8192];
    let marks: Vec<u64> = page
        .windows(10)
        .filter(|window| window[0] == b'<' && window[9] == b'>')
        .filter_map(|window| std::str::from_utf8(&window[1..9]).ok()?.parse().ok())
        .collect();
    page.fill(0);
    fs::write(path, bytes).expect("writes");
    vec![(*marks.iter().min().expect("some"), *marks.iter().max().expect("some"))]
}

/// Overwrites the offset of a row in place, which no SQL does.
fn set_offset(bytes: &mut [u8], record: u64, offset: u16) {
    let mark = format!("<{record:08}>");
    let number = |page: &[u8], at: usize| usize::from(page[at]) << 8 | usize::from(page[at + 1]);
    let length = |page: &[u8], at: usize| 1 + page[at..].iter().take_while(|byte| **byte >= 0x80).count();
    // Leaves of a table begin with 13. A row that was moved to another page may remain on the old one.
    for page in bytes.chunks_exact_mut(8_192).filter(|page| page[0] == 13) {
        for cell in 0..number(page, 3) {
            // The cell begins with the length of the row and the offset, seven bits a byte.
            let cell = number(page, 8 + 2 * cell);
            let position = cell + length(page, cell);
            let digits = position..position + length(page, position);
            let found =
                page[digits.clone()].iter().fold(0, |found, byte| found << 7 | u64::from(byte & 0x7f));
            let row = &page[cell..(cell + 200).min(page.len())];
            if found == record && row.windows(mark.len()).any(|window| window == mark.as_bytes()) {
                let [high, low] = (offset << 1).to_be_bytes();
                match digits.len() {
                    1 => page[position] = low >> 1,
                    _ => page[digits].copy_from_slice(&[high | 0x80, low >> 1]),
                }
                return;
            }
        }
    }
    panic!("record {record} is on its page");
}

fn sql(path: &Path, sql: &str, damaged: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let connection = Connection::open(path).expect("opens");
    assert!(connection.execute(sql, []).expect("runs") > 0, "{sql}");
    damaged.into()
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    // Before it: the writer may have committed when this thread runs on.
    let upto = journal.head();
    journal.appender().append(&mut batch).expect("there is room");
    while journal.head() == upto {
        std::thread::yield_now();
    }
}

fn read(reader: &Reader, query: &Query) -> Vec<Record<'static>> {
    try_read(reader, query).expect("reads")
}

fn try_read(reader: &Reader, query: &Query) -> Result<Vec<Record<'static>>, JournalError> {
    let mut cursor = reader.cursor(query.clone(), Offset(0));
    let mut records = Vec::new();
    loop {
        let batch = cursor.next_batch(100)?;
        if batch.is_empty() {
            return Ok(records);
        }
        records.extend(batch);
    }
}

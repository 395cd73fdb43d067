//! A damaged journal: what cannot be read is passed over and reported, and everything else is read and written on.

use std::fs;
use std::path::Path;

use qmp_journal::{Backup, Batch, Draft, Globs, Journal, JournalOptions, Query, Reader, Retention, verify};
use qmp_wire::{Body, Offset, Record, UnixMicros};
use rusqlite::Connection;

const RECORDS: u64 = 1_000;
const SEGMENT_RECORDS: u64 = 300;

/// Damages the file, and says which records cannot be read then.
type Damage = fn(&Path) -> Vec<(u64, u64)>;

/// What may be wrong with a file. Records 1 to 900 are sealed.
const DAMAGES: [(&str, Damage); 11] = [
    ("a byte of a sealed record", |path| byte_of(path, 450)),
    ("a byte of a record that is not sealed", |path| byte_of(path, 950)),
    ("the last record", |path| byte_of(path, RECORDS)),
    ("a kind that is none", |path| {
        sql(path, "UPDATE record SET kind = 99 WHERE offset = 700", &[(700, 700)])
    }),
    ("an open kind", |path| sql(path, "UPDATE record SET kind = 'x' WHERE offset = 950", &[(950, 950)])),
    ("a VM without a name", |path| sql(path, "UPDATE record SET vm = 4242 WHERE offset = 20", &[(20, 20)])),
    ("a time", |path| sql(path, "UPDATE record SET received = x'ff' WHERE offset = 970", &[(970, 970)])),
    ("a name", |path| {
        sql(path, "UPDATE name SET name = CAST(x'ff' AS TEXT) WHERE name = 'RARE'", &[(500, 500), (999, 999)])
    }),
    ("a page in the middle", |path| page_of(path, 450)),
    ("a page that is not sealed", |path| page_of(path, 950)),
    ("an index of a segment", |path| {
        sql(path, "UPDATE posting SET offsets = x'ffffffffffffffffffffffff' WHERE segment = 600", &[])
    }),
];

#[test]
fn everything_but_the_damage_is_read() {
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
        drop(reader);

        let verified = verify(&path).expect("opens");
        assert_ne!(verified.faults, Vec::<Box<str>>::new(), "{name}");
        let copy = Backup::open(&path).expect("opens").write(&home.path().join("copy.db"), false);
        assert!(copy.is_err(), "{name}: {copy:?}");
        assert!(!home.path().join("copy.db").exists(), "{name}");
        // A hub writes on, and no identity is given twice.
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

/// Changes that no reader can notice, for what stands there can be read.
#[test]
fn verify_finds_what_can_be_read_and_is_wrong() {
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

/// A journal that lost records, was removed from, and whose VMs came and went is whole.
#[test]
fn verify_finds_nothing_in_a_whole_journal() {
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
        runtime.block_on(journal.retained(order)).expect("is open");
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
    // The last record is no rare one: a damaged name is to be in the middle.
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

/// An event whose data is found in the file by its number.
fn numbered(name: &'static str, number: u64) -> Body<'static> {
    let data = format!("{{\"mark\": \"<{number:08}>\", \"pad\": \"{}\"}}", "x".repeat(60));
    Body::Event { name: name.into(), sent_name: None, timestamp: None, data: Some(data.into()) }
}

fn draft(vm: &'static str, received: i64, body: Body<'static>) -> Draft<'static> {
    Draft { vm, received: UnixMicros(received), body }
}

/// Where in the file the data of a record is.
fn place_of(bytes: &[u8], offset: u64) -> usize {
    let mark = format!("<{offset:08}>");
    bytes.windows(mark.len()).position(|window| window == mark.as_bytes()).expect("it is in the file")
}

fn byte_of(path: &Path, offset: u64) -> Vec<(u64, u64)> {
    let mut bytes = fs::read(path).expect("reads");
    let place = place_of(&bytes, offset);
    bytes[place] = 0xff;
    fs::write(path, bytes).expect("writes");
    vec![(offset, offset)]
}

/// Zeroes a page, and says which records it had.
fn page_of(path: &Path, offset: u64) -> Vec<(u64, u64)> {
    let mut bytes = fs::read(path).expect("reads");
    let page = place_of(&bytes, offset) / 8192;
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

fn sql(path: &Path, sql: &str, damaged: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let connection = Connection::open(path).expect("opens");
    assert!(connection.execute(sql, []).expect("runs") > 0, "{sql}");
    damaged.into()
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    journal.appender().append(&mut batch).expect("there is room");
    let upto = journal.head();
    while journal.head() == upto {
        std::thread::yield_now();
    }
}

fn read(reader: &Reader, query: &Query) -> Vec<Record<'static>> {
    let mut cursor = reader.cursor(query.clone(), Offset(0));
    let mut records = Vec::new();
    loop {
        let batch = cursor.next_batch(100).expect("reads");
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

//! Event names that a peer invents: the journal keeps each as sent, and does not grow by them.

use std::path::Path;

use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Query, Reader, RecordKind, Retention};
use qmp_wire::{Body, EVENT_NAME_MAX_BYTES, EventName, Offset, Record, UnixMicros};
use rusqlite::Connection;

/// `max-size` holds for names of a megabyte, too, and they are removed with their records.
#[test]
fn long_event_names_are_removed_with_their_records() {
    const MAX_BYTES: u64 = 16 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let retention = Retention { max_age: None, max_bytes: Some(MAX_BYTES) };
    let journal = open(&path, retention);
    for round in 0..30 {
        let names: Vec<String> = (0..4).map(|n| format!("{round}-{n}-{}", "N".repeat(1 << 20))).collect();
        append(&journal, &names.iter().map(|name| EventName::from_text(name.into())).collect::<Vec<_>>());
    }
    append(&journal, &[EventName::from_text("STOP".into())]);
    let order = journal.retain(retention);
    block_on(journal.wait_for_pruning(order)).expect("is open");
    let kept = journal.reader().head().expect("reads").0 + 1 - journal.reader().first().expect("reads").0;
    journal.close().expect("closes");

    let file = Connection::open(&path).expect("opens");
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql).unsigned_abs();
    let used = "SELECT (page_count - freelist_count) * page_size \
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    assert!(number(used) <= MAX_BYTES, "{} bytes are in use", number(used));
    assert!(kept < 20, "{kept} records are kept");
    assert_eq!(number("SELECT count(*) FROM name WHERE role = 'event'"), kept);
    assert_eq!(number("SELECT count(*) FROM sent_name"), kept - 1);
    assert!(number("SELECT max(octet_length(name)) FROM name") <= EVENT_NAME_MAX_BYTES as u64);
}

/// A name in use stays when some of its records are pruned, and a pruned name can be used again.
#[test]
fn event_names_in_use_stay_after_pruning() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let mut journal = open(&path, Retention::default());
    let rounds = [["A", "B"], ["C", "A"], ["D", "B"], ["A", "D"]];
    for (round, names) in rounds.iter().enumerate() {
        append(&journal, &names.map(|name| EventName::from_text(name.into())));
        if round == 2 {
            let old = Retention { max_age: Some(std::time::Duration::from_secs(3600)), max_bytes: None };
            block_on(journal.wait_for_pruning(journal.retain(old))).expect("is open");
            block_on(journal.wait_for_pruning(journal.retain(Retention::default()))).expect("is open");
        }
        if round == 1 {
            journal.close().expect("closes");
            journal = open(&path, Retention::default());
        }
    }
    // All records have the time 0, so that the third round removes all sealed ones.
    let names = |query: Query| -> Vec<String> {
        let mut cursor = journal.reader().cursor(query, Offset(0));
        let records = cursor.next_batch(100).expect("reads");
        records.iter().map(|record| record.body.as_event().expect("an event").name.to_string()).collect()
    };
    assert_eq!(names(Query::default()), ["A", "D"]);
    let globs = Globs::parse(["A"]).expect("a pattern");
    assert_eq!(names(Query { event: globs, ..Query::default() }), ["A"]);
}

/// Events of one VM are looked up by the VM's index, which also has its other records: they are not damage.
#[test]
fn records_of_other_kinds_in_an_index_are_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions { segment_records: 4, ..JournalOptions::default() })
        .expect("opens");
    let mut batch = Batch::new();
    let event = Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
    for body in [Body::Attached { snapshot: "{}".into() }, event.clone(), event.clone(), event] {
        batch.push(&Draft { vm: "web1", received: UnixMicros(1), body });
    }
    let ticket = journal.appender().append(&mut batch).expect("room");
    block_on(journal.appender().committed(ticket)).expect("is open");
    let reader = Reader::open(&path).expect("opens");
    let vm = Globs::parse(["web1"]).expect("a pattern");
    let query = Query { vm, kind: vec![RecordKind::Event], ..Query::default() };
    let found = reader.cursor(query, Offset(0)).next_batch(10).expect("reads");
    assert_eq!((found.len(), reader.damage()), (3, Vec::new()));
    journal.close().expect("closes");
}

/// The name that the server sent is read back byte for byte: long names, and halves of surrogate pairs.
#[test]
fn shortened_event_name_is_read_back_as_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let jsons = [
        r#""STOP""#.to_owned(),
        r#""X\ud83d""#.to_owned(),
        r#""X\uDE00""#.to_owned(),
        format!("\"{}\"", "N".repeat(300)),
        // The form of a shortened name, and not one.
        r#""X~0123456789abcdef""#.to_owned(),
    ];
    let journal = open(&path, Retention::default());
    let names: Vec<_> = jsons.iter().map(|json| EventName::from_json(json).expect("a string")).collect();
    append(&journal, &names);
    // A program may append a name that is too long.
    append(&journal, &[EventName { name: "N".repeat(300).into(), sent: None }]);
    let reader = journal.reader();
    let mut read = records(&reader);
    journal.close().expect("closes");
    assert_eq!(records(&Reader::open(&path).expect("opens")), read);
    assert_eq!(read.pop().map(|record| record.body), read.get(3).map(|record| record.body.clone()));
    for (record, json) in read.iter().zip(&jsons) {
        let event = record.body.as_event().expect("an event");
        let sent = event.sent_name.map_or_else(|| format!("\"{}\"", event.name), str::to_owned);
        assert_eq!(&sent, json);
        let mut line = Vec::new();
        record.write_json(&mut line);
        let line = String::from_utf8(line).expect("UTF-8");
        assert_eq!(Record::from_json(&line).as_ref(), Ok(record), "{line}");
    }
}

/// A file of an earlier version, which no hub has opened since, can be read.
#[test]
fn file_without_sent_name_table_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = open(&path, Retention::default());
    append(&journal, &[EventName::from_text("X~0123456789abcdef".into())]);
    journal.close().expect("closes");
    let file = Connection::open(&path).expect("opens");
    let older = "DROP VIEW records; DROP VIEW events; DROP TABLE sent_name; DROP INDEX tally_event";
    file.execute_batch(older).expect("restores the earlier schema");
    drop(file);
    assert_eq!(records(&Reader::open(&path).expect("opens")).len(), 1);
    let journal = open(&path, Retention::default());
    append(&journal, &[EventName::from_text("N".repeat(300).into())]);
    assert!(records(&journal.reader())[1].body.as_event().expect("an event").sent_name.is_some());
}

fn open(path: &Path, retention: Retention) -> Journal {
    Journal::open(path, JournalOptions { retention, ..JournalOptions::default() }).expect("opens")
}

fn append(journal: &Journal, names: &[EventName<'_>]) {
    let mut batch = Batch::new();
    for EventName { name, sent } in names {
        let (name, sent_name) = (name.clone(), sent.clone());
        let body = Body::Event { name, sent_name, timestamp: None, data: None };
        batch.push(&Draft { vm: "web1", received: UnixMicros(0), body });
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    block_on(appender.committed(ticket)).expect("is committed");
}

fn records(reader: &Reader) -> Vec<Record<'static>> {
    reader.cursor(Query::default(), Offset(0)).next_batch(100).expect("reads")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

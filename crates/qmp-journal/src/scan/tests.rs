//! The index of a segment of which retention has removed a part.

use qmp_wire::{Body, UnixMicros};
use rusqlite::Connection;

use crate::prune;
use crate::{Batch, Draft, Globs, Journal, JournalOptions, Query, Reader};

/// The name of an event goes with its last record, its posting with the segment.
#[test]
fn posting_of_a_removed_name_is_no_damage() {
    const EVENTS: [&str; 4] = ["ONCE", "STOP", "STOP", "LAST"];
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let options = JournalOptions { segment_records: EVENTS.len() as u64, ..JournalOptions::default() };
    let journal = Journal::open(&path, options).expect("opens");
    let mut batch = Batch::new();
    for name in EVENTS {
        let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
        batch.push(&Draft { vm: "web1", received: UnixMicros(0), body });
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
    journal.close().expect("closes");
    let mut connection = Connection::open(&path).expect("opens");
    let removed = prune::remove(&mut connection, 1, 1, |_| false).expect("removes");
    assert_eq!(removed.len(), 1, "the name");

    let reader = Reader::open(&path).expect("opens");
    let query = Query { event: Globs::parse(["LAST"]).expect("a pattern"), ..Query::default() };
    assert_eq!(reader.last(&query, 9).expect("reads").records.len(), 1);
    assert_eq!(reader.damage(), []);
}

//! Timelines of a journal whose summaries a hub has yet to make, as after an upgrade.

use qmp_history::{DIGEST, LaneOrder, Scope, TimelineRequest, timeline};
use qmp_journal::{Batch, Draft, Journal, JournalOptions, Query, Reader};
use qmp_wire::{Body, UnixMicros};
use rusqlite::Connection;

const MINUTE: i64 = 60_000_000;

/// A state that a missing summary may have changed is not told, and the answer is not final.
#[test]
fn state_from_before_a_missing_summary_is_not_told() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let options = JournalOptions { segment_records: 1, digest: DIGEST, ..JournalOptions::default() };
    let journal = Journal::open(&path, options).expect("opens");
    let event =
        |name: &'static str| Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
    let snapshot = r#"{"query-status":{"status":"running"}}"#.into();
    let bodies = [Body::Attached { snapshot }, event("STOP"), event("RTC_CHANGE"), event("RTC_CHANGE")];
    let mut batch = Batch::new();
    for (minute, body) in (0..).zip(bodies) {
        batch.push(&Draft { vm: "web1", received: UnixMicros(minute * MINUTE), body });
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
    journal.close().expect("closes");

    // The segments whose summaries are missing, the state in the last minute if one is known, and whether that is final.
    let cases = [("0", Some("paused"), true), ("3", None, false), ("2, 3", None, false)];
    for (missing, state, is_closed) in cases {
        let sql = format!("DELETE FROM summary WHERE segment IN ({missing})");
        Connection::open(&path).and_then(|connection| connection.execute_batch(&sql)).expect("writes");
        let (since, until) = (Some(UnixMicros(3 * MINUTE)), Some(UnixMicros(4 * MINUTE)));
        let scope = Scope { query: Query { since, until, ..Query::default() }, ..Scope::default() };
        let request =
            TimelineRequest { scope, buckets: 1, lanes: 1, from: None, sort: LaneOrder::Name, marks: 0 };
        let reader = Reader::open(&path).expect("opens");
        let found = timeline(&reader, &request, UnixMicros(1_000 * MINUTE)).expect("reads");
        let shown = found.lanes[0].states.first().map(|shown| &*found.states[shown.2 as usize]);
        assert_eq!((shown, found.coverage.is_closed), (state, is_closed), "{missing}");
    }
}

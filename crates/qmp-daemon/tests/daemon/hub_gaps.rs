//! Gaps have their true length: the send time of an event that the journal lacks is within a row of `gaps`.

use std::path::Path;
use std::sync::Arc;

use crate::support::{Watcher, config};
use qmp_daemon::Daemon;
use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_testing::{GREETING_LINE, Monitor};
use qmp_wire::{Body, UnixMicros};
use rusqlite::Connection;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Mutex;

/// The name of the numbered events.
const NUMBER: &str = "NUMBER";

/// The send time of each number.
#[derive(Default)]
struct SendTimes(Vec<UnixMicros>);

/// A monitor whose events are written by the test itself, without a task in between.
struct Wire(Arc<Mutex<OwnedWriteHalf>>);

impl Wire {
    async fn accept(monitor: &Monitor) -> Self {
        let (reader, writer) = monitor.accept_raw().await.into_split();
        let writer = Arc::new(Mutex::new(writer));
        let wire = Self(Arc::clone(&writer));
        write(&writer, GREETING_LINE).await;
        tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let request: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                write(&writer, &format!("{{\"return\": {{}}, \"id\": {}}}\r\n", request["id"])).await;
            }
        });
        wire
    }

    /// Sends the next numbers.
    async fn send(&self, sent: &mut SendTimes, count: usize) {
        for _ in 0..count {
            let number = sent.0.len();
            let at = now();
            sent.0.push(at);
            let (seconds, microseconds) = (at.0 / 1_000_000, at.0 % 1_000_000);
            let timestamp = format!("{{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}");
            let text =
                format!("{{\"timestamp\": {timestamp}, \"event\": \"{NUMBER}\", \"data\": {number}}}\r\n");
            write(&self.0, &text).await;
        }
    }
}

async fn write(writer: &Mutex<OwnedWriteHalf>, text: &str) {
    // A stopped hub does not read it: then the number is missing, as the test expects.
    let _ = writer.lock().await.write_all(text.as_bytes()).await;
}

/// Numbers sent to the hub while it is killed, stopped, and out of room.
#[tokio::test(flavor = "multi_thread")]
async fn send_time_of_a_missing_event_is_within_a_gap() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut sent = SendTimes::default();
    let mut config = config(home.path(), &["vm1"]);
    config.journal_options.queue_max_bytes = 32 << 10;

    for end in ["kill", "overrun", "stop", "peer closed", "kill", "overrun and kill"] {
        let hub = Daemon::start(config.clone()).await.expect("starts");
        let wire = Wire::accept(&monitor).await;
        let mut journal = Watcher::new(&hub);
        while attached(home.path()) == 0 {
            journal.next().await;
        }
        let first = sent.0.len();
        wire.send(&mut sent, 5).await;
        journal.until_number(first + 4).await;
        match end {
            "kill" => drop(hub),
            // Events sent just before the stop are recorded, or missing within the gap.
            "stop" => {
                wire.send(&mut sent, 300).await;
                hub.stop().await.expect("stops");
            }
            "peer closed" => {
                wire.0.lock().await.shutdown().await.expect("closes");
                while attached(home.path()) > 0 {
                    journal.next().await;
                }
                drop(hub);
            }
            _ => {
                let stalled = Connection::open(home.path().join("journal.db")).expect("opens");
                stalled.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
                crate::support::fill(&hub);
                let discarded = "qmp_events_discarded_total{vm=\"vm1\"} ";
                while metric(home.path(), discarded).await == 0.0 {
                    wire.send(&mut sent, 10).await;
                }
                wire.send(&mut sent, 5).await;
                stalled.execute_batch("ROLLBACK").expect("ends");
                if end == "overrun" {
                    // Sent after the overrun was noticed, before or after its record: within the gap or recorded.
                    wire.send(&mut sent, 5).await;
                    hub.stop().await.expect("stops");
                } else {
                    drop(hub);
                }
            }
        }
        wire.send(&mut sent, 5).await;
    }
    let hub = Daemon::start(config).await.expect("starts");
    let wire = Wire::accept(&monitor).await;
    let mut journal = Watcher::new(&hub);
    while attached(home.path()) == 0 {
        journal.next().await;
    }
    let last = sent.0.len();
    wire.send(&mut sent, 1).await;
    journal.until_number(last).await;
    hub.stop().await.expect("stops");
    let missing = check(home.path(), &sent);
    assert!(missing >= 6 * 5, "{missing}");
}

/// The number of missing events; the send time of each is within a row of `gaps`.
fn check(home: &Path, sent: &SendTimes) -> usize {
    let connection = Connection::open(home.join("journal.db")).expect("opens");
    let mut recorded = connection.prepare("SELECT data FROM events WHERE event = ?1").expect("a view");
    let recorded: std::collections::HashSet<usize> = recorded
        .query_map([NUMBER], |row| row.get::<_, String>(0))
        .expect("reads")
        .map(|number| number.expect("a row").parse().expect("a number"))
        .collect();
    let mut within = connection
        .prepare("SELECT count(*) FROM gaps WHERE \"from\" <= ?1 AND (\"to\" >= ?1 OR \"to\" IS NULL)")
        .expect("a view");
    let all = format!("{:?}", table(&connection));
    let mut missing = 0;
    for (number, at) in sent.0.iter().enumerate().filter(|(number, _)| !recorded.contains(number)) {
        let rows: u32 = within.query_row([at.to_string()], |row| row.get(0)).expect("reads");
        assert!(rows > 0, "{number}, sent at {at}, is missing and in no gap: {all}");
        missing += 1;
    }
    let negative: u32 = connection
        .query_row("SELECT count(*) FROM gaps WHERE \"to\" < \"from\"", [], |row| row.get(0))
        .expect("reads");
    assert_eq!(negative, 0, "{all}");
    missing
}

fn table(connection: &Connection) -> Vec<(String, Option<String>, String)> {
    let mut gaps = connection.prepare("SELECT \"from\", \"to\", reason FROM gaps").expect("a view");
    let rows = gaps.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("reads");
    rows.map(|row| row.expect("a row")).collect()
}

/// A hub that was killed a day ago, and a hub whose clock was set back by an hour meanwhile.
#[test]
fn gap_has_its_true_length_and_is_never_negative() {
    const DAY_US: i64 = 86_400_000_000;
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let today = now().0;
    let attached = |at| (at, Body::Attached { snapshot: "{}".into() });
    let number = |at| {
        (at, Body::Event { name: NUMBER.into(), sent_name: None, timestamp: None, data: Some("1".into()) })
    };
    append(&path, &[attached(today - DAY_US - 5), number(today - DAY_US)]);
    append(&path, &[attached(today), number(today + DAY_US)]);
    append(&path, &[attached(today + 7)]);
    let connection = Connection::open(&path).expect("opens");
    let gaps = table(&connection);
    assert_eq!(gaps[0].0, UnixMicros(today - DAY_US).to_string());
    assert!(gaps[0].1.as_deref() >= Some(&*UnixMicros(today).to_string()), "{gaps:?}");
    // The clock was set back: the gap includes every known moment.
    assert!(gaps[1].0 <= UnixMicros(today + 7).to_string(), "{gaps:?}");
    assert_eq!(gaps[1].1.as_deref(), Some(&*UnixMicros(today + DAY_US).to_string()), "{gaps:?}");
    let certain: Vec<String> = connection
        .prepare("SELECT certain_until FROM epochs WHERE closed IS NOT NULL ORDER BY epoch")
        .and_then(|mut epochs| epochs.query_map([], |row| row.get(0))?.collect())
        .expect("a view");
    assert_eq!(certain[..2], [today - DAY_US, today + DAY_US].map(|at| UnixMicros(at).to_string()));
}

/// A record of a release before `certain_until`: the gap begins at the time in its detail, or at its receipt.
#[test]
fn gap_of_an_earlier_release_begins_where_its_detail_says() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    append(&path, &[(1_000_000, Body::Attached { snapshot: "{}".into() })]);
    append(&path, &[(5_000_000, Body::Attached { snapshot: "{}".into() })]);
    let connection = Connection::open(&path).expect("opens");
    let killed =
        "the hub ended without closing the epoch; nothing is certain since 1970-01-01T00:00:01.000000Z";
    for (detail, from) in [(killed, "1970-01-01T00:00:01.000000Z"), ("", "1970-01-01T00:00:03.000000Z")] {
        let data = format!("{{\"reason\":\"hub stopped\",\"detail\":\"{detail}\"}}");
        connection
            .execute("UPDATE record SET data = ?1, received = 3000000 WHERE kind = 4 AND epoch = 1", [data])
            .expect("updates");
        assert_eq!(table(&connection)[0].0, from);
    }
}

/// Appends records of `vm1` and leaves the epoch open, like a killed hub.
fn append(path: &Path, records: &[(i64, Body<'static>)]) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let mut batch = Batch::new();
    for (received, body) in records {
        batch.push(&Draft { vm: "vm1", received: UnixMicros(*received), body: body.clone() });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
}

/// The number of open epochs.
fn attached(home: &Path) -> u32 {
    let connection = Connection::open(home.join("journal.db")).expect("opens");
    connection
        .query_row("SELECT count(*) FROM epoch WHERE closed IS NULL", [], |row| row.get(0))
        .expect("reads")
}

async fn metric(home: &Path, name: &str) -> f64 {
    let mut lines = crate::support::client::get_lines(home, "/metrics").await;
    while let Some(line) = lines.next().await {
        if let Some(value) = line.strip_prefix(name) {
            return value.parse().expect("a number");
        }
    }
    0.0
}

fn now() -> UnixMicros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    UnixMicros(i64::try_from(since.as_micros()).expect("this century"))
}

trait UntilNumber {
    async fn until_number(&mut self, number: usize);
}

impl UntilNumber for Watcher {
    /// Reads until the event of that number.
    async fn until_number(&mut self, number: usize) {
        let expected = number.to_string();
        loop {
            if let Body::Event { data: Some(data), .. } = self.next().await.body
                && *data == *expected
            {
                return;
            }
        }
    }
}

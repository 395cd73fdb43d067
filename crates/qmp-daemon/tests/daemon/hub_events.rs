//! `GET /v1/events`: history, then live records, as server-sent events; and continuation after `Last-Event-ID`.

use std::path::Path;

use crate::support::client::{Lines, connect, get, get_json, send_request};
use crate::support::{Watcher, config};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use qmp_daemon::Daemon;
use qmp_testing::{Monitor, Session};
use serde_json::{Value, json};

/// A hub with one attached VM, and three events in its journal.
async fn start(home: &Path) -> (Daemon, Monitor, Session) {
    let monitor = Monitor::bind(home, "vm1");
    let hub = Daemon::start(config(home, &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    session.emit("RTC_CHANGE", r#"{"offset": 1}"#);
    session.emit("STOP", "");
    session.emit("RTC_CHANGE", r#"{"offset": 2}"#);
    Watcher::new(&hub).until(r#"vm1 1.3 RTC_CHANGE {"offset": 2}"#).await;
    (hub, monitor, session)
}

/// An `EventSource` as browsers implement it.
struct EventSource {
    lines: Lines,
    last_event_id: String,
}

/// One event as a page receives it.
#[derive(Debug, PartialEq)]
struct PageEvent {
    id: String,
    event: String,
    record: Value,
}

impl EventSource {
    async fn open(home: &Path, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/events{query}")).header("host", "hub");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        let answer = send_request(connect(home).await, request).await;
        assert_eq!(answer.status(), 200, "{query}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { lines: Lines::new(answer), last_event_id: String::new() }
    }

    /// The next event; `None` at the end. By the HTML standard, a block without data is not an event, but its id counts.
    async fn next(&mut self) -> Option<PageEvent> {
        let (mut event, mut data) = (String::new(), String::new());
        loop {
            let line = self.lines.next().await?;
            match line.split_once(':') {
                None if line.is_empty() && !data.is_empty() => {
                    let record = serde_json::from_str(&data).expect("JSON");
                    return Some(PageEvent { id: self.last_event_id.clone(), event, record });
                }
                None => assert_eq!(line, ""),
                Some(("", _comment)) => {}
                Some(("id", id)) => self.last_event_id = id.trim().to_owned(),
                Some(("event", name)) => name.trim().clone_into(&mut event),
                Some(("data", text)) => data.push_str(text),
                Some(("retry", time)) => assert!(time.trim().parse::<u64>().expect("a number") >= 1_000),
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let seen = self.next().await.expect("an event");
            assert_eq!(seen.id, seen.record["offset"].to_string());
            assert_eq!(seen.event, seen.record["kind"].as_str().expect("a kind"));
            let what = seen.record["event"].as_str().unwrap_or(&seen.event);
            taken.push(format!("{} {what}", seen.id));
        }
        taken
    }
}

#[tokio::test]
async fn stream_sends_history_then_live_events() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, session) = start(home.path()).await;
    //  query                        Last-Event-ID  history, before the next event
    let cases: [(&str, Option<&str>, &[&str]); 11] = [
        ("", None, &[]),
        ("?after=0", None, &["1 attached", "2 RTC_CHANGE", "3 STOP", "4 RTC_CHANGE"]),
        ("?after=3", None, &["4 RTC_CHANGE"]),
        ("?last=2", None, &["3 STOP", "4 RTC_CHANGE"]),
        ("?since=2020-01-01T00:00:00Z&kind=event", None, &["2 RTC_CHANGE", "3 STOP", "4 RTC_CHANGE"]),
        ("?after=0&event=RTC_*&event=RESUME", None, &["2 RTC_CHANGE", "4 RTC_CHANGE"]),
        ("", Some("2"), &["3 STOP", "4 RTC_CHANGE"]),
        ("", Some(""), &[]),
        ("?after=0", Some("3"), &["4 RTC_CHANGE"]),
        ("?last=4", Some("4"), &[]),
        ("?since=2020-01-01T00:00:00Z", Some("3"), &["4 RTC_CHANGE"]),
    ];
    let mut streams = Vec::new();
    for (query, id, expected) in cases {
        let mut stream = EventSource::open(home.path(), query, id).await;
        assert_eq!(stream.take(expected.len()).await, expected, "{query} {id:?}");
        streams.push((stream, query, id));
    }
    session.emit("RESUME", "");
    for (stream, query, id) in &mut streams {
        assert_eq!(stream.take(1).await, ["5 RESUME"], "{query} {id:?}");
    }
    let (_, record) = get_json(home.path(), "/v1/records?after=4").await;
    let mut stream = EventSource::open(home.path(), "?after=4", None).await;
    let expected = PageEvent { id: "5".into(), event: "event".into(), record };
    assert_eq!(stream.next().await, Some(expected), "the same as /v1/records");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn client_that_reconnects_misses_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, monitor, session) = start(home.path()).await;
    // The stream has an id to resume from even before its first event.
    let mut stream = EventSource::open(home.path(), "?event=STOP", None).await;
    session.emit("RESUME", "");
    session.emit("STOP", "");
    assert_eq!(stream.take(1).await, ["6 STOP"]);
    let mut silent = EventSource::open(home.path(), "?event=STOP", None).await;
    let stopping = tokio::spawn(hub.stop());
    assert_eq!((stream.next().await, silent.next().await), (None, None), "the hub stops");
    assert_eq!(silent.last_event_id, "6");
    stopping.await.expect("no panic").expect("stops");

    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    session.emit("STOP", "");
    session.emit("RTC_CHANGE", "");
    Watcher::new(&hub).until("vm1 2.2 RTC_CHANGE").await;
    for id in [stream.last_event_id, silent.last_event_id] {
        let mut again = EventSource::open(home.path(), "?event=STOP", Some(&id)).await;
        assert_eq!(again.take(1).await, ["9 STOP"]);
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn data_with_newlines_stays_one_event() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, session) = start(home.path()).await;
    let mut stream = EventSource::open(home.path(), "", None).await;
    session.emit("X", "{\r\n \"a\":\n\n \"\\n\\r\\u2028id: 99\\n\\n\"\r}");
    let seen = stream.next().await.expect("an event");
    assert_eq!((&*seen.id, &seen.record["data"]), ("5", &json!({"a": "\n\r\u{2028}id: 99\n\n"})));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn reader_that_does_not_read_delays_no_other_reader() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, session) = start(home.path()).await;
    let mut stuck = EventSource::open(home.path(), "", None).await;
    let mut other = EventSource::open(home.path(), "", None).await;
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(10_000));
    // Far more than the buffers of the sockets hold.
    for _ in 0..1_000 {
        session.emit("LONG", &long);
    }
    assert_eq!(other.take(1_000).await.last().map(String::as_str), Some("1004 LONG"));
    // The stalled reader lags, and has lost nothing.
    let late = stuck.take(1_000).await;
    assert_eq!((&*late[0], &*late[999]), ("5 LONG", "1004 LONG"));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn invalid_position_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, _session) = start(home.path()).await;
    //  query              Last-Event-ID  message
    let cases: [(&str, Option<&str>, &str); 6] = [
        ("", Some("x"), "Last-Event-ID: x: expected the offset of a record"),
        ("", Some("-1"), "Last-Event-ID: -1: expected the offset of a record"),
        (
            "",
            Some("5"),
            "Last-Event-ID: 5: this journal ends at 4, so the offset is from another journal; leave it out",
        ),
        (
            "?after=5",
            None,
            "after: 5: this journal ends at 4, so the offset is from another journal; leave it out",
        ),
        ("?follow=false", None, "/v1/events always follows; use /v1/records for history alone"),
        ("?evnt=STOP", None, "unknown parameter \"evnt\"; did you mean event?"),
    ];
    for (query, id, expected) in cases {
        let mut request = Request::get(format!("/v1/events{query}")).header("host", "hub");
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Full::default()).expect("a request");
        let answer = send_request(connect(home.path()).await, request).await;
        assert_eq!(answer.status(), 400, "{query} {id:?}");
        let (_, answer) = crate::support::client::json(answer).await;
        assert_eq!(answer["error"]["desc"], expected, "{query} {id:?}");
    }
    let answer = get(home.path(), "/v1/events").await;
    assert_eq!(answer.headers()["qmp-events-head"], "4");
    hub.stop().await.expect("stops");
}

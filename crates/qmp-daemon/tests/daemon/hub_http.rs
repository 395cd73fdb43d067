//! The HTTP interface: reads, streams, commands, errors.

use std::path::Path;

use crate::support::client::{Lines, execute, get, get_json, get_lines, json as read_json, send_request};
use crate::support::{Watcher, config};
use http_body_util::Full;
use hyper::Request;
use qmp_daemon::{Daemon, DaemonError};
use qmp_host::SocketError;
use qmp_http::ListenError;
use qmp_testing::{Monitor, Session};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A hub with one attached VM.
async fn start_attached(home: &Path) -> (Daemon, Monitor, Session) {
    let monitor = Monitor::bind(home, "vm1");
    let hub = Daemon::start(config(home, &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    (hub, monitor, session)
}

async fn kinds(lines: &mut Lines, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    while kinds.len() < count {
        let line = lines.next().await.expect("a line");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        let kind = record["event"].as_str().or(record["kind"].as_str()).expect("a kind");
        kinds.push(format!("{} {kind}", record["offset"]));
    }
    kinds
}

#[tokio::test]
async fn hub_and_vms_are_described() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "here");
    let hub = Daemon::start(config(home.path(), &["here", "absent"])).await.expect("starts");
    let _session = monitor.accept().await;
    Watcher::new(&hub).until("here 1.0 attached").await;

    let (status, answer) = get_json(home.path(), "/v1/hub").await;
    assert_eq!(status, 200);
    assert_eq!(answer["journal"], home.path().join("journal.db").display().to_string());
    assert_eq!((&answer["head"], &answer["journal_health"]), (&json!(1), &json!("writing")));
    assert_eq!(answer["pid"], std::process::id());
    assert_eq!(answer["addresses"], json!(hub.http().iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert!(answer["started"].as_str().is_some_and(|started| started.ends_with('Z')), "{answer}");

    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!(vms.as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&vms[0]["vm"], &vms[0]["state"], &vms[0]["epoch"]),
        (&json!("here"), &json!("attached"), &json!(1))
    );
    assert_eq!(
        (&vms[1]["vm"], &vms[1]["state"], &vms[1]["epoch"]),
        (&json!("absent"), &json!("connecting"), &json!(null))
    );
    assert_eq!(vms[1]["address"], format!("unix:{}", home.path().join("absent.sock").display()));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn records_are_filtered_and_followed() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, session) = start_attached(home.path()).await;
    session.emit("RTC_CHANGE", r#"{"offset": 1}"#);
    session.emit("STOP", "");
    session.emit("RTC_CHANGE", r#"{"offset": 2}"#);
    Watcher::new(&hub).until(r#"vm1 1.3 RTC_CHANGE {"offset": 2}"#).await;

    //  query                           offsets and kinds
    let cases: [(&str, &[&str]); 10] = [
        ("", &["1 attached", "2 RTC_CHANGE", "3 STOP", "4 RTC_CHANGE"]),
        ("?after=2", &["3 STOP", "4 RTC_CHANGE"]),
        ("?after=4", &[]),
        ("?event=RTC_*", &["2 RTC_CHANGE", "4 RTC_CHANGE"]),
        ("?event=RTC_*&event=STOP&last=2", &["3 STOP", "4 RTC_CHANGE"]),
        ("?last=3&after=3", &["4 RTC_CHANGE"]),
        ("?where=offset=2", &["4 RTC_CHANGE"]),
        ("?kind=attached&vm=vm?", &["1 attached"]),
        ("?vm=vm2", &[]),
        ("?until=2020-01-01T00:00:00Z", &[]),
    ];
    for (query, expected) in cases {
        let mut lines = get_lines(home.path(), &format!("/v1/records{query}")).await;
        assert_eq!(kinds(&mut lines, expected.len()).await, expected, "{query}");
        assert_eq!(lines.next().await, None, "{query}");
    }

    let answer = get(home.path(), "/v1/records?after=4&follow=true").await;
    assert_eq!(answer.headers()["qmp-events-head"], "4");
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let mut follow = get_lines(home.path(), "/v1/records?event=STOP&follow=true").await;
    assert_eq!(kinds(&mut follow, 1).await, ["3 STOP"]);
    let mut tail = get_lines(home.path(), "/v1/records?last=1&follow=true").await;
    assert_eq!(kinds(&mut tail, 1).await, ["4 RTC_CHANGE"]);
    session.emit("RESUME", "");
    session.emit("STOP", "");
    assert_eq!(kinds(&mut follow, 1).await, ["6 STOP"]);
    assert_eq!(kinds(&mut tail, 2).await, ["5 RESUME", "6 STOP"]);

    // A following reader receives the last record, and then the stream ends.
    let stopping = tokio::spawn(hub.stop());
    assert_eq!(kinds(&mut tail, 1).await, ["7 detached"]);
    assert_eq!(tail.next().await, None);
    assert_eq!(follow.next().await, None);
    stopping.await.expect("no panic").expect("stops");
}

#[tokio::test]
async fn reader_that_does_not_read_delays_no_other_reader() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, session) = start_attached(home.path()).await;
    let _stuck = get(home.path(), "/v1/records?follow=true").await;
    let mut other = get_lines(home.path(), "/v1/records?follow=true").await;
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(10_000));
    // Far more than the buffers of the sockets hold.
    for _ in 0..1_000 {
        session.emit("LONG", &long);
    }
    let seen = kinds(&mut other, 1_001).await;
    assert_eq!(seen.last().map(String::as_str), Some("1001 LONG"));
    hub.stop().await.expect("stops in spite of a stalled reader");
}

#[tokio::test]
async fn events_before_a_reply_are_committed_before_its_response() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _monitor, _session) = start_attached(home.path()).await;
    for _ in 0..20 {
        let body = r#"{"execute": "burst", "arguments": {"count": 100}}"#;
        let (status, answer) = execute(home.path(), "vm1", body).await;
        let (since, offset) = (&answer["since"], &answer["offset"]);
        assert_eq!((status, &answer), (200, &json!({"return": {}, "since": since, "offset": offset})));
        // The records of the commands come after the replies.
        let mut lines = get_lines(home.path(), &format!("/v1/records?event=RTC_CHANGE&after={since}")).await;
        let offsets = kinds(&mut lines, 100).await;
        assert_eq!(offsets.last(), Some(&format!("{offset} RTC_CHANGE")), "all events in one response");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn error_of_the_vm_is_200_and_error_of_the_hub_is_not() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1", "absent"])).await.expect("starts");
    let mut session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;

    let (status, answer) = execute(home.path(), "vm1", r#"{"execute": "refuse"}"#).await;
    let error = json!({"class": "GenericError", "desc": "not today"});
    assert_eq!((status, answer), (200, json!({"error": error, "since": 1, "offset": 1})));
    assert_eq!(session.command().await, "refuse");

    //  VM        request                       status, class
    let cases: [(&str, &str, u16, &str); 5] = [
        ("vm2", r#"{"execute": "stop"}"#, 404, "VmNotFound"),
        ("absent", r#"{"execute": "stop"}"#, 503, "VmNotAttached"),
        ("vm1", "stop", 400, "BadRequest"),
        ("vm1", r#"{"execute": "stop", "arguments": 5}"#, 400, "BadRequest"),
        ("vm1", r#"{}"#, 400, "BadRequest"),
    ];
    for (vm, body, expected, class) in cases {
        let (status, answer) = execute(home.path(), vm, body).await;
        assert_eq!((status, &answer["error"]["class"]), (expected, &json!(class)), "{vm} {body}: {answer}");
    }
    let (_, answer) = execute(home.path(), "vm2", r#"{"execute": "stop"}"#).await;
    assert_eq!(answer["error"]["desc"], "no VM \"vm2\" here; did you mean vm1?");

    // A VM that closes the connection during a command.
    let path = home.path().to_owned();
    let asking = tokio::spawn(async move { execute(&path, "vm1", r#"{"execute": "silence"}"#).await });
    assert_eq!(session.command().await, "silence");
    session.close().await;
    let (status, answer) = asking.await.expect("no panic");
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("VmGone")), "{answer}");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn invalid_request_gets_an_error_with_advice() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");
    let long = format!("/v1/vms/{}", "v".repeat(60_000));
    let shown = format!("no VM \"{}…\" here; this hub follows none", "v".repeat(100));
    let cases: [(&str, u16, &str); 11] = [
        (
            "/v1/record",
            404,
            "nothing here; there are /v1/hub, /v1/vms, /v1/vms/{name}, /v1/vms/{name}/checkpoint, /v1/relays, /v1/records, /v1/records/{offset}, /v1/vms/{name}/records/{epoch}/{seq}, \
             /v1/timeline, /v1/counts, /v1/findings, /v1/gaps, /v1/events, /v1/catalogue, /v1/sinks, /v1/alerts, /v1/silences, /v1/health, /v1/openapi.json, /metrics, /v1/vms/{name}/notes, \
             /v1/vms/{name}/execute",
        ),
        ("/v1/records?evnt=STOP", 400, "unknown parameter \"evnt\"; did you mean event?"),
        (
            "/v1/records?follow=true&after=999999",
            400,
            "after: 999999: this journal ends at 0, so the offset is from another journal; leave it out",
        ),
        (
            "/v1/records?after=18446744073709551615",
            400,
            "after: 18446744073709551615: this journal ends at 0, so the offset is from another journal; leave it out",
        ),
        ("/v1/catalogue?release=7.2&release=8.0", 400, "release is given twice; it takes one value"),
        ("/v1/records/1?x=1", 400, "unknown parameter \"x\"; this address takes none"),
        ("/v1/records/-1", 400, "offset=-1: expected a whole number from 0"),
        ("/v1/vms/a/records/1/x", 400, "seq=x: expected a whole number from 0"),
        (&long, 404, &shown),
        ("/v1/records?after=x", 400, "after=x: expected a whole number from 0"),
        (
            "/v1/vms/vm1/execute",
            405,
            "use POST for /v1/silences, /v1/vms/{name}/notes, /v1/vms/{name}/execute, and GET for /v1/hub, /v1/vms, /v1/vms/{name}, /v1/vms/{name}/checkpoint, /v1/relays, \
             /v1/records, /v1/records/{offset}, /v1/vms/{name}/records/{epoch}/{seq}, \
             /v1/timeline, /v1/counts, /v1/findings, /v1/gaps, /v1/events, /v1/catalogue, /v1/sinks, /v1/alerts, /v1/silences, /v1/health, /v1/openapi.json, /metrics",
        ),
    ];
    for (path, expected, desc) in cases {
        let (status, answer) = get_json(home.path(), path).await;
        assert_eq!((status, &answer["error"]["desc"]), (expected, &json!(desc)), "{path}");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn request_of_another_site_cannot_execute_commands() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut config = config(home.path(), &["vm1"]);
    config.http.push("tcp:127.0.0.1:0".parse().expect("an address"));
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let address = hub.http()[1].to_string();
    let address = address.strip_prefix("tcp:").expect("a TCP address");

    let own = format!("http://{address}");
    let (query, stop) = (r#"{"execute": "query-status"}"#, r#"{"execute": "stop"}"#);
    //  Host            Origin                        Content-Type                  body   status
    type Case<'c> = (&'c str, Option<&'c str>, Option<&'c str>, &'c str, u16);
    let cases: [Case<'_>; 8] = [
        ("evil.example", None, Some("application/json"), query, 421),
        (address, Some("http://evil.example"), Some("application/json"), query, 403),
        (address, None, Some("text/plain"), query, 415),
        (address, None, None, query, 415),
        (address, None, Some("application/json"), query, 200),
        (address, Some(&own), Some("application/json"), query, 200),
        (address, None, Some("application/json"), stop, 403),
        (address, Some(&own), Some("application/json"), stop, 403),
    ];
    for (host, origin, content_type, body, expected) in cases {
        let mut post = Request::post("/v1/vms/vm1/execute").header("host", host);
        if let Some(origin) = origin {
            post = post.header("origin", origin);
        }
        if let Some(content_type) = content_type {
            post = post.header("content-type", content_type);
        }
        let post = post.body(Full::from(body.to_owned())).expect("a request");
        let stream = TcpStream::connect(address).await.expect("the hub listens");
        let (status, answer) = read_json(send_request(stream, post).await).await;
        assert_eq!(status, expected, "{host} {origin:?} {content_type:?}: {answer}");
        if body == stop {
            let desc = answer["error"]["desc"].as_str().expect("an error");
            assert!(desc.contains("needs a token") && desc.contains("`token-file`"), "{desc}");
        }
    }
    assert_eq!(session.commands_so_far(), [""; 0], "no command that changes the VM reached it");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn unsupported_method_gets_405_with_the_supported_ones() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");
    let (read, write) = ("GET,HEAD", "POST");
    //  method     path                       Allow
    let cases = [
        ("POST", "/v1/hub", read),
        ("POST", "/v1/vms/vm1", read),
        ("PUT", "/v1/records", read),
        ("DELETE", "/v1/events", read),
        ("OPTIONS", "/metrics", read),
        ("TRACE", "/v1/health", read),
        ("GET", "/v1/vms/vm1/execute", write),
        ("PATCH", "/v1/vms/vm1/execute", write),
    ];
    for (method, path, allow) in cases {
        let request = Request::builder().method(method).uri(path).header("host", "hub");
        let request = request.body(Full::default()).expect("a request");
        let answer = send_request(crate::support::client::connect(home.path()).await, request).await;
        assert_eq!(
            answer.headers().get("allow").map(|allow| allow.as_bytes()),
            Some(allow.as_bytes()),
            "{method} {path}"
        );
        let (status, answer) = read_json(answer).await;
        assert_eq!((status, &answer["error"]["class"]), (405, &json!("MethodNotAllowed")), "{method} {path}");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn ambiguous_request_gets_400() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");
    //  request                                                                          status
    let cases = [
        ("GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
        ("GET /v1/health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /v1/health HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /v1/health HTTP/1.1\r\n\r\n", 400),
        ("GET http://b/v1/health HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
        ("GET /v1/vms/%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    ];
    for (text, expected) in cases {
        let mut stream = crate::support::client::connect(home.path()).await;
        stream.write_all(text.as_bytes()).await.expect("writes");
        // Each of these connections ends after its response.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("a response");
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{text} {answer}");
        assert!(expected == 200 || answer.contains(r#"{"error":{"class":"BadRequest""#), "{text} {answer}");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn second_hub_at_a_socket_or_journal_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let first = Daemon::start(config(home.path(), &[])).await.expect("starts");
    let mut second = config(home.path(), &[]);
    second.journal = home.path().join("second.db");
    let error = Daemon::start(second.clone()).await.expect_err("a socket in use");
    assert!(matches!(error, DaemonError::Listen(ListenError::Socket(SocketError::InUse { .. }))), "{error}");
    let expected = format!("another hub is serving at unix:{}", home.path().join("hub.sock").display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    let error = Daemon::start(config(home.path(), &[])).await.expect_err("a journal in use");
    assert!(matches!(error, DaemonError::Journal(_)), "{error}");
    let (status, _) = get_json(home.path(), "/v1/hub").await;
    assert_eq!(status, 200, "the first hub still responds");

    first.stop().await.expect("stops");
    Daemon::start(second).await.expect("the socket is free again").stop().await.expect("stops");
}

#[tokio::test]
async fn vms_with_the_same_name_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let error = Daemon::start(config(home.path(), &["a", "b", "a"])).await.expect_err("refused");
    assert_eq!(error.to_string(), "two VMs are called a; each needs a name of its own");
}

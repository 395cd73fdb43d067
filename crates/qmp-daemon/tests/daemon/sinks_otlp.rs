//! The sink `otlp`: a receiver of OTLP/HTTP with scripted responses, whose requests Python's OpenTelemetry reads back.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::receiver::{Delivery, Receiver, Response};
use crate::support::{Watcher, config, rules};
use qmp_daemon::Daemon;
use qmp_journal::{Batch, Draft};
use qmp_sinks::{SinkState, SinkStatus};
use qmp_testing::{Monitor, Session, poll_until};
use qmp_wire::{Body, UnixMicros};
use serde_json::{Value, json};

/// The longest wait of a test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Prints each log record of the requests on its input, which follow their lengths, as a line of JSON.
const READ_BACK: &str = r#"
import gzip, json, struct, sys
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

def plain(value):
    kind = value.WhichOneof("value")
    if kind is None: return None
    if kind == "array_value": return [plain(element) for element in value.array_value.values]
    if kind == "kvlist_value": return {member.key: plain(member.value) for member in value.kvlist_value.values}
    return getattr(value, kind)

while length := sys.stdin.buffer.read(8):
    body = gzip.decompress(sys.stdin.buffer.read(struct.unpack("<Q", length)[0]))
    request = ExportLogsServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_logs:
        of_resource = {member.key: plain(member.value) for member in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                print(json.dumps({
                    "resource": of_resource,
                    "scope": scope.scope.name,
                    "time": record.time_unix_nano,
                    "observed": record.observed_time_unix_nano,
                    "severity": [record.severity_number, record.severity_text],
                    "event": record.event_name,
                    "body": plain(record.body),
                    "attributes": {member.key: plain(member.value) for member in record.attributes},
                }))
"#;

/// The log records of requests, read by Python; `None` without its package, unless `CI` is set.
fn read_back(requests: &[Delivery]) -> Option<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-clients");
    let found = Command::new(script).output().ok().filter(|output| output.status.success());
    let Some(found) = found else {
        assert!(std::env::var_os("CI").is_none(), "scripts/foreign-clients failed");
        eprintln!("not read back: scripts/foreign-clients failed");
        return None;
    };
    let python = String::from_utf8(found.stdout).expect("a path");
    let mut child = Command::new(python.trim())
        .args(["-c", READ_BACK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut input = child.stdin.take().expect("a pipe");
    for request in requests {
        input.write_all(&(request.body.len() as u64).to_le_bytes()).expect("writes");
        input.write_all(&request.body).expect("writes");
    }
    drop(input);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "Python cannot read a request");
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// The names of events, in the order of the requests.
fn events(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["attributes"]["qmp.event"].as_str().unwrap_or_default()).collect()
}

/// A hub with one attached VM and a rule that posts its events to a collector.
async fn start(home: &Path, monitor: &Monitor, address: &str, more: &str) -> (Daemon, Session) {
    let mut config = config(home, &["vm1"]);
    config.rules =
        rules(&format!("[[rule]]\nname = 'logs'\nevent = 'E*'\notlp = 'http://{address}'\n{more}"));
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    (hub, session)
}

async fn status(hub: &Daemon, is_reached: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let look = async || hub.sinks().into_iter().find(&is_reached);
    let waiting = tokio::time::timeout(TIMEOUT, poll_until("the status is reached", look));
    waiting.await.unwrap_or_else(|_| panic!("{:#?}", hub.sinks()))
}

/// Events of `vm1` in one transaction, so that one read of the rule has all of them.
async fn append(hub: &Daemon, names: &[String], data: &'static str) {
    let mut batch = Batch::new();
    for name in names {
        let body = Body::Event {
            name: name.clone().into(),
            sent_name: None,
            timestamp: None,
            data: Some(data.into()),
        };
        batch.push(&Draft { vm: "vm1", received: UnixMicros(1_767_323_045_678_901), body });
    }
    let appender = hub.journal().appender();
    let ticket = appender.append_when_room(&mut batch).await.expect("room");
    appender.committed(ticket).await.expect("committed");
}

#[tokio::test]
async fn python_reads_records_with_clocks_severity_and_attributes() {
    let home = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(&[]).await;
    let monitor = Monitor::bind(home.path(), "vm1");
    let more = "headers = 'Authorization: Bearer TOKEN'";
    let (hub, session) = start(home.path(), &monitor, &receiver.address, more).await;
    session.emit(
        "EXAMPLE",
        r#"{"device": "d \"1\"", "n": 18446744073709551615, "list": [1, {"a": null}], "x": 1.5}"#,
    );
    let requests = receiver.deliveries(1).await;
    let head = &requests[0].head;
    assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
        ("authorization", "Bearer TOKEN"),
    ] {
        assert_eq!(requests[0].header(name), Some(value), "{name}");
    }
    if let Some(records) = read_back(&requests) {
        let record = &records[0];
        assert_eq!(record["time"], 1_767_323_045_678_001_000_u64, "the VM's clock");
        assert!(record["observed"].as_u64() > record["time"].as_u64(), "the hub's clock");
        assert_eq!(
            (&record["severity"], &record["event"]),
            (&json!([9, "news"]), &json!("org.qemu.qmp.EXAMPLE"))
        );
        assert!(record["body"].as_str().expect("a text").starts_with("vm1: EXAMPLE {"), "{record}");
        assert_eq!(
            (&record["resource"]["service.name"], &record["scope"]),
            (&json!("qmp"), &json!("qmp-events"))
        );
        let attributes = &record["attributes"];
        let journal = record["resource"]["qmp.journal"].as_str().expect("a text");
        let uid = attributes["log.record.uid"].as_str().expect("a text");
        assert!(uid.starts_with(&format!("{journal}:vm1:1:1:")), "{uid}");
        let data = ["device", "n", "list", "x"].map(|name| attributes[format!("qmp.data.{name}")].clone());
        let expected = [json!("d \"1\""), json!("18446744073709551615"), json!([1, {"a": null}]), json!(1.5)];
        assert_eq!(data, expected);
        assert_eq!((&attributes["qmp.vm"], &attributes["qmp.seq"]), (&json!("vm1"), &json!(1)));
    }
    drop(session);
    hub.stop().await.expect("stops");
}

/// A receiver that is busy, breaks off and recovers gets every record once, in batches.
#[tokio::test]
async fn every_record_arrives_in_batches_after_an_outage() {
    let home = tempfile::tempdir().expect("a directory");
    let responses = [Response::Status("503 Busy", "Retry-After: 2\r\n"), Response::BreakOff];
    let receiver = Receiver::start(&responses).await;
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &receiver.address, "").await;
    let began = tokio::time::Instant::now();
    let names: Vec<String> = (0..1_500).map(|number| format!("E{number}")).collect();
    append(&hub, &names, "{}").await;
    let done = status(&hub, |status| status.delivered == 1_500).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "Retry-After is honoured");
    assert_eq!((done.state, done.given_up), (SinkState::Delivering, 0));
    let requests = receiver.deliveries(1).await;
    assert!(requests.len() <= 6, "{} requests", requests.len());
    if let Some(records) = read_back(&requests) {
        assert_eq!(events(&records), names, "once each, in order");
    }
    drop(session);
    hub.stop().await.expect("stops");
}

/// Records that the receiver rejects in part, and one that it refuses whole, are counted; all others arrive.
#[tokio::test]
async fn rejected_and_refused_records_are_counted_as_given_up() {
    // ExportLogsServiceResponse { partial_success: { rejected_log_records: 2, error_message: "old" } }
    const PARTIAL: &[u8] = &[0x0a, 0x07, 0x08, 0x02, 0x12, 0x03, b'o', b'l', b'd'];
    let home = tempfile::tempdir().expect("a directory");
    let bad = Response::Status("400 Bad Request", "");
    // Four records are refused, the first two of them, and the first one.
    let receiver = Receiver::start(&[Response::Body(PARTIAL), bad, bad, bad]).await;
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &receiver.address, "").await;
    append(&hub, &["E1", "E2", "E3"].map(str::to_owned), "{}").await;
    let partly = status(&hub, |status| status.delivered == 1 && status.lag_records == 0).await;
    assert_eq!(partly.given_up, 2);
    let error = partly.last_error.expect("an error");
    assert!(
        error.starts_with("2 of the records 2 to 4 are given up: http://") && error.ends_with(": old"),
        "{error}"
    );

    append(&hub, &["E4", "E5", "E6", "E7"].map(str::to_owned), "{}").await;
    let refused = status(&hub, |status| status.delivered == 4).await;
    assert_eq!((refused.given_up, refused.state), (3, SinkState::Delivering));
    assert_eq!(refused.last_given_up.expect("a record").offset, 5, "E4");
    if let Some(records) = read_back(&receiver.deliveries(1).await) {
        assert_eq!(events(&records), ["E1", "E2", "E3", "E5", "E6", "E7"]);
    }
    drop(session);
    hub.stop().await.expect("stops");
}

/// A request is bounded in bytes, and a record that is longer than that is sent.
#[tokio::test]
async fn long_records_are_sent_in_several_requests() {
    let home = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(&[]).await;
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &receiver.address, "").await;
    let long: &'static str = format!("{{\"text\": \"{}\"}}", "x".repeat(700 << 10)).leak();
    append(&hub, &["E1", "E2", "E3"].map(str::to_owned), long).await;
    let requests = receiver.deliveries(3).await;
    if let Some(records) = read_back(&requests) {
        assert_eq!(events(&records), ["E1", "E2", "E3"]);
    }
    drop(session);
    hub.stop().await.expect("stops");
}

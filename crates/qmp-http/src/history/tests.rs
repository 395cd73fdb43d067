//! The endpoints, over a socket.

use std::path::PathBuf;

use qmp_history::DIGEST;
use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_wire::{Body as RecordBody, DetachReason, UnixMicros};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::connections::serve;
use super::super::endpoint::HttpEndpoint;
use super::super::listen::listen;
use super::super::state::ApiState;

const SECOND: i64 = 1_000_000;
/// A whole minute: the second of January 2026.
const BEGIN: i64 = 1_767_312_000_000_000;

struct Hub {
    _home: TempDir,
    journal: Journal,
    _ends: watch::Sender<bool>,
    socket: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hub {
    /// A hub whose journal has a VM that was stopped, lost its hub, and ended.
    async fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let options = JournalOptions { segment_records: 3, digest: DIGEST, ..JournalOptions::default() };
        let journal = Journal::open(&path, options).expect("opens");
        let mut batch = Batch::new();
        let mut push = |seconds: i64, body| {
            batch.push(&Draft { vm: "web1", received: UnixMicros(BEGIN + seconds * SECOND), body });
        };
        let event = |name: &'static str| RecordBody::Event {
            name: name.into(),
            sent_name: None,
            timestamp: None,
            data: None,
        };
        let snapshot = r#"{"query-status":{"status":"running"}}"#;
        push(0, RecordBody::Attached { snapshot: snapshot.into() });
        push(60, event("STOP"));
        push(
            60,
            RecordBody::Finding {
                finding: "why-paused".into(),
                summary: "It was stopped.".into(),
                causes: vec![(qmp_wire::Epoch(1), qmp_wire::Seq(1))],
                data: Some(r#"{"run_state":"paused"}"#.into()),
            },
        );
        push(120, event("RESUME"));
        let certain_until = Some(UnixMicros(BEGIN + 180 * SECOND));
        push(600, RecordBody::Detached { reason: DetachReason::HubStopped, detail: None, certain_until });
        push(600, RecordBody::Attached { snapshot: snapshot.into() });
        push(660, event("<script>alert(1)</script>"));
        let appender = journal.appender();
        let ticket = appender.append(&mut batch).expect("room");
        appender.committed(ticket).await.expect("is committed");
        let (ends, ending) = watch::channel(false);
        let api = ApiState::without_vms(&journal, path, ending.clone()).await;
        let socket = home.path().join("hub.sock");
        let endpoint: HttpEndpoint = format!("unix:{}", socket.display()).parse().expect("an address");
        let listener = listen(&endpoint).await.expect("listens");
        let serving = tokio::spawn(async move {
            let _ = serve(listener, api, ending).await;
        });
        Self { _home: home, journal, _ends: ends, socket, serving }
    }

    /// Status, head in lower case, and body of a response.
    async fn respond(&self, path: &str, header: &str) -> (u16, String, String) {
        let mut stream = UnixStream::connect(&self.socket).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("a response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.respond(path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

fn window(since: i64, until: i64) -> String {
    format!("since={}&until={}", BEGIN + since * SECOND, BEGIN + until * SECOND)
}

#[tokio::test]
async fn timeline_has_states_gaps_findings_and_marks() {
    let hub = Hub::new().await;
    let found = hub.get(&format!("/v1/timeline?{}&buckets=20", window(0, 1_200))).await;
    assert_eq!(
        (&found["bucket"], &found["buckets"], &found["partial"]),
        (&json!(60 * SECOND), &json!(20), &json!(false))
    );
    assert_eq!((&found["lanes_total"], &found["next"]), (&json!(1), &Value::Null));
    let lane = &found["lanes"][0];
    assert_eq!(lane["vm"], "web1");
    let at = |seconds: i64| json!(BEGIN + seconds * SECOND);
    let state = |index: usize, word: &str| {
        let state = &lane["states"][index];
        let named =
            &found["states"][usize::try_from(state[2].as_u64().expect("an index")).expect("an index")];
        assert_eq!(named, word, "{lane}");
        (state[0].clone(), state[1].clone())
    };
    assert_eq!(state(0, "running"), (at(0), at(60)));
    assert_eq!(state(1, "paused"), (at(60), at(120)));
    assert_eq!(state(2, "running"), (at(120), at(180)));
    assert_eq!(state(3, "unknown"), (at(180), at(600)));
    assert_eq!(state(4, "running"), (at(600), Value::Null));
    assert_eq!(lane["gaps"], json!([[at(180), at(600), 0, 1]]));
    assert_eq!(found["reasons"], json!(["hub stopped"]));
    assert_eq!(lane["findings"], json!([[3, at(60), at(120), 0, 1]]));
    assert_eq!(found["kinds"], json!(["why-paused"]));
    let marks =
        json!([[2, at(60), "STOP"], [4, at(120), "RESUME"], [7, at(660), "<script>alert(1)</script>"]]);
    assert_eq!(lane["marks"], marks);
    assert_eq!(lane["counts"]["lifecycle"], json!([[1, 2], [10, 1]]), "{lane}");
    assert_eq!(found["total"], lane["counts"]);

    let severities = "severity=error&severity=warning";
    let urgent = hub.get(&format!("/v1/timeline?{}&buckets=20&{severities}", window(0, 1_200))).await;
    assert_eq!((&urgent["total"], &urgent["lanes"][0]["counts"]), (&json!({}), &json!({})));
    let few = hub.get(&format!("/v1/timeline?{}&buckets=20&marks=2", window(0, 1_200))).await;
    assert_eq!(few["lanes"][0].get("marks"), None, "there are more");
    let narrow = hub.get(&format!("/v1/timeline?{}&buckets=100&event=STOP", window(50, 70))).await;
    assert_eq!(narrow["bucket"], json!(SECOND / 5));
    assert_eq!(narrow["lanes"][0]["counts"], json!({"lifecycle": [[50, 1]]}));
    let of_others = hub.get(&format!("/v1/timeline?{}&vm=db*", window(0, 1_200))).await;
    assert_eq!((&of_others["lanes_total"], &of_others["total"]), (&json!(0), &json!({})));
}

#[tokio::test]
async fn counts_findings_gaps_and_details_are_read() {
    let hub = Hub::new().await;
    let found = hub
        .get(&format!("/v1/counts?by=kind&by=finding&by=event&top=1&buckets=2&{}", window(0, 1_200)))
        .await;
    assert_eq!(found["total"], 7);
    let kind = &found["by"]["kind"][0];
    assert_eq!((&kind["name"], &kind["count"], &kind["spark"]), (&json!("event"), &json!(3), &json!([2, 1])));
    assert_eq!(found["other"]["kind"], json!({"names": 3, "count": 4}));
    assert_eq!(found["by"]["finding"][0]["name"], "why-paused");

    let found = hub.get("/v1/findings").await;
    let paused = &found["findings"][0];
    assert_eq!(
        (&paused["finding"], &paused["open"], &paused["causes"]),
        (&json!("why-paused"), &json!(false), &json!([[1, 1]]))
    );
    assert_eq!(hub.get("/v1/findings?open=true").await, json!({"findings": [], "next": null}));

    let gap = &hub.get("/v1/gaps").await["gaps"][0];
    assert_eq!((&gap["from"], &gap["to"]), (&json!(BEGIN + 180 * SECOND), &json!(BEGIN + 600 * SECOND)));
    assert_eq!((&gap["reason"], &gap["epoch_after"]), (&json!("hub stopped"), &json!(2)));

    let by_offset = hub.get("/v1/records/2").await;
    assert_eq!(by_offset, hub.get("/v1/vms/web1/records/1/1").await);
    assert_eq!(
        (&by_offset["record"]["event"], &by_offset["caused"][0]["offset"]),
        (&json!("STOP"), &json!(3))
    );
    for (path, status) in [
        ("/v1/records/8", 404),
        ("/v1/records/0", 404),
        ("/v1/records/x", 400),
        ("/v1/vms/web1/records/3/0", 404),
        ("/v1/vms/web1/records/1/-1", 400),
        ("/v1/vms/nobody/records/1/0", 404),
        ("/v1/timeline?colour=red", 400),
    ] {
        assert_eq!(hub.respond(path, "").await.0, status, "{path}");
    }
}

#[tokio::test]
async fn closed_window_has_a_tag_until_more_is_sealed() {
    let ask = async |hub: &Hub, path: &str, tag: Option<&str>| {
        let held = tag.map(|tag| format!("if-none-match: {tag}\r\n")).unwrap_or_default();
        let (status, head, _) = hub.respond(path, &held).await;
        let header = |name: &str| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
            head.lines().find_map(value)
        };
        (status, header("etag"), header("server-timing"))
    };
    for path in ["/v1/timeline", "/v1/counts"] {
        let hub = Hub::new().await;
        let closed = format!("{path}?{}", window(0, 600));
        let (status, tag, timing) = ask(&hub, &closed, None).await;
        let tag = tag.expect("a tag");
        assert!(status == 200 && timing.is_some_and(|timing| timing.starts_with("journal;dur=")), "{path}");
        assert_eq!(ask(&hub, &closed, Some(&format!("\"x\", W/{tag}"))).await.0, 304, "{path}");
        assert_eq!(ask(&hub, &closed, Some("\"x\"")).await.0, 200, "{path}");
        // The last record is in no sealed segment yet, and without an end the window goes on.
        assert_eq!(ask(&hub, &format!("{path}?{}", window(0, 1_200)), None).await.1, None, "{path}");
        assert_eq!(ask(&hub, path, Some(&tag)).await.0, 200, "{path}");
        // A record of the window arrives late, as one of a host that was cut off.
        let mut batch = Batch::new();
        let body = RecordBody::Attached { snapshot: "{}".into() };
        batch.push(&Draft { vm: "web1", received: UnixMicros(BEGIN + 300 * SECOND), body });
        let appender = hub.journal.appender();
        let ticket = appender.append(&mut batch).expect("room");
        appender.committed(ticket).await.expect("is committed");
        assert_eq!(ask(&hub, &closed, Some(&tag)).await.0, 200, "{path}");
    }
}

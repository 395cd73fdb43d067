//! The recipes for webhooks in `docs/operating.md`, as they are written there, against the receivers or their request
//! forms.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::receiver::{Delivery, Receiver};
use crate::support::{Watcher, config, rules};
use qmp_daemon::Daemon;
use qmp_journal::{Batch, Draft};
use qmp_testing::{Monitor, poll_until};
use qmp_wire::{Body, UnixMicros};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// The longest wait of a test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The block of rules on the page that contains `name`, with the receivers at `address`.
fn recipe(name: &str, address: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/operating.md")).expect("a page");
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
    let mut found = blocks.filter(|block| block.contains(&format!("name    = \"{name}\"\n")));
    let block = found.next().unwrap_or_else(|| panic!("no recipe {name}"));
    let lines = block.lines().map(|line| {
        let Some(rest) = line.strip_prefix("webhook = \"") else { return format!("{line}\n") };
        let path = rest.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("an address").1;
        format!("webhook = \"http://{address}/{path}\n")
    });
    lines.collect()
}

/// A hub with the rules of a recipe, and a scripted VM.
struct Recipe {
    hub: Daemon,
    session: qmp_testing::Session,
    home: tempfile::TempDir,
}

impl Recipe {
    async fn start(name: &str, address: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let monitor = Monitor::bind(home.path(), "vm1");
        let mut config = config(home.path(), &["vm1"]);
        config.rules = rules(&recipe(name, address));
        let hub = Daemon::start(config).await.expect("starts");
        let session = monitor.accept().await;
        Watcher::new(&hub).until("vm1 1.0 attached").await;
        Self { hub, session, home }
    }

    /// Appends a finding of `vm1`.
    async fn find(&self, finding: &'static str, summary: &'static str, data: &'static str) {
        let (finding, summary) = (finding.into(), summary.into());
        let body = Body::Finding { finding, summary, causes: Vec::new(), data: Some(data.into()) };
        let mut batch = Batch::new();
        batch.push(&Draft { vm: "vm1", received: UnixMicros(1_767_323_045_678_901), body });
        let ticket = self.hub.journal().appender().append_when_room(&mut batch).await.expect("room");
        self.hub.journal().appender().committed(ticket).await.expect("committed");
    }

    async fn stop(self) {
        drop(self.session);
        self.hub.stop().await.expect("stops");
        drop(self.home);
    }
}

const PAUSED: &str = "A write to disk \"d\" failed, and QEMU paused it";

/// The request line and `Content-Type`.
fn head(delivery: &Delivery) -> (&str, &str) {
    (delivery.head.lines().next().unwrap_or_default(), delivery.header("content-type").unwrap_or_default())
}

/// Slack, "Sending messages using incoming webhooks"; Mattermost, "Incoming webhooks".
#[tokio::test]
async fn chat_gets_text_in_json() {
    let receiver = Receiver::start(&[]).await;
    let recipe = Recipe::start("chat", &receiver.address).await;
    recipe.find("why-paused", PAUSED, "{}").await;
    let delivery = receiver.deliveries(1).await.remove(0);
    assert_eq!(head(&delivery), ("POST /services/T000/B000/KEY HTTP/1.1", "application/json"));
    assert_eq!(delivery.json(), json!({"text": format!("vm1: why-paused: {PAUSED}")}));
    recipe.stop().await;
}

/// ntfy, "Publishing": the body is the message, the rest are headers.
#[tokio::test]
async fn ntfy_gets_message_with_headers() {
    let receiver = Receiver::start(&[]).await;
    let recipe = Recipe::start("ntfy", &receiver.address).await;
    recipe.find("why-paused", PAUSED, "{}").await;
    let delivery = receiver.deliveries(1).await.remove(0);
    assert_eq!(head(&delivery), ("POST /TOPIC HTTP/1.1", "text/plain; charset=utf-8"));
    assert_eq!(String::from_utf8_lossy(&delivery.body), PAUSED);
    let headers = ["title", "priority", "tags"].map(|name| delivery.header(name).unwrap_or_default());
    assert_eq!(headers, ["vm1 is paused", "high", "warning"]);
    recipe.stop().await;
}

/// Grafana, "Annotations HTTP API": `time` in milliseconds, `tags`, `text`.
#[tokio::test]
async fn grafana_gets_annotation() {
    let receiver = Receiver::start(&[]).await;
    let recipe = Recipe::start("grafana", &receiver.address).await;
    recipe.find("why-paused", PAUSED, "{}").await;
    let delivery = receiver.deliveries(1).await.remove(0);
    assert_eq!(head(&delivery), ("POST /api/annotations HTTP/1.1", "application/json"));
    assert_eq!(delivery.header("authorization"), Some("Bearer TOKEN"));
    let expected = json!({
        "time": 1_767_323_045_678_i64, "tags": ["qmp", "finding", "vm:vm1"], "text": format!("vm1: why-paused: {PAUSED}"),
    });
    assert_eq!(delivery.json(), expected);
    recipe.stop().await;
}

/// A real Alertmanager: each alert fires until the record that ends it, also if it was away meanwhile.
#[tokio::test]
async fn alertmanager_resolves_alerts() {
    let Some(manager) = Alertmanager::start("127.0.0.1:0").await else { return };
    let address = manager.address.clone();
    let recipe = Recipe::start("alert-state", &address).await;
    assert_eq!(manager.active(&[]).await, [""; 0], "the VM is attached");
    recipe.session.emit("STOP", "");
    recipe.find("storm", "many", r#"{"event": "RTC_CHANGE"}"#).await;
    manager.active(&["QmpStorm vm1 RTC_CHANGE", "QmpVmPaused vm1 "]).await;
    recipe.session.emit("RESUME", "");
    manager.active(&["QmpStorm vm1 RTC_CHANGE"]).await;
    recipe.find("storm-over", "many", r#"{"event": "RTC_CHANGE"}"#).await;
    manager.active(&[]).await;
    let gone = r#"{"rule": "alert-state", "since": "2026-01-02T03:04:05.678901Z", "state": "gone"}"#;
    recipe.find("alert", "It is gone", gone).await;
    manager.active(&["QmpVmState vm1 gone"]).await;
    recipe.find("resolved", "It is running", gone).await;
    manager.active(&[]).await;

    let home = recipe.home.path().to_owned();
    let Recipe { hub, session, home: directory } = recipe;
    drop(manager);
    session.emit("STOP", "");
    Watcher::new(&hub).until("vm1 1.7 STOP").await;
    let manager = Alertmanager::start(&address).await.expect("it ran before");
    manager.active(&["QmpVmPaused vm1 "]).await;
    drop(session);
    let _session = Monitor::bind(&home, "vm1").accept().await;
    manager.active(&[]).await;
    hub.stop().await.expect("stops");
    drop(directory);
}

/// Debian's Alertmanager, ended on drop.
struct Alertmanager {
    address: String,
    _process: Child,
    _home: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts it at an address; `None` without the program, unless `CI` is set.
    async fn start(address: &str) -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        let config = home.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("writes");
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", home.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) if std::env::var_os("CI").is_none() => {
                eprintln!("not tried: cannot run prometheus-alertmanager ({error}); Debian has it");
                return None;
            }
            Err(error) => panic!("cannot run prometheus-alertmanager: {error}; install that package"),
        };
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                    return address.split(' ').next().unwrap_or_default().to_owned();
                }
            }
            panic!("Alertmanager ended");
        };
        let address = tokio::time::timeout(TIMEOUT, listening).await.expect("it listens");
        // A full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { address, _process: process, _home: home })
    }

    /// Waits until exactly these alerts are active: name, VM, event.
    async fn active(&self, expected: &[&str]) -> Vec<String> {
        let is_expected = async || {
            let mut active = self.alerts().await;
            active.sort();
            (active == expected).then_some(active)
        };
        let waiting = tokio::time::timeout(TIMEOUT, poll_until("the alerts", is_expected)).await;
        match waiting {
            Ok(active) => active,
            Err(_) => panic!("expected {expected:?}: {:?}", self.alerts().await),
        }
    }

    async fn alerts(&self) -> Vec<String> {
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.expect("connects");
        stream.write_all(b"GET /api/v2/alerts?active=true HTTP/1.0\r\n\r\n").await.expect("writes");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("a reply");
        let body = reply.split_once("\r\n\r\n").expect("a body").1;
        let alerts: Vec<Value> = serde_json::from_str(body).unwrap_or_else(|_| panic!("{reply}"));
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        let shown = |alert: &Value| {
            let begins = alert["startsAt"].as_str().unwrap_or_default();
            assert!(begins < "9999", "an alert begins with its record: {alert}");
            let kind = label(alert, "event") + &label(alert, "state");
            format!("{} {} {kind}", label(alert, "alertname"), label(alert, "vm"))
        };
        alerts.iter().map(shown).collect()
    }
}

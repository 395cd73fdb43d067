//! Rules and sinks: deliveries for every behaviour of the receiver.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::client::get_json;
use crate::support::receiver::{Delivery, Receiver, Response};
use crate::support::{Watcher, config, rules};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qmp_daemon::Daemon;
use qmp_sinks::{KINDS, SinkState, SinkStatus, message_id};
use qmp_testing::{Monitor, NatsServer, Session, poll_until};
use ring::hmac;
use serde_json::{Value, json};

/// The longest wait of a test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A hub with one attached VM, and these rules.
async fn start(home: &Path, monitor: &Monitor, text: &str) -> (Daemon, Session) {
    let mut config = config(home, &["vm1"]);
    config.rules = rules(text);
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    session.emit("HELLO", "");
    (hub, session)
}

/// An executable script of these lines.
fn script(home: &Path, name: &str, lines: &str) -> String {
    let path = home.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
    path.display().to_string()
}

/// An address without a listener.
fn unused_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    free.local_addr().expect("an address").to_string()
}

/// Waits until the status of a rule fulfils `is_reached`.
async fn status(hub: &Daemon, rule: &str, is_reached: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let look = async || hub.sinks().into_iter().find(|status| &*status.rule == rule).filter(&is_reached);
    let waiting = tokio::time::timeout(TIMEOUT, poll_until("the status is reached", look));
    waiting.await.unwrap_or_else(|_| panic!("{:#?}", hub.sinks()))
}

/// The complete lines of a file.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect("a complete line")).collect()
}

fn events(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(Delivery::event).collect()
}

// The datagram socket blocks this thread, and the hub must run meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sink_of_each_kind_delivers() {
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name);
    let page = script(
        home.path(),
        "page",
        "cat >>\"$1\"; echo \"$QMP_RULE $QMP_VM $QMP_EVENT $QMP_DATA_ACTION $2 $CARGO\" >>\"$1.env\"",
    );
    let receiver = Receiver::start(&[]).await;
    let collector = Receiver::start(&[]).await;
    let journald = UnixDatagram::bind(at("journald")).expect("binds");
    journald.set_read_timeout(Some(TIMEOUT)).expect("sets");
    let (ran, log, address) = (at("ran"), at("log.jsonl"), &receiver.address);
    let nats = NatsServer::programs().first().map(|program| NatsServer::start(program, &at("nats"), ""));
    let nats_rule = nats.as_ref().map(|nats| format!("[[rule]]\nname = 'nats'\nnats = '{}'\n", nats.url()));
    let text = format!(
        "[[rule]]\nname = 'page'\nevent = 'WATCHDOG'\nwhere = 'action=reset'\nrun = ['{page}', '{}', 'a b']\n\
         [[rule]]\nname = 'hook'\nevent = 'WATCH*'\nwebhook = 'http://{address}/hook?x=y'\n\
         [[rule]]\nname = 'logs'\nevent = 'WATCHDOG'\notlp = 'http://{}'\n\
         [[rule]]\nname = 'journal'\nevent = 'WATCHDOG'\njournald = '{}'\n\
         [[rule]]\nname = 'log'\nfile = '{}'\n\
         [[rule]]\nname = 'other-vm'\nvm = 'vm2'\nfile = '{}'\n{}",
        ran.display(),
        collector.address,
        at("journald").display(),
        log.display(),
        at("other").display(),
        nats_rule.unwrap_or_default(),
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    session.emit("WATCHDOG", r#"{"action": "pause"}"#);
    session.emit("WATCHDOG", r#"{"action": "reset"}"#);

    let deliveries = receiver.deliveries(2).await;
    assert!(deliveries[0].head.starts_with("POST /hook?x=y HTTP/1.1\r\n"), "{}", deliveries[0].head);
    assert_eq!(deliveries[0].header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    assert_eq!(deliveries[0].header("webhook-id"), deliveries[0].json()["id"].as_str());
    assert_eq!(deliveries[0].header("webhook-signature"), None);
    assert_eq!(deliveries[1].json()["type"], "org.qemu.qmp.WATCHDOG");
    assert_eq!(deliveries[1].json()["data"]["data"], json!({"action": "reset"}));
    assert_eq!(receiver.connections(), 1, "the connection is reused");

    let mut buffer = [0; 65_536];
    let bytes = journald.recv(&mut buffer).expect("an entry");
    let entry = String::from_utf8(buffer[..bytes].to_vec()).expect("text");
    for field in [
        "MESSAGE=vm1: WATCHDOG {\"action\": \"pause\"}".to_owned(),
        format!("MESSAGE_ID={}", message_id("WATCHDOG")),
        "PRIORITY=4".into(),
        "SYSLOG_IDENTIFIER=qmp".into(),
        "QMP_DATA_ACTION=pause".into(),
    ] {
        assert!(entry.lines().any(|line| line == field), "{field} in {entry}");
    }

    let environment = poll_until("the command ran", async || {
        fs::read_to_string(at("ran.env")).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(
        environment.await,
        "page vm1 WATCHDOG reset a b \n",
        "no other variable of the hub's environment"
    );
    let found =
        poll_until("the file is written", async || Some(lines(&log)).filter(|lines| lines.len() == 4)).await;
    assert_eq!(lines(&ran), found[3..], "the command has the same line");
    let (mut journal, mut expected) = (Watcher::new(&hub), Vec::new());
    for _ in 0..4 {
        journal.next().await.write_json(&mut expected);
        expected.push(b'\n');
    }
    assert_eq!(fs::read(&log).expect("reads"), expected, "byte for byte");
    assert!(!at("other").exists(), "no record of vm2");

    let all = status(&hub, "log", |status| status.lag_records == 0 && status.delivered == 4).await;
    assert_eq!((all.failures, all.state), (0, SinkState::Delivering));
    let (code, sinks) = get_json(home.path(), "/v1/sinks").await;
    assert_eq!(code, 200);
    assert_eq!(sinks[1]["target"], format!("http://{address}/…"));
    for kind in KINDS.iter().map(|kind| kind.key()).filter(|kind| *kind != "nats" || nats.is_some()) {
        let of_kind = hub.sinks().into_iter().find(|status| status.kind == kind);
        let rule = of_kind.unwrap_or_else(|| panic!("no rule of this test has the action {kind}")).rule;
        status(&hub, &rule, |status| status.delivered > 0).await;
    }
    assert_eq!(get_json(home.path(), "/v1/hub").await.1["stuck_rules"], json!([]));
    drop(session);
    hub.stop().await.expect("stops");
}

/// No listener, then a receiver that is busy, hangs, closes its connection, and recovers: every record arrives, in order,
/// and the file of another rule has every record at once.
#[tokio::test]
async fn unreachable_receiver_gets_every_record_after_its_return() {
    let home = tempfile::tempdir().expect("a directory");
    let (address, log) = (unused_address(), home.path().join("log"));
    let text = format!(
        "[[rule]]\nname = 'hook'\nevent = 'E*'\nwebhook = 'http://{address}/'\ntimeout = '200ms'\n\
         [[rule]]\nname = 'log'\nevent = 'E*'\nfile = '{}'",
        log.display()
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    let all: Vec<String> = (0..8).map(|number| format!("E{number}")).collect();
    all.iter().for_each(|event| session.emit(event, ""));
    poll_until("the file has all", async || (lines(&log).len() == 8).then_some(())).await;
    let stuck = status(&hub, "hook", |status| status.state == SinkState::Retrying).await;
    assert!(stuck.last_error.expect("an error").contains("refused"), "connection refused");
    assert_eq!(get_json(home.path(), "/v1/hub").await.1["stuck_rules"], json!(["hook"]));

    let began = tokio::time::Instant::now();
    let responses = [
        Response::Status("503 Busy", "Retry-After: 2\r\n"),
        Response::ThenClose,
        Response::Hang,
        Response::Status("200 OK", ""),
        Response::BreakOff,
        Response::Status("500 Oops", ""),
    ];
    let receiver = Receiver::at(&address, &responses).await;
    let deliveries = receiver.deliveries(8).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "Retry-After is honoured");
    assert_eq!(events(&deliveries), all, "once each, in order");
    let done = status(&hub, "hook", |status| status.delivered == 8).await;
    assert_eq!((done.state, done.given_up), (SinkState::Delivering, 0));
    assert!(done.failures >= 4, "{done:?}");
    drop(session);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn refused_record_is_given_up_and_counted() {
    let home = tempfile::tempdir().expect("a directory");
    let refused = Response::Status("404 Not Found", "");
    let receiver = Receiver::start(&[refused, Response::Status("302 Found", "Location: /x\r\n")]).await;
    let other = Receiver::start(&[refused, refused]).await;
    let text = format!(
        "[[rule]]\nname = 'once'\nevent = 'E*'\nwebhook = 'http://{}/'\n\
         [[rule]]\nname = 'thrice'\nevent = 'E*'\nwebhook = 'http://{}/'\nattempts = 3",
        receiver.address, other.address
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    ["E1", "E2", "E3"].iter().for_each(|event| session.emit(event, ""));
    assert_eq!(events(&receiver.deliveries(1).await), ["E3"]);
    assert_eq!(events(&other.deliveries(3).await), ["E1", "E2", "E3"]);
    let once = status(&hub, "once", |status| status.delivered == 1).await;
    assert_eq!((once.given_up, once.failures), (2, 2));
    let last = once.last_given_up.as_ref().expect("a record was given up");
    assert_eq!((&*last.vm, Some(&last.error)), ("vm1", once.last_error.as_ref()));
    assert!(last.offset > 0 && last.offset <= once.offset, "{last:?}");
    let error = once.last_error.expect("an error");
    assert!(error.contains("302 Found: why; redirections are not followed"), "{error}");
    let thrice = status(&hub, "thrice", |status| status.delivered == 3).await;
    assert_eq!((thrice.given_up, thrice.failures, thrice.last_given_up), (0, 2, None));
    drop(session);
    hub.stop().await.expect("stops");
}

/// Undelivered records wait for the next start; a new rule begins with new records.
#[tokio::test]
async fn rules_continue_at_their_positions_after_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let address = unused_address();
    let hook = format!("[[rule]]\nname = 'hook'\nevent = 'E*'\nwebhook = 'http://{address}/'\n");
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &hook).await;
    ["E1", "E2"].iter().for_each(|event| session.emit(event, ""));
    status(&hub, "hook", |status| status.state == SinkState::Retrying).await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.3 E2").await;
    hub.stop().await.expect("stops");
    session.left().await;

    // One start without the rule: its position is kept.
    Daemon::start(config(home.path(), &[])).await.expect("starts").stop().await.expect("stops");

    let receiver = Receiver::at(&address, &[]).await;
    let (late, all) = (home.path().join("late"), home.path().join("all"));
    let text = format!(
        "{hook}[[rule]]\nname = 'late'\nevent = 'E*'\nfile = '{}'\n\
         [[rule]]\nname = 'all'\nevent = 'E*'\nfrom = 'start'\nfile = '{}'",
        late.display(),
        all.display()
    );
    let (hub, session) = start(home.path(), &monitor, &text).await;
    session.emit("E3", "");
    let deliveries = receiver.deliveries(3).await;
    assert_eq!(events(&deliveries), ["E1", "E2", "E3"]);
    let ids: Vec<&str> = deliveries.iter().filter_map(|delivery| delivery.header("webhook-id")).collect();
    let journal_id = ids[0].split(':').next().expect("the journal's name");
    assert_eq!(journal_id.len(), 32);
    assert!(ids[0].starts_with(&format!("{journal_id}:vm1:1:2:")), "{ids:?}");
    assert!(ids[2].starts_with(&format!("{journal_id}:vm1:2:2:")), "{ids:?}");
    poll_until("the whole journal", async || (lines(&all).len() == 3).then_some(())).await;
    poll_until("the new record", async || (lines(&late).len() == 1).then_some(())).await;
    drop(session);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn replaced_rules_keep_positions_and_unchanged_ones_run() {
    let home = tempfile::tempdir().expect("a directory");
    let rule = |name: &str, event: &str| {
        let path = home.path().join(name);
        format!("[[rule]]\nname = '{name}'\nevent = '{event}'\nfile = '{}'\n", path.display())
    };
    let count = |name: &str| lines(&home.path().join(name)).len();
    let monitor = Monitor::bind(home.path(), "vm1");
    let before = rule("same", "E*") + &rule("changed", "E1") + &rule("gone", "E*");
    let (hub, session) = start(home.path(), &monitor, &before).await;
    session.emit("E1", "");
    poll_until("all three", async || (count("same") + count("changed") + count("gone") == 3).then_some(()))
        .await;
    // A file is written before the status of its rule changes.
    for name in ["same", "changed", "gone"] {
        status(&hub, name, |status| status.delivered == 1).await;
    }

    let after = rule("new", "E*") + &rule("same", "E*") + &rule("changed", "E2");
    let changes = hub.rules().replace(rules(&after)).await.expect("replaces");
    assert_eq!(
        (&*changes.added, &*changes.changed, &*changes.removed, changes.unchanged),
        (&["new".into()][..], &["changed".into()][..], &["gone".into()][..], 1)
    );
    let names: Vec<Box<str>> = hub.sinks().into_iter().map(|status| status.rule).collect();
    assert_eq!(names, ["new".into(), "same".into(), "changed".into()]);
    assert_eq!(status(&hub, "same", |_| true).await.delivered, 1, "it continues undisturbed");
    session.emit("E2", "");
    poll_until("the three", async || (count("same") + count("changed") + count("new") == 5).then_some(()))
        .await;
    assert_eq!((count("gone"), count("changed"), count("new")), (1, 2, 1));

    let twice = rules(&rule("new", "E*")).into_iter().chain(rules(&rule("new", "X")));
    let error = hub.rules().replace(twice.collect()).await.expect_err("two of one name").to_string();
    assert_eq!(error, "two rules are called new; each needs a unique name");
    assert_eq!(hub.sinks().len(), 3, "nothing was changed");

    // The rule returns, and delivers the records since its removal.
    hub.rules().replace(rules(&before)).await.expect("replaces");
    poll_until("E2", async || (count("gone") == 2).then_some(())).await;
    drop(session);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn held_back_records_are_counted_also_after_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(&[]).await;
    let text = format!(
        "[[rule]]\nname = 'hook'\nevent = 'E*'\nat-most = '1 per 3s'\nwebhook = 'http://{}/'",
        receiver.address
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    let began = tokio::time::Instant::now();
    ["E1", "E2", "E3", "E4"].iter().for_each(|event| session.emit(event, ""));
    let held = status(&hub, "hook", |status| status.held_back_waiting == 3).await;
    assert_eq!((held.held_back, held.delivered), (3, 1));
    hub.stop().await.expect("stops");
    session.left().await;
    let (hub, session) = start(home.path(), &monitor, &text).await;
    let deliveries = receiver.deliveries(2).await;
    assert!(began.elapsed() >= Duration::from_secs(3));
    let delivery = |index: usize| {
        (deliveries[index].event(), deliveries[index].header("qmp-held-back").map(str::to_owned))
    };
    assert_eq!(delivery(0), ("E1".into(), None));
    assert_eq!(delivery(1), ("E4".into(), Some("2".into())));
    status(&hub, "hook", |status| status.held_back_waiting == 0).await;
    drop(session);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn finding_is_delivered() {
    let home = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(&[]).await;
    let mut config = config(home.path(), &["vm1"]);
    config.findings = true;
    let address = &receiver.address;
    config.rules =
        rules(&format!("[[rule]]\nname = 'why'\nfinding = 'why-*'\nwebhook = 'http://{address}/'"));
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    let failed = r#"{"device": "d", "operation": "write", "action": "stop", "reason": "x"}"#;
    session.emit("BLOCK_IO_ERROR", failed);
    session.emit("STOP", "");
    let event = receiver.deliveries(1).await[0].json();
    assert_eq!(event["type"], "io.github.qmp-events.finding.why-paused");
    assert_eq!(event["data"]["kind"], "finding");
    drop(session);
    hub.stop().await.expect("stops");
}

/// libvirt and Proxmox run QEMU with `-no-shutdown`: their own signal follows the guest's power-off.
#[tokio::test]
async fn rule_for_guest_shutdown_fires_when_a_signal_ends_qemu() {
    let home = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(&[]).await;
    let mut config = config(home.path(), &["vm1"]);
    config.findings = true;
    let address = &receiver.address;
    config.rules = rules(&format!(
        "[[rule]]\nname = 'off'\nfinding = 'why-ended'\nwhere = 'data.cause=guest-shutdown'\nwebhook = 'http://{address}/'"
    ));
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    session.emit("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    session.emit("STOP", "");
    session.emit("SHUTDOWN", r#"{"guest": false, "reason": "host-signal"}"#);
    session.close().await;
    let event = receiver.deliveries(1).await[0].json();
    let data = &event["data"]["data"];
    assert_eq!((&data["by"], &data["ended_by"]), (&"guest".into(), &"host-signal".into()), "{event}");
    hub.stop().await.expect("stops");
}

/// Signed, over TLS, with a private authority.
#[tokio::test]
async fn webhook_is_signed_and_encrypted() {
    const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let home = tempfile::tempdir().expect("a directory");
    let generated = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (ca, secret) = (home.path().join("ca.pem"), home.path().join("secret"));
    fs::write(&ca, generated.cert.pem()).expect("writes");
    fs::write(&secret, format!("whsec_{SECRET}\n")).expect("writes");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(generated.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![generated.cert.der().clone()], key.into())
        .expect("a server");
    let receiver = Receiver::with_tls(Arc::new(server).into()).await;
    let address = &receiver.address;
    let text = format!(
        "[[rule]]\nname = 'good'\nevent = 'E*'\nwebhook = 'https://{address}/'\nca-file = '{}'\nsecret-file = '{}'\n\
         [[rule]]\nname = 'untrusting'\nevent = 'E*'\nwebhook = 'https://{address}/'\n",
        ca.display(),
        secret.display()
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    session.emit("E1", "");
    let delivery = receiver.deliveries(1).await.remove(0);
    let header = |name: &str| delivery.header(name).expect(name).to_owned();
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature").strip_prefix("v1,").expect("version 1").to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).expect("base64"));
    let signed = [format!("{id}.{seconds}.").as_bytes(), &delivery.body].concat();
    hmac::verify(&key, &signed, &STANDARD.decode(signature).expect("base64")).expect("a valid signature");
    let refused = status(&hub, "untrusting", |status| status.failures > 0).await;
    let error = refused.last_error.expect("an error");
    assert!(error.contains("certificate"), "{error}");
    assert_eq!((refused.delivered, refused.given_up), (0, 0));
    drop(session);
    hub.stop().await.expect("stops");
}

/// Commands that hang, that do not read, that fail for a while, and that do not exist.
#[tokio::test]
async fn failing_commands_are_retried_or_given_up() {
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name).display().to_string();
    let slow = script(home.path(), "slow", "echo waiting; sleep 600 & echo $! >\"$1\"; wait");
    let unread = script(home.path(), "unread", "exec </dev/null; echo \"$QMP_EVENT\" >>\"$1\"");
    let failing = script(home.path(), "failing", "[ -e \"$1\" ] && exit 0; touch \"$1\"; exit 75");
    let text = format!(
        "[[rule]]\nname = 'slow'\nevent = 'E1'\nrun = ['{slow}', '{}']\ntimeout = '2s'\n\
         [[rule]]\nname = 'unread'\nevent = 'E*'\nrun = ['{unread}', '{}']\n\
         [[rule]]\nname = 'failing'\nevent = 'E1'\nrun = ['{failing}', '{}']\n\
         [[rule]]\nname = 'missing'\nevent = 'E1'\nrun = ['{}']\n",
        at("pid"),
        at("events"),
        at("failed"),
        at("later"),
    );
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    session.emit("E1", &format!(r#"{{"text": "{}"}}"#, "x".repeat(1 << 20)));
    session.emit("E2", "");

    let slow = status(&hub, "slow", |status| status.given_up == 1).await;
    let error = slow.last_error.expect("an error");
    assert!(error.ends_with("took longer than 2.0 s, and said: waiting"), "{error}");
    let pid = fs::read_to_string(at("pid")).expect("the pid of its child");
    let child = format!("/proc/{}/stat", pid.trim());
    poll_until("its child has ended", async || {
        let stat = fs::read_to_string(&child).unwrap_or_default();
        // A zombie, if no process reaps orphans.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;

    status(&hub, "unread", |status| status.delivered == 2).await;
    assert_eq!(fs::read_to_string(at("events")).expect("reads"), "E1\nE2\n");
    let failing = status(&hub, "failing", |status| status.delivered == 1).await;
    assert_eq!((failing.failures, failing.given_up), (1, 0), "exit code 75 requests a retry");
    let missing = status(&hub, "missing", |status| status.state == SinkState::Retrying).await;
    assert_eq!((missing.given_up, missing.delivered), (0, 0));
    script(home.path(), "later", "exit 0");
    status(&hub, "missing", |status| status.delivered == 1).await;
    drop(session);
    hub.stop().await.expect("stops");
}

/// Records that were removed from the journal before a rule read them are counted.
#[tokio::test]
async fn removed_records_are_counted_as_missed() {
    let home = tempfile::tempdir().expect("a directory");
    let address = unused_address();
    let text = format!("[[rule]]\nname = 'hook'\nevent = 'E*'\nwebhook = 'http://{address}/'\n");
    let monitor = Monitor::bind(home.path(), "vm1");
    let (hub, session) = start(home.path(), &monitor, &text).await;
    ["E1", "E2", "E3"].iter().for_each(|event| session.emit(event, ""));
    let stuck = status(&hub, "hook", |status| status.state == SinkState::Retrying).await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.4 E3").await;
    hub.stop().await.expect("stops");
    session.left().await;
    // Like retention: attached, HELLO, E1 and E2 are removed.
    let database = rusqlite::Connection::open(home.path().join("journal.db")).expect("opens");
    database.execute("DELETE FROM record WHERE offset < 5", []).expect("deletes");
    database.execute("UPDATE kept SET first = 5", []).expect("updates");
    drop(database);

    let receiver = Receiver::at(&address, &[]).await;
    let (hub, session) = start(home.path(), &monitor, &text).await;
    assert_eq!(events(&receiver.deliveries(1).await), ["E3"]);
    let last = status(&hub, "hook", |status| status.delivered == 1).await;
    assert_eq!(last.missed, 4 - stuck.offset);
    assert!(last.missed >= 2, "{last:?}");
    drop(session);
    hub.stop().await.expect("stops");
}

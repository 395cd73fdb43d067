//! Ten clients at once on one relay of a real QEMU, beside a second monitor of it. Skipped without QEMU,
//! unless `CI` is set.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use qmp_daemon::Daemon;
use qmp_hub::discovery::DiscoveryRule;
use qmp_hub::relay::{RelayConfig, Role};
use qmp_journal::Globs;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How often each client stops and continues the VM.
const ROUNDS: usize = 25;

/// A paused QEMU with two monitors: `vm1.sock` for the hub, `second.sock` for the test.
struct Qemu(Child);

impl Qemu {
    fn start(home: &Path) -> Self {
        let monitor = |name: &str| format!("unix:{},server=on,wait=off", home.join(name).display());
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-S"]);
        command.args(["-qmp", &monitor("vm1.sock"), "-qmp", &monitor("second.sock")]);
        Self(command.stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }

    /// A running QEMU whose guest panics, which ends QEMU, when the human monitor writes to port 0x505.
    fn with_panic_device(home: &Path, socket: &str) -> Self {
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32", "-device", "pvpanic"]);
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", home.join(socket).display())]);
        Self(command.stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A hub with `vm1` and an operators' relay.
async fn hub(home: &Path) -> (Daemon, PathBuf) {
    let path = home.join("relay.qmp");
    let mut relay = RelayConfig::new(&path);
    relay.role = Role::Operate { allow: Globs::default() };
    let mut config = config(home, &["vm1"]);
    config.relays.push(("vm1".parse().expect("a name"), relay));
    let hub = Daemon::start(config).await.expect("starts");
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    (hub, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_clients_share_a_monitor_and_receive_the_stream_of_a_second_one() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let _qemu = Qemu::start(home.path());
    let (hub, path) = hub(home.path()).await;
    let (mut second, greeting) = RawClient::open(&home.path().join("second.sock")).await;
    let (mut reader, relayed_greeting) = RawClient::open(&path).await;
    assert_eq!(relayed_greeting, greeting);
    let (mut never_reads, _) = RawClient::open(&path).await;

    // All clients are connected before the first event.
    let mut pipes = Vec::new();
    for _ in 0..3 {
        pipes.push(RawClient::open(&path).await.0);
    }
    let tasks: JoinSet<_> = pipes.into_iter().map(pipeline).collect();
    let qapi = tokio::spawn(qapi_client(path.clone()));
    let shells = Shells::start(&path, 2);
    for _ in 0..2 {
        let (mut closing, _) = RawClient::open(&path).await;
        closing.send(r#"{"execute": "query-qmp-schema", "id": 1}{"execute": "quit", "id": 2}"#).await;
        drop(closing);
    }
    let seen_by_pipes = tasks.join_all().await;
    qapi.await.expect("no panic");
    tokio::task::spawn_blocking(|| shells.join()).await.expect("no panic");

    // All events of the second monitor, byte for byte, up to a last event.
    reader.send(r#"{"execute": "system_wakeup"}{"execute": "query-name", "id": "last"}"#).await;
    reader
        .send(r#"{"execute": "qom-set", "arguments": {"path": "/nowhere", "property": "x", "value": 1}}"#)
        .await;
    let mut seen = Vec::new();
    let mut replies = 0;
    while replies < 3 {
        let line = reader.line().await;
        if line.starts_with("{\"timestamp\"") { seen.push(line) } else { replies += 1 }
    }
    let mut expected = Vec::new();
    second.send(r#"{"execute": "query-name", "id": "last"}"#).await;
    loop {
        let line = second.line().await;
        if !line.starts_with("{\"timestamp\"") {
            break;
        }
        expected.push(line);
    }
    assert!(expected.len() >= ROUNDS, "{} events", expected.len());
    assert_eq!(seen, expected);
    for seen in seen_by_pipes {
        assert!(seen.len() >= ROUNDS, "{} events", seen.len());
        assert_eq!(seen, expected[..seen.len()], "up to the last reply that a pipelining client waited for");
    }
    // The VM never waited for the client that did not read; that client receives every event as well.
    for event in expected {
        assert_eq!(never_reads.line().await, event);
    }
    let status = &hub.relays()[0];
    assert_eq!((status.closed_slow, status.turned_away), (0, 0), "{status:?}");
    hub.stop().await.expect("stops");
}

/// Sends all requests at once, with ids that other clients also use, and checks the replies. Returns the received events.
async fn pipeline(mut raw: RawClient) -> Vec<String> {
    let round = r#"{"execute": "cont", "id": "a"} {"execute": "query-status", "id": "a"}
        {"execute": "stop", "id": 1} {"execute": "query-version", "id": {"x": [1.5]}} {"execute": "no-such", "id": null}"#;
    raw.send(&round.repeat(ROUNDS)).await;
    let (mut replies, mut events) = (Vec::new(), Vec::new());
    while replies.len() < 5 * ROUNDS {
        let line = raw.line().await;
        let value: Value = serde_json::from_str(&line).expect("JSON");
        if value.get("event").is_none() { replies.push(value) } else { events.push(line) }
    }
    for replies in replies.chunks(5) {
        assert_eq!(replies[0], json!({"return": {}, "id": "a"}));
        assert!(replies[1]["return"]["status"].is_string() && replies[1]["id"] == "a", "{}", replies[1]);
        assert_eq!(replies[2], json!({"return": {}, "id": 1}));
        assert!(replies[3]["return"]["qemu"].is_object() && replies[3]["id"] == json!({"x": [1.5]}));
        assert!(replies[4]["error"]["class"] == "CommandNotFound" && replies[4]["id"].is_null());
    }
    events
}

/// A client of another project, in Rust.
async fn qapi_client(path: PathBuf) {
    let stream = qapi::futures::QmpStreamTokio::open_uds(path).await.expect("greets");
    let stream = stream.negotiate().await.expect("negotiates");
    let (service, handle) = stream.spawn_tokio();
    for _ in 0..ROUNDS {
        service.execute(qapi::qmp::query_status {}).await.expect("a status");
        service.execute(qapi::qmp::stop {}).await.expect("stops");
    }
    handle.abort();
}

/// Clients of another project, in Python: `qemu.qmp`, the library of `qmp-shell`.
struct Shells(Vec<Child>);

impl Shells {
    fn start(path: &Path, count: usize) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = Command::new(root.join("scripts/foreign-clients")).output().ok();
        let python = python.filter(|output| output.status.success());
        assert!(python.is_some() || std::env::var_os("CI").is_none(), "scripts/foreign-clients failed");
        let Some(python) = python else {
            eprintln!("without qemu.qmp: scripts/foreign-clients failed");
            return Self(Vec::new());
        };
        let python = String::from_utf8(python.stdout).expect("a path");
        let client = || {
            let mut command = Command::new(python.trim());
            command.args(["-c", SHELL]).arg(path).arg(ROUNDS.to_string());
            command.stdin(Stdio::null()).spawn().expect("python starts")
        };
        Self((0..count).map(|_| client()).collect())
    }

    fn join(self) {
        for mut shell in self.0 {
            assert!(shell.wait().expect("ends").success(), "a qemu.qmp client failed");
        }
    }
}

const SHELL: &str = r"
import asyncio, sys
from qemu.qmp import QMPClient, EventListener

async def main(path, rounds):
    client = QMPClient('shell')
    await client.connect(path)
    with client.listener() as listener:
        for _ in range(rounds):
            tasks = [client.execute(name) for name in ('query-status', 'stop', 'cont', 'query-kvm', 'stop')]
            replies = await asyncio.gather(*tasks)
            assert 'status' in replies[0] and replies[1] == {} and 'enabled' in replies[3], replies
        await listener.get()
    await client.disconnect()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
";

#[tokio::test]
async fn descriptor_is_passed_with_its_command() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let _qemu = Qemu::start(home.path());
    let (hub, path) = hub(home.path()).await;
    let (mut raw, _) = RawClient::open(&path).await;
    let file = std::fs::File::open("/dev/null").expect("opens");
    let add = |id: u32| {
        format!(
            r#"{{"execute": "add-fd", "arguments": {{"fdset-id": {id}, "opaque": "number {id}"}}, "id": {id}}}"#
        )
    };
    // Two commands in a row, each with its own descriptor.
    for id in [1, 2] {
        send_with(&raw, &add(id), &file);
    }
    for id in [1, 2] {
        let reply = raw.value().await;
        assert_eq!((&reply["return"]["fdset-id"], &reply["id"]), (&json!(id), &json!(id)), "{reply}");
    }
    let without = raw.ask(r#""execute": "getfd", "arguments": {"fdname": "x"}"#).await;
    assert_eq!(without[0]["error"]["class"], "GenericError", "{without:?}");
    let sets = raw.ask(r#""execute": "query-fdsets""#).await;
    let mut opaque: Vec<_> =
        sets[0]["return"].as_array().expect("sets").iter().map(|set| &set["fds"][0]["opaque"]).collect();
    opaque.sort_by_key(|text| text.to_string());
    assert_eq!(opaque, [&Value::from("number 1"), &Value::from("number 2")]);
    hub.stop().await.expect("stops");
}

fn send_with(raw: &RawClient, text: &str, file: &std::fs::File) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(&raw.stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(text.len()));
}

#[tokio::test]
async fn out_of_band_and_invalid_requests_are_answered_like_qemu() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let _qemu = Qemu::start(home.path());
    let (hub, path) = hub(home.path()).await;
    let mut direct = RawClient::connect(&home.path().join("second.sock")).await;
    let mut relayed = RawClient::connect(&path).await;
    //  request, lines of the response
    let cases = [
        ("", 1),
        (r#"{"execute": "query-status"}"#, 1),
        (r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["bogus"]}}"#, 1),
        (r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1e3}"#, 1),
        (r#"{"execute": "qmp_capabilities"}"#, 1),
        (r#"{"exec-oob": "query-yank", "id": "ü"}"#, 1),
        (r#"{"exec-oob": "query-status", "id": 2}"#, 1),
        (r#"{"exec-oob": "stop", "execute": "stop"}"#, 1),
        (r#"{"execute": "query-status", "arguments": {"x": 1}}"#, 1),
        (r#"{"execute": "device_del", "arguments": {"id": "nope"}, "id": [true, null]}"#, 1),
        (r#"{"execute": "query-balloon"}"#, 1),
        (r#"{"execute": ""}"#, 1),
        (r#"{"execute": 1}"#, 1),
        (r#"{"arguments": {}}"#, 1),
        (r#"[1 2]"#, 1),
        (r#"{"execute": "query-version", "bogus": 1}"#, 1),
        (r#"{'execute': 'query-version', 'id': 18446744073709551616}"#, 1),
        (r#"{"execute": "query-name"}{"execute": "query-version"}"#, 2),
        (r#"{"execute": "qom-list", "arguments": {"path": "/"}}"#, 1),
    ];
    for (sent, lines) in cases {
        direct.send(sent).await;
        relayed.send(sent).await;
        for _ in 0..lines {
            assert_eq!(relayed.line().await, direct.line().await, "{sent}");
        }
    }
    hub.stop().await.expect("stops");
}

/// Panics that end QEMU before the reply to the command arrives: with a relay in place of each VM, and discovery
/// that removes the VM at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_that_ends_its_vm_is_answered() {
    const VMS: usize = 12;
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let mut rule = DiscoveryRule::new(format!("{}/v*.sock", home.path().display()).parse().expect("a glob"));
    rule.relays = vec![RelayConfig::new(home.path().join("relay-{name}.qmp"))];
    let mut config = config(home.path(), &[]);
    config.discover = vec![rule];
    let hub = Daemon::start(config).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let qemus: Vec<_> =
        (0..VMS).map(|number| Qemu::with_panic_device(home.path(), &format!("v{number}.sock"))).collect();
    for _ in 0..VMS {
        assert!(matches!(journal.next().await.body, qmp_wire::Body::Attached { .. }));
    }
    let mut commands = JoinSet::new();
    for number in 0..VMS {
        let (home, vm) = (home.path().to_owned(), format!("v{number}"));
        let line = json!({"execute": "human-monitor-command", "arguments": {"command-line": "o /b 0x505 1"}});
        commands.spawn(async move { crate::support::client::execute(&home, &vm, &line.to_string()).await });
    }
    while let Some(response) = commands.join_next().await {
        let (status, answer) = response.expect("no panic");
        let is_reply = status == 200 && answer["return"] == "";
        let is_gone = status == 503 && answer["error"]["class"] == "VmGone";
        assert!(is_reply || is_gone, "{status} {answer}");
    }
    drop(qemus);
    hub.stop().await.expect("stops");
}

//! Relays of a scripted VM: many clients, roles, order, ends.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::relay::{EVENTS_LATE, EVENTS_MISSED, RELAY_OUTBOX_MAX_BYTES, REPLAY, RelayConfig, Role};
use qmp_journal::Globs;
use qmp_testing::{GREETING_LINE, Monitor, Session, event_line};
use qmp_wire::Body;
use serde_json::{Value, json};

/// A hub with one VM, `vm1`, and its relay.
struct Fixture {
    hub: Daemon,
    monitor: Monitor,
    session: Session,
    path: PathBuf,
    journal: Watcher,
    _home: tempfile::TempDir,
}

impl Fixture {
    async fn start(adapt: impl FnOnce(&mut RelayConfig)) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let (config, path) = relay_config(home.path(), adapt);
        let monitor = Monitor::bind(home.path(), "vm1");
        let hub = Daemon::start(config).await.expect("starts");
        let session = monitor.accept().await;
        let mut journal = Watcher::new(&hub);
        journal.until("vm1 1.0 attached").await;
        Self { hub, monitor, session, path, journal, _home: home }
    }

    async fn with_operator() -> Self {
        Self::start(|relay| relay.role = Role::Operate { allow: Globs::default() }).await
    }

    async fn open(&self) -> RawClient {
        RawClient::open(&self.path).await.0
    }
}

/// The next record of a command.
async fn command(journal: &mut Watcher) -> (String, Value) {
    loop {
        if let Body::Finding { finding, summary, data, .. } = journal.next().await.body {
            assert_eq!(finding, "command");
            let data = serde_json::from_str(data.as_deref().expect("data")).expect("JSON");
            return (summary.into_owned(), data);
        }
    }
}

fn relay_config(home: &Path, adapt: impl FnOnce(&mut RelayConfig)) -> (DaemonConfig, PathBuf) {
    let path = home.join("relay.qmp");
    let mut relay = RelayConfig::new(&path);
    adapt(&mut relay);
    let mut config = config(home, &["vm1"]);
    config.relays.push(("vm1".parse().expect("a name"), relay));
    (config, path)
}

#[tokio::test]
async fn relay_greets_negotiates_and_refuses_like_the_vm() {
    let relayed = Fixture::with_operator().await;
    let mut raw = RawClient::connect(&relayed.path).await;
    //  request                                                     response
    let cases = [
        ("", GREETING_LINE.trim_end().to_owned()),
        (
            r#"{"execute": "query-status"}"#,
            r#"{"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}}"#.into(),
        ),
        (r#"{"execute": "qmp_capabilities", "id": 1.0}"#, r#"{"return": {}, "id": 1}"#.into()),
        (
            r#"{"execute": "qmp_capabilities"}"#,
            r#"{"error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}}"#.into(),
        ),
        (
            r#"{"execute": }"#,
            r#"{"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}}"#.into(),
        ),
        (
            r#"{"execute": "query-status", "id": {"b": 1, "a": null}}"#,
            r#"{"return": {"status": "running", "running": true}, "id": {"a": null, "b": 1}}"#.into(),
        ),
        (
            r#"{"execute": "refuse", "id": null}"#,
            r#"{"id": null, "error": {"class": "GenericError", "desc": "not today"}}"#.into(),
        ),
        (r#"{'execute':'stop'}"#, event_line("STOP", "").trim_end().to_owned()),
        ("", r#"{"return": {}}"#.into()),
    ];
    for (sent, expected) in cases {
        raw.send(sent).await;
        assert_eq!(raw.line().await, expected + "\r\n", "{sent}");
    }
    relayed.hub.stop().await.expect("stops");
    raw.ended().await;
}

#[tokio::test]
async fn reply_reaches_its_client_and_event_every_client() {
    const CLIENTS: usize = 10;
    const ROUNDS: usize = 20;
    let relayed = Fixture::with_operator().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(relayed.open().await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            // The ids collide on purpose, and all commands are sent at once.
            let request = |round: usize| {
                format!(r#"{{"execute": "burst", "arguments": {{"count": {}}}, "id": {round}}}"#, number + 1)
            };
            let all: String = (0..ROUNDS).map(request).collect();
            client.send(&all).await;
            let (mut events, mut replies) = (Vec::new(), Vec::new());
            let emitted: usize = (1..=CLIENTS).sum::<usize>() * ROUNDS;
            while events.len() < emitted || replies.len() < ROUNDS {
                let line = client.line().await;
                let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
                if value.get("event").is_some() {
                    events.push(line);
                    continue;
                }
                // The burst of this command ends right before its reply: events come before replies.
                let burst: Vec<_> = events[events.len() - number - 1..].to_vec();
                let expected: Vec<_> =
                    (0..=number).map(|n| event_line("RTC_CHANGE", &format!("{{\"offset\": {n}}}"))).collect();
                assert_eq!(burst, expected, "client {number}: {value}");
                replies.push(value);
            }
            let expected: Vec<_> = (0..ROUNDS).map(|round| json!({"return": {}, "id": round})).collect();
            assert_eq!(replies, expected, "client {number}");
            (events, client)
        });
    }
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (events, client) = done.expect("no panic");
        streams.push(events);
        clients.push(client);
    }
    assert!(streams.iter().all(|stream| *stream == streams[0]), "the same order for all clients");
    assert_eq!(relayed.hub.relays()[0].clients, CLIENTS as u64);
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn observer_may_only_query() {
    let mut relayed = Fixture::start(|_| {}).await;
    let mut raw = relayed.open().await;
    assert_eq!(raw.ask(r#""execute": "query-status""#).await[0]["return"]["running"], true);
    let refused = raw.ask(r#""execute": "stop""#).await;
    assert_eq!(refused[0]["error"]["class"], "GenericError");
    let desc = refused[0]["error"]["desc"].as_str().expect("a text");
    assert!(desc.contains("stop") && desc.contains("observers") && desc.contains("operate"), "{desc}");
    relayed.session.emit("STOP", "");
    assert_eq!(raw.line().await, event_line("STOP", ""));
    let status = &relayed.hub.relays()[0];
    assert_eq!((status.commands, status.refused, status.accepted), (1, 1, 1));
    // No command reached the VM, and only the event is recorded.
    assert_eq!(relayed.journal.take(1).await, ["vm1 1.1 STOP"]);
    relayed.hub.stop().await.expect("stops");
    assert!(relayed.session.commands_so_far().is_empty());
}

#[tokio::test]
async fn client_is_accepted_by_mode_uids_and_gids() {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    //  uids             gids             accepted
    let cases: [(&[u32], &[u32], bool); 5] = [
        (&[], &[], true),
        (&[uid], &[], true),
        (&[uid + 1], &[gid], true),
        (&[uid + 1], &[], false),
        (&[], &[gid + 1], false),
    ];
    for (uids, gids, is_accepted) in cases {
        let relayed = Fixture::start(|relay| {
            (relay.uids, relay.gids, relay.access.mode) = (uids.to_vec(), gids.to_vec(), 0o640);
        })
        .await;
        let mode = std::fs::metadata(&relayed.path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let mut raw = RawClient::connect(&relayed.path).await;
        let line = raw.line().await;
        assert!(
            if is_accepted { line == GREETING_LINE } else { line.contains("neither its user") },
            "{uids:?}: {line}"
        );
        assert_eq!(relayed.hub.relays()[0].turned_away, u64::from(!is_accepted));
        relayed.hub.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn pretty_relay_indents_its_messages() {
    let relayed = Fixture::start(|relay| relay.pretty = true).await;
    let mut raw = RawClient::connect(&relayed.path).await;
    assert_eq!(raw.line().await, "{\r\n");
    while raw.line().await != "}\r\n" {}
    raw.send(r#"{"execute": "qmp_capabilities"} {"execute": "query-status"}"#).await;
    let mut replies = String::new();
    while replies.matches("\r\n}\r\n").count() < 2 {
        replies += &raw.line().await;
    }
    relayed.session.emit("A", "{\"b\": [1]}");
    let mut event = String::new();
    while !event.ends_with("\r\n}\r\n") {
        event += &raw.line().await;
    }
    assert_eq!((replies + &event).replace("\r\n", "").matches('\n').count(), 0, "every line ends in CR LF");
    let data = "    \"data\": {\r\n        \"b\": [\r\n            1\r\n        ]\r\n    }\r\n}\r\n";
    assert!(event.ends_with(data), "{event}");
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn client_that_never_reads_is_closed_and_delays_no_other_client() {
    let relayed = Fixture::start(|_| {}).await;
    let mut reader = relayed.open().await;
    let idle = relayed.open().await;
    let data = format!("{{\"text\": \"{}\"}}", "x".repeat(1 << 16));
    // Twice the limit, because the sockets' buffers come on top of it.
    let count = 2 * RELAY_OUTBOX_MAX_BYTES / data.len();
    for _ in 0..count {
        relayed.session.emit("A", &data);
        assert_eq!(reader.line().await.len(), event_line("A", &data).len());
    }
    let mut head = relayed.hub.journal().watch_head();
    while relayed.hub.relays()[0].closed_slow == 0 {
        relayed.session.emit("B", "");
        head.changed().await.expect("an open journal");
        reader.line().await;
    }
    assert_eq!(relayed.hub.relays()[0].clients, 1);
    drop(idle);
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn clients_are_closed_when_the_vm_detaches_and_new_ones_wait() {
    let mut relayed = Fixture::start(|_| {}).await;
    let mut raw = relayed.open().await;
    relayed.session.emit("SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
    relayed.session.close().await;
    assert_eq!(raw.value().await["event"], "SHUTDOWN");
    raw.ended().await;
    let mut early = RawClient::connect(&relayed.path).await;
    early.send(r#"{"execute": "qmp_capabilities"}"#).await;
    assert_eq!(
        early.stream.try_read(&mut [0; 1]).map_err(|error| error.kind()),
        Err(std::io::ErrorKind::WouldBlock)
    );
    relayed.session = relayed.monitor.accept().await;
    assert_eq!(early.line().await, GREETING_LINE);
    assert_eq!(early.line().await, "{\"return\": {}}\r\n");
    relayed.session.emit("RESUME", "");
    assert_eq!(early.line().await, event_line("RESUME", ""));
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn commands_of_a_closed_client_are_dropped() {
    let mut relayed = Fixture::with_operator().await;
    let mut closing = relayed.open().await;
    closing.send(r#"{"execute": "silence"}{"execute": "stop"}{"execute": "cont"}"#).await;
    assert_eq!(relayed.session.command().await, "silence");
    drop(closing);
    let mut other = relayed.open().await;
    while relayed.hub.relays()[0].clients > 1 {
        other.ask(r#""execute": "query-status""#).await;
    }
    // The reply to the command of the closed client is discarded.
    other.send(r#"{"execute": "after", "id": 7}"#).await;
    assert_eq!(relayed.session.command().await, "after");
    assert_eq!(other.line().await, "{\"return\": {}, \"id\": 7}\r\n");
    relayed.hub.stop().await.expect("stops");
    assert!(relayed.session.commands_so_far().is_empty(), "neither stop nor cont reached the VM");
}

#[tokio::test]
async fn client_that_shuts_down_its_sending_side_gets_its_replies() {
    let relayed = Fixture::with_operator().await;
    let mut raw = relayed.open().await;
    raw.send(r#"{"execute": "stop", "id": 1}{"execute": "cont", "id": 2}"#).await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.expect("shuts down");
    assert_eq!(raw.value().await["event"], "STOP");
    assert_eq!(raw.value().await["id"], 1);
    assert_eq!(raw.value().await["event"], "RESUME");
    assert_eq!(raw.value().await["id"], 2);
    raw.ended().await;
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn slow_command_delays_neither_events_nor_other_clients() {
    let mut relayed = Fixture::with_operator().await;
    let (mut slow, mut other) = (relayed.open().await, relayed.open().await);
    slow.send(r#"{"execute": "silence"}"#).await;
    assert_eq!(relayed.session.command().await, "silence");
    relayed.session.emit("A", "");
    assert_eq!(slow.line().await, event_line("A", ""));
    assert_eq!(other.line().await, event_line("A", ""));
    assert_eq!(other.ask(r#""execute": "query-status""#).await.len(), 1);
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn command_that_changes_the_vm_is_recorded_without_secrets() {
    let mut relayed = Fixture::with_operator().await;
    let mut raw = relayed.open().await;
    raw.ask(r#""execute": "query-status""#).await;
    raw.ask(r#""execute": "set_password", "arguments": {"protocol": "vnc", "password": "geheim"}"#).await;
    raw.ask(r#""execute": "refuse""#).await;
    let (summary, data) = command(&mut relayed.journal).await;
    let comm = std::fs::read_to_string("/proc/self/comm").expect("a name");
    let client = format!(
        "uid {} pid {} ({}) at {}",
        rustix::process::getuid().as_raw(),
        std::process::id(),
        comm.trim_end(),
        relayed.path.display()
    );
    assert_eq!(summary, format!("set_password by {client}: done"));
    assert_eq!(data["arguments"], json!({"protocol": "vnc", "password": "***"}));
    assert_eq!(
        (&data["execute"], &data["client"], &data["result"]),
        (&json!("set_password"), &json!(client), &json!("done"))
    );
    assert_eq!((&data["pid"], &data["socket"]), (&json!(std::process::id()), &json!(relayed.path)));
    let (summary, data) = command(&mut relayed.journal).await;
    assert_eq!(summary, format!("refuse by {client}: failed (GenericError: not today)"));
    assert_eq!(data["error"], json!({"class": "GenericError", "desc": "not today"}));
    // A command without a reply, of a closed client, is recorded when the VM detaches.
    raw.send(r#"{"execute": "silence"}"#).await;
    assert_eq!(
        [relayed.session.command().await, relayed.session.command().await, relayed.session.command().await],
        ["set_password", "refuse", "silence"]
    );
    drop(raw);
    relayed.session.close().await;
    let (_, data) = command(&mut relayed.journal).await;
    assert_eq!((&data["execute"], &data["result"]), (&json!("silence"), &json!("unknown")));
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn out_of_band_command_overtakes_queued_ones() {
    let mut relayed = Fixture::with_operator().await;
    let mut raw = RawClient::connect(&relayed.path).await;
    raw.line().await;
    raw.send(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#).await;
    raw.line().await;
    raw.send(r#"{"execute": "silence"}{"execute": "stop"}{"exec-oob": "query-yank", "id": "now"}"#).await;
    assert_eq!(relayed.session.command().await, "silence");
    assert_eq!(raw.line().await, "{\"return\": {}, \"id\": \"now\"}\r\n");
    // Without negotiation, `exec-oob` is not a member of a request.
    let refused = relayed.open().await.ask(r#""exec-oob": "query-yank""#).await;
    assert_eq!(refused[0]["error"]["desc"], "QMP input member 'exec-oob' is unexpected");
    relayed.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn replay_repeats_missed_events_byte_for_byte() {
    let relayed = Fixture::start(|_| {}).await;
    let mut live = relayed.open().await;
    let all: Vec<_> = (0..700).map(|n| event_line("A", &format!("{{\"n\":{n} }}"))).collect();
    relayed.session.send(all.concat());
    for event in &all {
        assert_eq!(live.line().await, *event);
    }
    //  after   events repeated
    let cases = [(0, 0..700), (1, 0..700), (2, 1..700), (601, 600..700), (701, 0..0)];
    for (after, repeated) in cases {
        let mut late = relayed.open().await;
        late.send(&format!(r#"{{"execute": "x-replay", "arguments": {{"after": {after}}}, "id": 1}}"#)).await;
        let begin = late.value().await;
        assert_eq!(begin["event"], REPLAY);
        assert_eq!(begin["data"], json!({"state": "begin", "after": after}));
        for event in &all[repeated.clone()] {
            assert_eq!(late.line().await, *event, "after {after}");
        }
        let (upto, events) = (after.max(701), repeated.len());
        assert_eq!(late.value().await["data"], json!({"state": "end", "upto": upto, "events": events}));
        assert_eq!(late.value().await, json!({"return": {"upto": upto, "events": events}, "id": 1}));
    }
    let refused = [
        ("{}", "Parameter 'after' is missing"),
        (r#"{"after": "1"}"#, "Invalid parameter type for 'after', expected: integer"),
        (r#"{"after": -1}"#, "Parameter 'after' expects an offset of the journal"),
        (r#"{"after": 1, "x": 2}"#, "Parameter 'x' is unexpected"),
        (
            r#"{"after": 9223372036854775807}"#,
            "Parameter 'after' is 9223372036854775807, and this journal ends at HEAD: that is an offset of another one; \
             give one of this journal, or 0 for all of it",
        ),
    ];
    for (arguments, desc) in refused {
        let head = relayed.hub.journal().head().0.to_string();
        assert_eq!(refusal(&mut live, arguments).await, desc.replace("HEAD", &head));
    }
    relayed.session.emit("B", "");
    assert_eq!(live.line().await, event_line("B", ""), "live again");
    relayed.hub.stop().await.expect("stops");
}

async fn refusal(raw: &mut RawClient, arguments: &str) -> String {
    let reply = raw.ask(&format!(r#""execute": "x-replay", "arguments": {arguments}"#)).await;
    reply[0]["error"]["desc"].as_str().expect("an error").to_owned()
}

#[tokio::test]
async fn clients_stay_connected_over_an_overrun_and_get_an_event() {
    let home = tempfile::tempdir().expect("a directory");
    let (mut config, path) = relay_config(home.path(), |_| {});
    config.journal_options.queue_max_bytes = 32 << 10;
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let mut raw = RawClient::open(&path).await.0;

    // A stalled disk, until the journal has no room.
    let stalled = rusqlite::Connection::open(home.path().join("journal.db")).expect("opens");
    stalled.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
    let burst = r#"{"execute": "query-burst", "arguments": {"count": 5000}}"#;
    let (_, answer) = crate::support::client::execute(home.path(), "vm1", burst).await;
    assert_eq!(answer["overrun"], true);
    stalled.execute_batch("ROLLBACK").expect("ends");

    let mut before = 0;
    let missed = loop {
        let value = raw.value().await;
        if value["event"] != "RTC_CHANGE" {
            break value;
        }
        before += 1;
    };
    assert!(before < 5000, "events were lost");
    assert_eq!(missed["event"], EVENTS_MISSED);
    // Offsets: attached is 1, the events follow, then the end of the epoch and the next one.
    assert_eq!(missed["data"], json!({"after": before + 1, "upto": before + 3}));
    session.emit("STOP", "");
    assert_eq!(raw.line().await, event_line("STOP", ""));
    hub.stop().await.expect("stops");
}

#[test]
fn vendor_events_have_the_projects_name() {
    for name in [EVENTS_LATE, EVENTS_MISSED, REPLAY] {
        assert!(name.starts_with("__io.github.qmp-events_"), "{name}");
    }
}

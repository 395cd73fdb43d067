//! The table of clients in the README of the project. Each cell is what a client was seen to do here, and each test fails
//! if the README says something else.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fake::{RESUME, STOP};
use futures_util::StreamExt as _;
use qapi::futures::{QapiEvents, QapiService, QmpStreamTokio};
use qapi::qmp;
use qmp_client::qmp_events::Event;
use qmp_client::{EventItem, Events, ExecuteError, FollowConfig, FollowItem, connect, follow_stream};
use qmp_testing::{GREETING, MonitorSocket, Peer};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::time::timeout;

const README: &str = include_str!("../../../README.md");

const OF_TOMORROW: &str =
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "OF_TOMORROW", "data": {"a": 1}}"#;

/// As QEMU 7.2 sends it: `qom-path` was added in 8.0.
const RTC_CHANGE: &str =
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RTC_CHANGE", "data": {"offset": 5}}"#;

/// Most events that this crate keeps for a program that does not read them.
const QUEUE_MAX_EVENTS: usize = 100_000;

/// Longer than any timeout of a client.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The rows of the table.
const CONDITIONS: [Condition; 7] = [
    Condition::UnknownEvent,
    Condition::OlderEvent,
    Condition::BeforeGreeting,
    Condition::WhileNegotiating,
    Condition::Restart,
    Condition::NoReply,
    Condition::Unread,
];

#[derive(Clone, Copy, Debug)]
enum Condition {
    UnknownEvent,
    OlderEvent,
    BeforeGreeting,
    WhileNegotiating,
    Restart,
    NoReply,
    Unread,
}

impl Condition {
    /// The first cell of the row.
    fn title(self) -> &'static str {
        match self {
            Self::UnknownEvent => "an event that the client does not know",
            Self::OlderEvent => "`RTC_CHANGE` of QEMU 7.2, without `qom-path`",
            Self::BeforeGreeting => "an event before the greeting",
            Self::WhileNegotiating => "an event before the reply to `qmp_capabilities`",
            Self::Restart => "the VM restarts",
            Self::NoReply => "the VM does not reply to a command",
            Self::Unread => "a program that executes commands and reads no events, in a storm",
        }
    }

    /// Plays the monitor, in a storm with so many events. Never returns: the client ends the scene.
    async fn serve(self, fake: &MonitorSocket, storm: usize) {
        let mut peer = fake.accept().await;
        if matches!(self, Self::BeforeGreeting) {
            send(&mut peer, STOP).await;
        }
        send(&mut peer, GREETING).await;
        reply(&mut peer, if matches!(self, Self::WhileNegotiating) { STOP } else { "" }).await;
        match self {
            Self::UnknownEvent => send(&mut peer, &[OF_TOMORROW, STOP].join("\r\n")).await,
            Self::OlderEvent => send(&mut peer, &[RTC_CHANGE, STOP].join("\r\n")).await,
            Self::BeforeGreeting | Self::WhileNegotiating => send(&mut peer, RESUME).await,
            Self::Restart => {
                reply(&mut peer, "").await;
                drop(peer);
            }
            Self::NoReply => {
                peer.hear_or_end().await;
                send(&mut peer, STOP).await;
            }
            Self::Unread => reply(&mut peer, &vec![STOP; storm].join("\r\n")).await,
        }
        std::future::pending().await
    }
}

/// Sends a line to a client that may have closed the connection.
async fn send(peer: &mut Peer, text: &str) {
    let _ = peer.stream.write_all(format!("{text}\r\n").as_bytes()).await;
}

/// Receives a command, and sends `events` and an empty reply.
async fn reply(peer: &mut Peer, events: &str) {
    let Some(command) = peer.hear_or_end().await else { return };
    let id = command.get("id").map(|id| format!(", \"id\": {id}")).unwrap_or_default();
    if !events.is_empty() {
        send(peer, events).await;
    }
    send(peer, &format!("{{\"return\": {{}}{id}}}")).await;
}

/// Compares a column of the README's table with what the client did; an absent cell was not observed.
fn assert_column(client: &str, seen: [Option<String>; CONDITIONS.len()]) {
    let rows: Vec<Vec<&str>> = README
        .lines()
        .skip_while(|line| *line != "<!-- clients -->")
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .take(CONDITIONS.len() + 1)
        .map(|line| line.split(" | ").collect())
        .collect();
    let column = rows[0].iter().position(|title| *title == client).expect("the client has a column");
    let stated: Vec<_> = rows[1..].iter().map(|row| (row[0], row[column])).collect();
    let seen = CONDITIONS
        .iter()
        .zip(&seen)
        .zip(&stated)
        .map(|((condition, seen), stated)| (condition.title(), seen.as_deref().unwrap_or(stated.1)));
    assert_eq!(stated, seen.collect::<Vec<_>>(), "{client}");
}

#[tokio::test(start_paused = true)]
async fn readme_says_what_this_crate_does() {
    let mut seen = [const { None }; CONDITIONS.len()];
    for (condition, seen) in CONDITIONS.into_iter().zip(&mut seen) {
        let fake = MonitorSocket::listen();
        let cell = tokio::select! {
            biased;
            cell = run_ours(condition, &fake) => cell,
            () = condition.serve(&fake, QUEUE_MAX_EVENTS + 1000), if !matches!(condition, Condition::Restart) => {
                unreachable!()
            }
        };
        *seen = Some(cell.to_owned());
    }
    assert_column("`qmp-client`", seen);
}

async fn run_ours(condition: Condition, fake: &MonitorSocket) -> &'static str {
    if matches!(condition, Condition::Restart) {
        return follow_ours(fake).await;
    }
    let (monitor, mut events) = connect(&fake.address()).await.unwrap();
    match condition {
        Condition::UnknownEvent => {
            let Event::Unknown { name, data } = next_ours(&mut events).await else { panic!("a known event") };
            assert_eq!((&*name, data.is_some()), ("OF_TOMORROW", true));
            assert!(matches!(next_ours(&mut events).await, Event::Stop(_)));
            "delivered: `Event::Unknown` with name and data"
        }
        Condition::OlderEvent => {
            let Event::RtcChange(change) = next_ours(&mut events).await else { panic!("another event") };
            assert_eq!((change.offset, change.qom_path), (5, None));
            "delivered: `qom_path` is `None`"
        }
        Condition::BeforeGreeting | Condition::WhileNegotiating => {
            assert!(matches!(next_ours(&mut events).await, Event::Stop(_)));
            assert!(matches!(next_ours(&mut events).await, Event::Resume(_)));
            "delivered first"
        }
        Condition::Restart => unreachable!("followed above"),
        Condition::NoReply => {
            let commander = monitor.commander().clone();
            let waiting = commander.execute("query-status", ());
            assert!(timeout(DAY, waiting).await.is_err(), "by default it waits");
            let limited = commander.with_timeout(DAY).execute("query-status", ()).await;
            assert!(matches!(limited, Err(ExecuteError::TimedOut { .. })), "{limited:?}");
            "waits; `with_timeout` limits it"
        }
        Condition::Unread => {
            monitor.execute("query-status", ()).await.unwrap();
            assert!(matches!(events.try_next(), Some(EventItem::Lagged { missed: 1000 })));
            "the newest 100,000 are kept; `Lagged` counts the others"
        }
    }
}

async fn next_ours(events: &mut Events) -> Event {
    let Some(EventItem::Event(event)) = events.next().await else { panic!("the connection ended") };
    Event::try_from(event).unwrap()
}

async fn follow_ours(fake: &MonitorSocket) -> &'static str {
    let (_commander, mut items) = follow_stream(fake.address(), FollowConfig::default());
    let mut peer = attach(fake).await;
    assert!(matches!(items.next().await, Some(FollowItem::Attached { .. })));
    drop(peer);
    assert!(matches!(items.next().await, Some(FollowItem::Detached { retry_in: Some(_), .. })));
    peer = attach(fake).await;
    assert!(matches!(items.next().await, Some(FollowItem::Attached { .. })));
    drop(peer);
    "`follow_stream` attaches again, and marks the gap"
}

async fn attach(fake: &MonitorSocket) -> Peer {
    let mut peer = fake.accept().await;
    peer.negotiate().await;
    peer.reply_with_state().await;
    peer
}

type QapiParts =
    (QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>, QapiEvents<QmpStreamTokio<ReadHalf<UnixStream>>>);

#[tokio::test(start_paused = true)]
async fn readme_says_what_qapi_does() {
    let mut seen = [const { None }; CONDITIONS.len()];
    for (condition, seen) in CONDITIONS.into_iter().zip(&mut seen) {
        let fake = MonitorSocket::listen();
        *seen = tokio::select! {
            biased;
            cell = run_qapi(condition, &fake) => Some(cell.to_owned()),
            () = condition.serve(&fake, QUEUE_MAX_EVENTS) => unreachable!(),
        };
    }
    assert_column("`qapi` 0.15", seen);
}

async fn run_qapi(condition: Condition, fake: &MonitorSocket) -> &'static str {
    let Ok(stream) = QmpStreamTokio::open_uds(fake.path()).await else { return "connecting fails" };
    let (service, events): QapiParts = stream.negotiate().await.unwrap().into_parts();
    let mut events = std::pin::pin!(events);
    match condition {
        Condition::UnknownEvent | Condition::OlderEvent => {
            assert!(events.next().await.unwrap().is_err());
            assert!(events.next().await.is_none(), "STOP is not delivered");
            "an error, and the stream ends"
        }
        Condition::BeforeGreeting => unreachable!("it connected"),
        Condition::WhileNegotiating => {
            assert!(matches!(events.next().await, Some(Ok(qmp::Event::RESUME { .. }))), "STOP was dropped");
            "dropped"
        }
        Condition::Restart => {
            let (_, end) = tokio::join!(service.execute(qmp::query_status {}), events.next());
            assert!(end.is_none());
            "the stream ends; the program connects again"
        }
        Condition::NoReply => {
            let reading = tokio::join!(timeout(DAY, service.execute(qmp::query_status {})), events.next()).0;
            assert!(reading.is_err());
            "waits, unless the program sets a timeout"
        }
        Condition::Unread => {
            assert!(timeout(DAY, service.execute(qmp::query_status {})).await.is_err());
            "the command waits for ever: only reading the events reads the socket"
        }
    }
}

#[test]
fn readme_says_what_qapi_qmp_does() {
    let seen = CONDITIONS.map(|condition| {
        let event = match condition {
            Condition::UnknownEvent => OF_TOMORROW,
            Condition::OlderEvent => RTC_CHANGE,
            _ => return Some("–".to_owned()),
        };
        assert!(serde_json::from_str::<qmp::QmpMessageAny>(event).is_err());
        Some("does not parse".to_owned())
    });
    assert!(serde_json::from_str::<qmp::QmpMessageAny>(STOP).is_ok());
    assert_column("`qapi-qmp` 0.15", seen);
}

#[tokio::test]
async fn readme_says_what_qemu_qmp_does() {
    let Some(python) = python() else { return };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/comparison/qemu_qmp.py");
    let mut seen = [const { None }; CONDITIONS.len()];
    for (condition, seen) in CONDITIONS.into_iter().zip(&mut seen) {
        let fake = MonitorSocket::listen();
        let mut client = Command::new(&python);
        client.arg(&script).arg(fake.path()).arg(format!("{condition:?}"));
        let output = tokio::select! {
            output = tokio::task::spawn_blocking(move || client.output()) => output.unwrap().unwrap(),
            () = condition.serve(&fake, 20_000) => unreachable!(),
        };
        assert!(output.status.success(), "{condition:?}: {}", String::from_utf8_lossy(&output.stderr));
        *seen = Some(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    assert_column("`qemu.qmp` 0.0.6", seen);
}

/// Returns the Python with qemu.qmp; prints a note and returns `None` where it cannot be installed and the test may be
/// skipped.
fn python() -> Option<PathBuf> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-clients");
    let output = Command::new(&script).output();
    if let Ok(output) = &output
        && output.status.success()
    {
        return Some(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    assert!(std::env::var_os("CI").is_none(), "{} failed: {output:?}", script.display());
    eprintln!("skipped: {} failed", script.display());
    None
}

//! The hub's core on a paused clock, with a monitor in memory: time passes only where the test advances it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Dial, DialFuture};
use qmp_host::clock::{Clock, SteadyClock};
use qmp_hub::{Environment, Hub, HubConfig, SilentAfter};
use qmp_journal::{Cursor, Journal, JournalOptions, Query};
use qmp_testing::{Peer, command_name};
use qmp_wire::{Address, Body, Offset, Record, UnixMicros};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// When the test begins: 2026-01-01T00:00:00Z.
const START: UnixMicros = UnixMicros(1_767_225_600_000_000);

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 9}, "package": ""}, "capabilities": []}}"#;

/// How much fits into a connection on its way, in bytes.
const IN_FLIGHT_BYTES: usize = 64 << 10;

#[tokio::test(start_paused = true)]
async fn monitor_in_memory_attaches_falls_silent_detaches_and_reconnects() {
    let _paused = PausedClock::hold();
    let home = tempfile::tempdir().expect("a directory");
    let journal = Journal::open(&home.path().join("journal.db"), JournalOptions::default()).expect("opens");
    let (network, mut connections) = MemoryNetwork::new();
    let environment =
        Environment { clock: Clock::Steady(SteadyClock::starting_at(START)), dial: Some(Arc::new(network)) };
    let config = HubConfig {
        attach: vec![("vm1".parse().expect("a name"), "unix:/memory/vm1".parse().expect("an address"))],
        origins: HashMap::new(),
        findings: true,
        relays: Vec::new(),
        silent_after: SilentAfter::Span(Duration::from_secs(30)),
        silent_after_of: HashMap::new(),
        state_rules: Vec::new(),
        open_alerts: Vec::new(),
        silences_changed: Arc::default(),
    };
    let mut hub = Hub::start_in(environment, config, &journal).await.expect("starts");
    let mut records = Records { cursor: journal.reader().cursor(Query::default(), Offset(0)) };

    let mut monitor = accept(&mut connections).await;
    attach(&mut monitor).await;
    assert_eq!(records.next().await, "0 attached");

    advance(10).await;
    monitor.say(r#"{"timestamp": {"seconds": 1767225610, "microseconds": 0}, "event": "BALLOON_CHANGE", "data": {"actual": 1073741824}}"#).await;
    assert_eq!(records.next().await, "10 BALLOON_CHANGE");

    // Quiet for 30 s: the hub probes.
    advance(30).await;
    let probe = monitor.hear().await;
    assert_eq!(probe["execute"], "query-status");

    // No reply for another 30 s: the monitor is silent.
    advance(29).await;
    assert_eq!(hub.registry().vms().get("vm1").expect("known").silence.since(), None);
    advance(1).await;
    assert_eq!(records.next().await, "70 silent");
    advance(5).await;
    reply(&mut monitor, &probe).await;
    assert_eq!(records.next().await, "75 answers-again");

    advance(5).await;
    drop(monitor);
    assert_eq!(records.next().await, "80 detached: peer closed, certain until 80");

    let mut monitor = accept(&mut connections).await;
    attach(&mut monitor).await;
    // The correlators conclude that the first QEMU ended, in a thread of its own: before or after this epoch opens.
    let mut both = [records.next().await, records.next().await];
    both.sort_unstable();
    assert_eq!(both, ["80 attached", "80 why-ended"]);
    advance(5).await;
    drop(monitor);
    assert_eq!(records.next().await, "85 detached: peer closed, certain until 85");
    assert_eq!(records.next().await, "85 why-ended");

    // No epoch is open, so that the hub stops without any timer.
    hub.stop().await;
    assert_eq!(records.cursor.next_batch(1).expect("readable"), []);
}

/// Advances the paused clock.
async fn advance(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Keeps the paused clock where it is. Without this the runtime would advance it to the next timer whenever every task
/// waits, also for the disk of the journal, whose thread the runtime does not know. It does not while blocking work is under
/// way.
struct PausedClock {
    _end: std::sync::mpsc::Sender<()>,
}

impl PausedClock {
    fn hold() -> Self {
        let (_end, ended) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        Self { _end }
    }
}

/// Connects the hub to monitors in memory: the test gets the other end of each connection.
#[derive(Debug)]
struct MemoryNetwork {
    connections: mpsc::UnboundedSender<DuplexStream>,
}

impl MemoryNetwork {
    fn new() -> (Self, mpsc::UnboundedReceiver<DuplexStream>) {
        let (connections, accepted) = mpsc::unbounded_channel();
        (Self { connections }, accepted)
    }
}

impl Dial for MemoryNetwork {
    fn dial<'a>(&'a self, _address: &'a Address) -> DialFuture<'a> {
        Box::pin(async {
            let (hub, monitor) = tokio::io::duplex(IN_FLIGHT_BYTES);
            // After the test nothing accepts, and the hub finds its connection closed.
            let _ = self.connections.send(monitor);
            let hub: Pin<Box<dyn qmp_client::ByteStream>> = Box::pin(hub);
            Ok(hub)
        })
    }
}

/// Waits for the hub's next connection.
async fn accept(connections: &mut mpsc::UnboundedReceiver<DuplexStream>) -> Peer<DuplexStream> {
    Peer::new(connections.recv().await.expect("the hub connects"))
}

/// Greets, negotiates, and replies to the six queries of a snapshot.
async fn attach(monitor: &mut Peer<DuplexStream>) {
    monitor.say(GREETING).await;
    for _ in 0..7 {
        let request = monitor.hear().await;
        reply(monitor, &request).await;
    }
}

async fn reply(monitor: &mut Peer<DuplexStream>, request: &serde_json::Value) {
    let value = match command_name(request) {
        "query-status" => r#"{"status": "running", "singlestep": false, "running": true}"#,
        "query-jobs" => "[]",
        _ => "{}",
    };
    monitor.returns(request, value).await;
}

/// The records of the journal, as `SECONDS WHAT`.
struct Records {
    cursor: Cursor,
}

impl Records {
    /// Waits for the next record.
    async fn next(&mut self) -> String {
        loop {
            match self.cursor.next_batch(1).expect("readable").first() {
                Some(record) => return shown(record),
                None => self.cursor.wait().await.expect("the journal lives"),
            }
        }
    }
}

fn shown(record: &Record<'_>) -> String {
    let seconds = |at: UnixMicros| (at.0 - START.0) as f64 / 1e6;
    let what = match &record.body {
        Body::Attached { .. } => "attached".to_owned(),
        Body::Event { name, .. } => name.to_string(),
        Body::Finding { finding, .. } => finding.to_string(),
        Body::Detached { reason, certain_until, .. } => {
            let until = certain_until.map_or(f64::NAN, seconds);
            format!("detached: {}, certain until {until}", reason.as_str())
        }
    };
    format!("{} {what}", seconds(record.received))
}

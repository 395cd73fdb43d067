//! Machines on a paused clock of tokio: their time passes without a wait, and no timeout elapses early.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_client::{
    Address, ByteStream, ConnectConfig, ConnectError, Dial, DialFuture, EventItem, Events, ExecuteError,
    FollowConfig, FollowItem, MonitorClient,
};
use qmp_machine::{
    Action, ClockHold, Machine, MachineClock, MachineConfig, MemoryMachine, MemoryStream,
    fault::{Fault, FaultKind, Faults, Messages},
};
use serde_json::{Value, json};

/// The time of a machine's start, in microseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000_000;

/// Returns a client's next event: its name, its time since the start of the machine in microseconds, and its data.
async fn next_event(events: &mut Events) -> (String, u64, Value) {
    let Some(EventItem::Event(event)) = events.next().await else { panic!("no event") };
    let at = event.timestamp.unwrap();
    let micros = u64::try_from(at.seconds()).unwrap() * 1_000_000 + u64::from(at.microseconds());
    let data = event.data.as_ref().map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
    (event.name.to_string(), micros - START, data)
}

fn start() -> MemoryMachine {
    Machine::start_in_memory(MachineConfig::default()).unwrap()
}

/// Attaches a client to a machine in memory.
async fn attach(stream: MemoryStream) -> (MonitorClient, Events) {
    let address = "unix:/in/memory".parse().unwrap();
    qmp_client::connect_stream(stream, &address, &ConnectConfig::default()).await.unwrap()
}

/// Asserts that no more real time than that of some computation has passed.
fn assert_took_no_time(since: Instant) {
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn migration_of_ten_minutes_passes_in_no_time() {
    let begin = Instant::now();
    let machine = start();
    let (monitor, mut events) = attach(machine.connect().unwrap()).await;
    // 600 s at QEMU's default of 128 MiB a second.
    let load = Action::new("x-guest-use-memory").with("used-bytes", 600_u64 * (128 << 20));
    machine.machine().perform(&load).unwrap();
    let capabilities = json!({"capabilities": [{"capability": "events", "state": true}]});
    monitor.execute("migrate-set-capabilities", capabilities).await.unwrap();
    monitor.execute("migrate", json!({"uri": "tcp:127.0.0.1:4444"})).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let (name, at, data) = next_event(&mut events).await;
        let status = data["status"].as_str().unwrap_or_default().to_owned();
        let is_end = status == "completed";
        seen.push((name, at / 1_000_000, status));
        if is_end {
            break;
        }
    }
    let seen: Vec<_> = seen.iter().map(|(name, at, status)| (&**name, *at, &**status)).collect();
    assert_eq!(
        seen,
        [
            ("MIGRATION", 0, "setup"),
            ("MIGRATION", 0, "active"),
            ("MIGRATION_PASS", 600, ""),
            ("STOP", 600, ""),
            ("MIGRATION", 600, "device"),
            ("MIGRATION", 600, "completed"),
        ]
    );
    assert_took_no_time(begin);
}

#[tokio::test(start_paused = true)]
async fn job_and_rate_limited_events_keep_their_times() {
    let machine = start();
    let (monitor, mut events) = attach(machine.connect().unwrap()).await;
    for offset in 1..=3 {
        machine.machine().perform(&Action::new("x-guest-set-clock").with("offset", offset)).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(next_event(&mut events).await.1, 0);
    let (name, at, data) = next_event(&mut events).await;
    // Held until its window closed, with its own time.
    assert_eq!((&*name, at, &data["offset"]), ("RTC_CHANGE", 200_000, &json!(3)));
    assert_eq!(machine.machine().elapsed(), Duration::from_secs(1));

    monitor.execute("blockdev-add", json!({"driver": "null-co", "node-name": "t"})).await.unwrap();
    let mirror =
        json!({"job-id": "j", "device": "disk0-node", "target": "t", "sync": "full", "speed": 1 << 20});
    monitor.execute("blockdev-mirror", mirror).await.unwrap();
    let ready = loop {
        let (name, at, _) = next_event(&mut events).await;
        if name == "BLOCK_JOB_READY" {
            break at;
        }
    };
    // 1 GiB at 1 MiB a second; the job works first and sleeps afterwards.
    assert!((1_000_000_000..=1_030_000_000).contains(&ready), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn advanced_clock_keeps_the_times_of_earlier_events() {
    let machine = start();
    let (monitor, mut events) = attach(machine.connect().unwrap()).await;
    monitor.execute("device_del", json!({"id": "net0"})).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    machine.machine().perform(&Action::new("stop")).unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        let (name, at, _) = next_event(&mut events).await;
        times.push((name, at));
    }
    let deleted = || ("DEVICE_DELETED".to_owned(), 50_000);
    assert_eq!(times, [deleted(), deleted(), ("STOP".to_owned(), 3_600_000_000)]);
}

#[tokio::test(start_paused = true)]
async fn timeout_elapses_only_for_the_command_that_hangs() {
    let begin = Instant::now();
    let machine = start();
    let faults = Faults::new(1).with(Fault::new(FaultKind::Drop).of_reply_to("query-block"));
    let stream = machine.connect_with(&faults).unwrap();
    let (monitor, _events) = attach(stream).await;
    let commander = monitor.commander().clone().with_timeout(Duration::from_secs(30));
    for _ in 0..100 {
        commander.execute("query-status", ()).await.unwrap();
    }
    assert_eq!(machine.machine().elapsed(), Duration::ZERO);
    let error = commander.execute("query-block", ()).await.unwrap_err();
    assert!(matches!(error, ExecuteError::TimedOut { .. }), "{error:?}");
    assert_eq!(machine.machine().elapsed(), Duration::from_secs(30));
    commander.execute("query-status", ()).await.unwrap();
    assert_took_no_time(begin);
}

#[tokio::test(start_paused = true)]
async fn delayed_message_arrives_on_the_paused_clock() {
    let machine = start();
    let delay = FaultKind::Delay { by: Duration::from_secs(45), jitter: Duration::ZERO };
    let faults = Faults::new(1).with(Fault::new(delay).of_event("STOP"));
    let stream = machine.connect_with(&faults).unwrap();
    let (_monitor, mut events) = attach(stream).await;
    machine.machine().perform(&Action::new("stop")).unwrap();
    assert_eq!(next_event(&mut events).await.1, 0);
    assert_eq!(machine.machine().elapsed(), Duration::from_secs(45));
}

#[tokio::test(start_paused = true)]
async fn ended_machine_ends_its_connections_and_accepts_none() {
    let machine = start();
    let (monitor, mut events) = attach(machine.connect().unwrap()).await;
    monitor.execute("quit", ()).await.unwrap();
    assert_eq!(machine.wait().await.unwrap(), 0);
    assert_eq!(next_event(&mut events).await.0, "SHUTDOWN");
    assert!(matches!(events.next().await, Some(EventItem::Ended(_))));
    assert_eq!(machine.connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    let machine = start();
    let (monitor, mut events) = attach(machine.connect().unwrap()).await;
    drop(machine);
    assert!(matches!(events.next().await, Some(EventItem::Ended(_))));
    assert!(monitor.execute("query-status", ()).await.is_err());
}

/// Connects a follower to a machine in memory, whatever the address.
#[derive(Debug)]
struct InMemory {
    machine: Arc<MemoryMachine>,
    faults: Faults,
}

impl Dial for InMemory {
    fn dial<'a>(&'a self, address: &'a Address) -> DialFuture<'a> {
        Box::pin(async move {
            let refused = |_| ConnectError::Refused { address: address.clone() };
            let stream = self.machine.connect_with(&self.faults).map_err(refused)?;
            Ok(Box::pin(stream) as Pin<Box<dyn ByteStream>>)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn follower_reconnects_to_a_machine_in_memory() {
    let machine = Arc::new(start());
    let close = Fault::new(FaultKind::Close { bytes: None }).of(Messages::Event("STOP".into()));
    let faults = Faults::new(1).with(close.on_connection(1));
    let mut config = FollowConfig::default();
    config.connect.dial = Some(Arc::new(InMemory { machine: Arc::clone(&machine), faults }));
    let (_commander, mut items) = qmp_client::follow_stream("unix:/in/memory".parse().unwrap(), config);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match items.next().await.unwrap() {
            FollowItem::Attached { .. } => {
                seen.push("attached".to_owned());
                machine.machine().perform(&Action::new("stop")).unwrap();
                machine.machine().perform(&Action::new("cont")).unwrap();
            }
            FollowItem::Detached { .. } => seen.push("detached".to_owned()),
            FollowItem::Event(event) => seen.push(event.name.to_string()),
            _ => {}
        }
    }
    assert_eq!(seen, ["attached", "detached", "attached", "STOP"]);
}

#[tokio::test(start_paused = true)]
async fn held_clock_advances_by_hand_with_a_machine_on_a_socket() {
    let _hold = ClockHold::new();
    let running = Machine::start(MachineConfig::default()).unwrap();
    let (monitor, mut events) = qmp_client::connect(&running.address().unwrap()).await.unwrap();
    let commander = monitor.commander().clone().with_timeout(Duration::from_millis(1));
    for _ in 0..100 {
        commander.execute("device_del", json!({"id": "nope"})).await.unwrap_err();
        commander.execute("query-status", ()).await.unwrap();
    }
    commander.execute("device_del", json!({"id": "net0"})).await.unwrap();
    let timer = tokio::spawn(tokio::time::sleep(Duration::from_secs(600)));
    tokio::task::yield_now().await;
    running.advance(Duration::from_secs(600)).unwrap();
    tokio::time::advance(Duration::from_secs(600)).await;
    let (name, at, _) = next_event(&mut events).await;
    assert_eq!((&*name, at), ("DEVICE_DELETED", 50_000));
    timer.await.unwrap();
    assert_eq!(running.machine().elapsed(), Duration::from_secs(600));
}

/// Clients and actions on several threads, by the clock of the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn machine_in_memory_serves_clients_on_several_threads() {
    let config = MachineConfig::default().with_clock(MachineClock::Host);
    let machine = Arc::new(Machine::start_in_memory(config).unwrap());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let machine = Arc::clone(&machine);
            tokio::spawn(async move {
                let (monitor, mut events) = attach(machine.connect().unwrap()).await;
                for _ in 0..5 {
                    monitor.execute("query-qmp-schema", ()).await.unwrap();
                    machine.machine().perform(&Action::new("stop")).unwrap();
                    machine.machine().perform(&Action::new("cont")).unwrap();
                }
                let Some(EventItem::Event(event)) = events.next().await else { panic!("no event") };
                assert!(matches!(&*event.name, "STOP" | "RESUME"));
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    machine.machine().perform(&Action::new("quit")).unwrap();
    assert_eq!(machine.wait().await.unwrap(), 0);
}

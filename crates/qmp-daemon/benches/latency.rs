//! The time from the VM's write of an event until a client has it: 1,000 VMs with ten events a second each.
//!
//! `cargo bench -p qmp-daemon --bench latency -- [VMS]`. The events of all VMs are evenly spread, each in a separate write, and
//! carry the time of that write. The contestants, one after another in fresh processes of two threads:
//!
//! - `raw epoll`: one thread, one epoll, a read and a search for the number: the limit.
//! - `qapi`: that crate's stream, a task for each VM.
//! - `qmp-client`: `Connection`, a task for each VM.
//! - `hub, received`: until the hub has received the event, before it is in the journal.
//! - `hub, relay`: until a client of the VM's relay has it, read raw from 1,000 relays at once. A relay sends committed
//!   records, so a commit with its `fsync` is included.
//! - `hub, SSE`: until one client of `/v1/events` has it, which reads the events of all VMs.
//!
//! The hub runs twice, with its journal on the disk of `TMPDIR` and in memory (`/dev/shm`): the difference is the disk.
//! The last line is the time of 8 KiB and `fdatasync` there, measured while nothing else runs.
//!
//! Budget: `qmp-client` ≤ 1.2 × raw epoll at p50 and p99.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use qmp_client::{Address, ConnectConfig, Connection};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_http::HttpEndpoint;
use qmp_hub::relay::RelayConfig;
use qmp_wire::ClientOutput;

mod load;
use load::{Part, negotiated, now_ns, order, read_all, report, run, sent_ns, socket};

const EVENTS_PER_SECOND: usize = 10;
const SECONDS: usize = 6;
/// The first events meet cold caches and new connections.
const WARM_UP: usize = SECONDS / 6;

fn main() {
    load::raise_open_files();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["vms", home, vms] => run(load::vms::play(Path::new(home), number(vms))),
        ["raw", home, vms, ending] => raw(Path::new(home), number(vms), ending),
        ["qapi", home, vms] => run(qapi(Path::new(home), number(vms))),
        ["client", home, vms] => run(client(Path::new(home), number(vms))),
        ["hub", home, vms, journal] => run(hub(Path::new(home), number(vms), Path::new(journal))),
        ["sse", home, vms] => server_sent(Path::new(home), number(vms)),
        [] => compare(1_000),
        [vms] => compare(number(vms)),
        _ => panic!("usage: latency [NUMBER OF VMS]"),
    }
}

fn compare(vms: usize) {
    println!("{vms} VMs, {EVENTS_PER_SECOND} events a second each, {SECONDS} s; microseconds");
    println!("{:<28}{:>9}{:>9}{:>9}   x raw epoll", "", "p50", "p99", "p99.9");
    let count = vms.to_string();
    let mut limit = None;
    for (name, part, of_hub, in_memory) in [
        ("raw epoll", "raw", false, false),
        ("qapi", "qapi", false, false),
        ("qmp-client", "client", false, false),
        ("hub, relay", "raw", true, false),
        ("hub, SSE", "sse", true, false),
        ("hub, relay, in memory", "raw", true, true),
        ("hub, SSE, in memory", "sse", true, true),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let journal = if in_memory { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
        let journal = journal.expect("a directory");
        let path = home.path().to_str().expect("UTF-8");
        let mut emulator = Part::start(&["vms", path, &count]);
        let journal = journal.path().to_str().expect("UTF-8");
        let hub = of_hub.then(|| Part::start(&["hub", path, &count, journal]));
        let ending = if of_hub { "qmp" } else { "sock" };
        let arguments = [part, path, &count, ending];
        let mut reader = Part::start(if part == "raw" { &arguments } else { &arguments[..3] });
        emulator.send(&format!("tick {} {}", vms * EVENTS_PER_SECOND * SECONDS, vms * EVENTS_PER_SECOND));
        assert_eq!(emulator.receive(), "done");
        for line in reader.receive().split(';') {
            let (what, values) = line.split_once(':').expect("name: values");
            let values: Vec<f64> =
                values.split_whitespace().map(|text| text.parse().expect("a number")).collect();
            let limit = limit.get_or_insert_with(|| values.clone());
            let ratios: Vec<_> =
                values.iter().zip(limit).map(|(value, limit)| format!("{:.2}", value / *limit)).collect();
            let name = format!("{name}{what}");
            println!(
                "{name:<28}{:>9.0}{:>9.0}{:>9.0}   {}",
                values[0],
                values[1],
                values[2],
                ratios.join("  ")
            );
        }
        if let Some(hub) = hub {
            println!("{:<28}{:>9.2} s of processor time", "", hub.processor_seconds());
        }
    }
    let home = tempfile::tempdir().expect("a directory");
    println!("8 KiB and fdatasync:        {}", shown(&mut commits(home.path())));
}

/// Nanoseconds of each small commit, without a database.
fn commits(home: &Path) -> Vec<i64> {
    let mut file = std::fs::File::create(home.join("commits")).expect("creates");
    let mut took = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        file.write_all(&[1; 8 << 10]).expect("writes");
        file.sync_data().expect("syncs");
        took.push(i64::try_from(start.elapsed().as_nanos()).expect("short"));
    }
    took
}

/// The latencies of a contestant, for the percentiles at the end.
struct Latencies {
    left: usize,
    skipped: usize,
    taken: Vec<i64>,
}

impl Latencies {
    fn of(vms: usize) -> Self {
        let events = vms * EVENTS_PER_SECOND;
        let skipped = events * WARM_UP;
        Self { left: events * SECONDS, skipped, taken: Vec::with_capacity(events * SECONDS) }
    }

    /// Returns whether the event is the last.
    fn take(&mut self, sent_ns: i64, now_ns: i64) -> bool {
        self.left -= 1;
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.taken.push(now_ns - sent_ns);
        }
        self.left == 0
    }
}

/// The percentiles in microseconds.
fn shown(taken: &mut [i64]) -> String {
    taken.sort_unstable();
    let percentile = |permille: usize| taken[(taken.len() - 1) * permille / 1_000] as f64 / 1e3;
    format!("{:.1} {:.1} {:.1}", percentile(500), percentile(990), percentile(999))
}

fn raw(home: &Path, vms: usize, ending: &str) {
    let streams: Vec<_> = (0..vms).map(|vm| negotiated(&socket(home, vm, ending))).collect();
    report("ready");
    let mut latencies = Latencies::of(vms);
    // Each event is one small write, so a read always ends at the end of an event.
    read_all(&streams, |_, bytes| {
        let now = now_ns();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .any(|line| latencies.take(sent_ns(line).expect("an event"), now))
    });
    report(&format!(":{}", shown(&mut latencies.taken)));
}

async fn qapi(home: &Path, vms: usize) {
    let latencies = Mutex::new(Latencies::of(vms));
    let mut streams = futures_util::stream::FuturesUnordered::new();
    for vm in 0..vms {
        let stream =
            qapi::futures::QmpStreamTokio::open_uds(socket(home, vm, "sock")).await.expect("connects");
        streams.push(async move { stream.negotiate().await.expect("negotiates").into_parts() });
    }
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    while let Some((_service, mut events)) = streams.next().await {
        let sent = sent.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let qapi::qmp::Event::RTC_CHANGE { data, .. } = event.expect("an event") {
                    let _ = sent.send((data.offset, now_ns()));
                }
            }
        });
    }
    report("ready");
    collect(latencies, &mut received).await;
}

async fn client(home: &Path, vms: usize) {
    let latencies = Mutex::new(Latencies::of(vms));
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    for vm in 0..vms {
        let address = Address::Unix { path: socket(home, vm, "sock"), listen: false };
        let mut connection = Connection::open(&address, &ConnectConfig::default()).await.expect("connects");
        connection.negotiate(|_| ()).await.expect("negotiates");
        let sent = sent.clone();
        tokio::spawn(async move {
            loop {
                while let Some(output) = connection.poll_output().expect("QMP") {
                    if let ClientOutput::Event(event) = output {
                        let data = event.data.expect("data");
                        let _ = sent.send((sent_ns(data.as_bytes()).expect("an event"), now_ns()));
                    }
                }
                connection.drive().await.expect("stays");
            }
        });
    }
    report("ready");
    collect(latencies, &mut received).await;
}

async fn collect(
    latencies: Mutex<Latencies>,
    received: &mut tokio::sync::mpsc::UnboundedReceiver<(i64, i64)>,
) {
    let mut latencies = latencies.into_inner().expect("sound");
    while let Some((sent_ns, now_ns)) = received.recv().await {
        if latencies.take(sent_ns, now_ns) {
            break;
        }
    }
    report(&format!(":{}", shown(&mut latencies.taken)));
}

async fn hub(home: &Path, vms: usize, journal: &Path) {
    let mut config = DaemonConfig::new(journal.join("journal.db"));
    config.http.push(HttpEndpoint::unix(home.join("hub.http")));
    for vm in 0..vms {
        let name: qmp_hub::VmName = format!("vm{vm}").parse().expect("a name");
        config.attach.push((name.clone(), Address::Unix { path: socket(home, vm, "sock"), listen: false }));
        config.relays.push((name, RelayConfig::new(socket(home, vm, "qmp"))));
    }
    let hub = Daemon::start(config).await.expect("starts");
    let mut head = hub.journal().watch_head();
    head.wait_for(|head| head.0 >= vms as u64).await.expect("an open journal");
    report("ready");
    tokio::task::spawn_blocking(order).await.expect("no panic");
}

/// Reads the stream of all VMs; reports also when the hub itself received the events.
fn server_sent(home: &Path, vms: usize) {
    let mut stream = UnixStream::connect(home.join("hub.http")).expect("the hub listens");
    stream.write_all(b"GET /v1/events?kind=event HTTP/1.1\r\nhost: hub\r\n\r\n").expect("writes");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    let mut buffer = vec![0; 1 << 20];
    let mut filled = stream.read(&mut buffer).expect("a response");
    report("ready");
    let (mut whole, mut until_received) = (Latencies::of(vms), Latencies::of(vms));
    loop {
        filled += stream.read(&mut buffer[filled..]).expect("an open stream");
        let now = now_ns();
        let mut done = false;
        let end = buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in buffer[..end].split(|byte| *byte == b'\n') {
            if !line.starts_with(b"data: ") {
                continue;
            }
            let record: serde_json::Value = serde_json::from_slice(&line[6..]).expect("a record");
            let sent = record["data"]["offset"].as_i64().expect("an event");
            let received: jiff::Timestamp =
                record["received"].as_str().expect("a time").parse().expect("a time");
            until_received.take(sent, i64::try_from(received.as_nanosecond()).expect("before 2262"));
            done |= whole.take(sent, now);
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
        if done {
            break;
        }
    }
    report(&format!(", received:{};:{}", shown(&mut until_received.taken), shown(&mut whole.taken)));
}

fn number(text: &str) -> usize {
    text.parse().expect("a number of VMs")
}

//! The number of events a second that 1,000 clients of the hub receive: from one VM's relay, and from the HTTP stream.
//!
//! `cargo bench -p qmp-daemon --bench fanout -- [READERS]`. One VM emits bursts in writes of 64 KiB; the clock runs until
//! every reader, all in one process that only counts, has the complete burst. For comparison, with the same readers:
//!
//! - `limit`: prepared text, written to each reader in turn, 64 KiB at a time.
//! - `one write`: the same with one write per event and reader.
//!
//! With `relay`, an event is read from the monitor, committed, read back, encoded once, and written to all. Budget:
//! ≥ 0.4 × limit.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use qmp_client::Address;
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_http::HttpEndpoint;
use qmp_hub::relay::RelayConfig;

mod load;
use load::vms::WRITE_EVENTS;
use load::{Part, event, negotiated, order, read_all, report, run, socket};

/// Events in one burst: fewer than a client may leave unread.
const BURST: usize = 20 * WRITE_EVENTS;
const ROUNDS: usize = 5;

fn main() {
    load::raise_open_files();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["vms", home, vms] => run(load::vms::play(Path::new(home), number(vms))),
        ["hub", home] => run(hub(Path::new(home))),
        ["write", home, readers, events] => write(Path::new(home), number(readers), number(events)),
        ["read", home, readers, events, how] => read(Path::new(home), number(readers), number(events), how),
        [] => compare(1_000),
        [readers] => compare(number(readers)),
        _ => panic!("usage: fanout [NUMBER OF READERS]"),
    }
}

fn compare(readers: usize) {
    println!("{readers} readers, bursts of {BURST} events, median of {ROUNDS}");
    let limit = written(readers, WRITE_EVENTS, BURST);
    show("limit", limit, limit);
    show("one write", written(readers, 1, BURST / 10), limit);
    for how in ["relay", "events"] {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_str().expect("UTF-8");
        let mut vm = Part::start(&["vms", path, "1"]);
        let hub = Part::start(&["hub", path]);
        let before = hub.processor_seconds();
        let reader = Part::start(&["read", path, &readers.to_string(), &BURST.to_string(), how]);
        show(how, rate(&mut vm, reader, readers, BURST), limit);
        println!("{:<12}{:>8.2} s of the hub's processor time", "", hub.processor_seconds() - before);
    }
}

fn show(name: &str, deliveries: f64, limit: f64) {
    println!("{name:<12}{:>8.2} M deliveries/s {:>6.2} x limit", deliveries / 1e6, deliveries / limit);
}

/// Deliveries a second of a program that only writes.
fn written(readers: usize, write_events: usize, burst: usize) -> f64 {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().to_str().expect("UTF-8");
    let mut writer = Part::start(&["write", path, &readers.to_string(), &write_events.to_string()]);
    let reader = Part::start(&["read", path, &readers.to_string(), &burst.to_string(), "relay"]);
    rate(&mut writer, reader, readers, burst)
}

fn rate(source: &mut Part, mut reader: Part, readers: usize, burst: usize) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            source.send(&format!("burst {burst}"));
            assert_eq!(reader.receive(), "all");
            let seconds = start.elapsed().as_secs_f64();
            assert_eq!(source.receive(), "done");
            seconds
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (readers * burst) as f64 / seconds[ROUNDS / 2]
}

/// Serves like a monitor, and writes a burst to each client in turn, `write_events` at a time.
fn write(home: &Path, readers: usize, write_events: usize) {
    let listener = UnixListener::bind(socket(home, 0, "qmp")).expect("binds");
    report("ready");
    let greeted = || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(b"{\"QMP\": {}}\r\n").expect("writes");
        assert!(stream.read(&mut [0; 512]).expect("reads") > 0);
        stream.write_all(b"{\"return\": {}}\r\n").expect("writes");
        stream
    };
    let clients: Vec<_> = (0..readers).map(|_| greeted()).collect();
    let text = event(load::now_ns()).repeat(write_events);
    while let Some(order) = order() {
        let events = number(order.strip_prefix("burst ").expect("a burst"));
        for _ in 0..events / write_events {
            for mut client in &clients {
                client.write_all(text.as_bytes()).expect("the client reads");
            }
        }
        report("done");
    }
}

/// Counts events until every reader has `events` more, and reports it, repeatedly.
fn read(home: &Path, readers: usize, events: usize, how: &str) {
    let streams: Vec<_> = match how {
        "relay" => (0..readers).map(|_| negotiated(&socket(home, 0, "qmp"))).collect(),
        _ => (0..readers).map(|_| subscribed(&home.join("hub.http"))).collect(),
    };
    report("ready");
    // In server-sent events, only the line `data` ends with a closing brace.
    let end: &[u8] = if how == "relay" { b"\n" } else { b"}\n" };
    let finder = memchr::memmem::Finder::new(end);
    let mut last = vec![0; readers];
    let mut left = readers * events;
    read_all(&streams, |n, bytes| {
        // The end may be split between two reads.
        let split = end.len() > 1 && last[n] == b'}' && bytes[0] == b'\n';
        last[n] = bytes[bytes.len() - 1];
        left -= finder.find_iter(bytes).count() + usize::from(split);
        if left == 0 {
            report("all");
            left = readers * events;
        }
        false
    });
}

/// A client of the stream of all events, after the first event.
fn subscribed(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("the hub listens");
    stream.write_all(b"GET /v1/events?kind=event HTTP/1.1\r\nhost: hub\r\n\r\n").expect("writes");
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\nid:") {
        let mut bytes = [0; 512];
        let read = stream.read(&mut bytes).expect("a response");
        head.extend_from_slice(&bytes[..read]);
    }
    stream
}

async fn hub(home: &Path) {
    let mut config = DaemonConfig::new(home.join("journal.db"));
    config.http.push(HttpEndpoint::unix(home.join("hub.http")));
    let name: qmp_hub::VmName = "vm0".parse().expect("a name");
    config.attach.push((name.clone(), Address::Unix { path: socket(home, 0, "sock"), listen: false }));
    config.relays.push((name, RelayConfig::new(socket(home, 0, "qmp"))));
    let hub = Daemon::start(config).await.expect("starts");
    let mut head = hub.journal().watch_head();
    head.wait_for(|head| head.0 >= 1).await.expect("an open journal");
    report("ready");
    tokio::task::spawn_blocking(order).await.expect("no panic");
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

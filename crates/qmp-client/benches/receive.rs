//! How fast events are received from a unix socket: the storm that a guest may cause, in large writes and in one write
//! per event as QEMU does it.
//!
//! Beside ours, in the same run and in turns: the limit (read and split at line ends, nothing else) and the crate `qapi`.
//! Ratios count; absolute figures move with the machine. Run with `cargo bench -p qmp-client --bench receive`.

#![allow(missing_docs, reason = "a program")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use qmp_client::{Address, ConnectConfig, Connection, EventItem};
use qmp_wire::ClientOutput;

const EVENT: &str = "{\"timestamp\": {\"seconds\": 1265044230, \"microseconds\": 450486}, \"event\": \"BLOCK_JOB_READY\", \"data\": {\"device\": \"drive-virtio-disk0\", \"type\": \"mirror\", \"speed\": 0, \"len\": 10737418240, \"offset\": 10737418240}}\r\n";
const ROUNDS: usize = 7;

#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    events: usize,
    write_events: usize,
}

const LOADS: [Load; 2] = [
    Load { name: "64 KiB writes", events: 400_000, write_events: (64 << 10) / EVENT.len() },
    Load { name: "one write per event", events: 150_000, write_events: 1 },
];

/// Receives all events of a load, and says how long that took after the first.
type Receiver = fn(&Path, usize) -> Duration;

const RECEIVERS: [(&str, Receiver); 4] =
    [("limit", limit), ("qapi", qapi), ("Connection", connection), ("Events", events)];

fn main() {
    for load in LOADS {
        let mut seconds = [const { Vec::new() }; RECEIVERS.len()];
        for _ in 0..ROUNDS {
            for (seconds, (_, receiver)) in seconds.iter_mut().zip(RECEIVERS) {
                seconds.push(run(load, receiver).as_secs_f64());
            }
        }
        let rates = seconds.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            load.events as f64 / seconds[ROUNDS / 2] / 1e6
        });
        println!("{} ({} bytes an event, median of {ROUNDS})", load.name, EVENT.len());
        for (rate, (name, _)) in rates.iter().zip(RECEIVERS) {
            println!(
                "  {name:<11} {rate:6.2} M events/s   {:5.2} x limit   {:5.2} x qapi",
                rate / rates[0],
                rate / rates[1]
            );
        }
    }
}

fn run(load: Load, receiver: Receiver) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("qmp");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = std::thread::spawn(move || serve(&listener, load));
    let took = receiver(&path, load.events);
    server.join().expect("the server ends");
    took
}

fn serve(listener: &UnixListener, load: Load) {
    let (mut stream, _) = listener.accept().expect("a client");
    stream
        .write_all(b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, \"capabilities\": []}}\r\n")
        .expect("greeted");
    let mut command = String::new();
    BufReader::new(&stream).read_line(&mut command).expect("negotiation");
    let command: serde_json::Value = serde_json::from_str(&command).expect("JSON");
    match command.get("id") {
        Some(id) => writeln!(stream, "{{\"return\": {{}}, \"id\": {id}}}\r"),
        None => writeln!(stream, "{{\"return\": {{}}}}\r"),
    }
    .expect("negotiated");
    let chunk = EVENT.repeat(load.write_events);
    let mut left = load.events;
    while left > 0 {
        let events = left.min(load.write_events);
        stream.write_all(&chunk.as_bytes()[..events * EVENT.len()]).expect("sent");
        left -= events;
    }
}

fn limit(path: &Path, events: usize) -> Duration {
    let mut stream = UnixStream::connect(path).expect("connected");
    stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\r\n").expect("sent");
    let mut buffer = vec![0; 64 << 10];
    // The greeting and the reply are lines, too.
    let mut left = events + 2;
    let began = Instant::now();
    while left > 0 {
        let read = stream.read(&mut buffer).expect("read");
        left -= memchr::memchr_iter(b'\n', &buffer[..read]).count();
    }
    began.elapsed()
}

fn qapi(path: &Path, events: usize) -> Duration {
    runtime().block_on(async {
        let stream = qapi::futures::QmpStreamTokio::open_uds(path).await.expect("connected");
        let (_service, received) = stream.negotiate().await.expect("negotiated").into_parts();
        let mut received = std::pin::pin!(received);
        let began = Instant::now();
        for _ in 0..events {
            std::hint::black_box(received.next().await.expect("an event").expect("valid"));
        }
        began.elapsed()
    })
}

fn connection(path: &Path, events: usize) -> Duration {
    runtime().block_on(async {
        let address = Address::Unix { path: path.to_owned(), listen: false };
        let mut connection = Connection::open(&address, &ConnectConfig::default()).await.expect("connected");
        let began = Instant::now();
        connection.negotiate(|_| unreachable!("no event before the negotiation")).await.expect("negotiated");
        let mut left = events;
        loop {
            while let Some(output) = connection.poll_output().expect("valid") {
                if let ClientOutput::Event(event) = std::hint::black_box(output) {
                    std::hint::black_box(event);
                    left -= 1;
                }
            }
            if left == 0 {
                return began.elapsed();
            }
            connection.drive().await.expect("connected");
        }
    })
}

fn events(path: &Path, count: usize) -> Duration {
    runtime().block_on(async {
        let address = Address::Unix { path: path.to_owned(), listen: false };
        let (_monitor, mut events) = qmp_client::connect(&address).await.expect("connected");
        let began = Instant::now();
        for _ in 0..count {
            match events.next().await {
                Some(EventItem::Event(event)) => std::hint::black_box(event),
                other => panic!("{other:?}"),
            };
        }
        began.elapsed()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

//! Emulated VMs in a separate process: every command gets an empty reply, and events are emitted by order.

use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{event, now_ns, order, report, socket};

const GREETING: &[u8] = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "#,
    r#""capabilities": ["oob"]}}"#,
    "\r\n"
)
.as_bytes();

/// Events in one write of a burst: 64 KiB.
pub(crate) const WRITE_EVENTS: usize = 380;

/// The client of each VM.
type Clients = Arc<Mutex<Vec<Option<Blocking>>>>;

/// Serves `vms` monitors in `home`. Orders: `tick EVENTS PER_SECOND` for all VMs in turn, evenly spread; `burst EVENTS` for
/// the first VM, at once.
pub(crate) async fn play(home: &Path, vms: usize) {
    let clients: Clients = Arc::new(Mutex::new((0..vms).map(|_| None).collect()));
    for vm in 0..vms {
        let listener = UnixListener::bind(socket(home, vm, "sock")).expect("binds");
        tokio::spawn(serve(listener, vm, Arc::clone(&clients)));
    }
    report("ready");
    // On its own thread, so that the time of an event is that of its write.
    let emitter = tokio::task::spawn_blocking(move || {
        while let Some(order) = order() {
            let words: Vec<&str> = order.split(' ').collect();
            match words[..] {
                ["tick", events, per_second] => tick(&clients, number(events), number(per_second)),
                ["burst", events] => burst(&clients, number(events)),
                ["prepare"] => {
                    report("prepared");
                    continue;
                }
                _ => panic!("unknown order {order}"),
            }
            report("done");
        }
    });
    emitter.await.expect("no panic");
}

fn tick(clients: &Clients, events: usize, per_second: usize) {
    let clients = clients.lock().expect("sound");
    let clients: Vec<&Blocking> = clients.iter().flatten().collect();
    let start = Instant::now();
    for n in 0..events {
        let due = Duration::from_secs_f64(n as f64 / per_second as f64);
        if let Some(pause) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(pause);
        }
        let line = event(now_ns());
        write(clients[n % clients.len()], line.as_bytes());
    }
}

fn burst(clients: &Clients, events: usize) {
    let clients = clients.lock().expect("sound");
    let client = clients[0].as_ref().expect("a client");
    let text = event(now_ns()).repeat(WRITE_EVENTS);
    let line_bytes = text.len() / WRITE_EVENTS;
    let mut left = events;
    while left > 0 {
        let now = left.min(WRITE_EVENTS);
        write(client, &text.as_bytes()[..now * line_bytes]);
        left -= now;
    }
}

/// Writes all bytes; waits while the reader is slow, as a VM does.
fn write(mut client: &Blocking, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match client.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut requested = [PollFd::from_borrowed_fd(client.as_fd(), PollFlags::OUT)];
                poll(&mut requested, None).expect("polls");
            }
            Err(error) => panic!("cannot write: {error}"),
        }
    }
}

async fn serve(listener: UnixListener, vm: usize, clients: Clients) {
    loop {
        let (stream, _) = listener.accept().await.expect("a client");
        let stream = stream.into_std().expect("a socket");
        let writer = stream.try_clone().expect("a descriptor");
        clients.lock().expect("sound")[vm] = Some(writer);
        // The client closes when its process ends.
        let _ = answer(UnixStream::from_std(stream).expect("a socket")).await;
        clients.lock().expect("sound")[vm] = None;
    }
}

/// Sends a greeting, and an empty object in reply to each command.
pub(crate) async fn answer(mut stream: UnixStream) -> std::io::Result<()> {
    stream.write_all(GREETING).await?;
    let mut requests = Vec::new();
    loop {
        if stream.read_buf(&mut requests).await? == 0 {
            return Ok(());
        }
        let mut replies = Vec::new();
        let mut values = serde_json::Deserializer::from_slice(&requests).into_iter::<serde_json::Value>();
        while let Some(Ok(request)) = values.next() {
            let id = request.get("id").map(|id| format!(", \"id\": {id}")).unwrap_or_default();
            replies.extend_from_slice(format!("{{\"return\": {{}}{id}}}\r\n").as_bytes());
        }
        let taken = values.byte_offset();
        requests.drain(..taken);
        stream.write_all(&replies).await?;
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

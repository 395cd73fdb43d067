//! Emulated VMs in a process of their own: they answer every command with nothing, and emit as they are told.

use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{event, now_ns, order, say, socket};

const GREETING: &[u8] = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "#,
    r#""capabilities": ["oob"]}}"#,
    "\r\n"
)
.as_bytes();

/// Events in one write of a burst: 64 KiB.
pub(crate) const WRITE_EVENTS: usize = 380;

/// Whom each VM sends its events.
type Clients = Arc<Mutex<Vec<Option<Blocking>>>>;

/// Serves `vms` monitors in `home`. Orders: `tick EVENTS PER_SECOND`, all VMs in turn, evenly; `burst EVENTS`, the first
/// VM, at once.
pub(crate) async fn play(home: &Path, vms: usize) {
    let clients: Clients = Arc::new(Mutex::new((0..vms).map(|_| None).collect()));
    for vm in 0..vms {
        let listener = UnixListener::bind(socket(home, vm, "sock")).expect("binds");
        tokio::spawn(serve(listener, vm, Arc::clone(&clients)));
    }
    say("ready");
    // A thread of its own: the time of an event is that of its write.
    let emitting = tokio::task::spawn_blocking(move || {
        while let Some(order) = order() {
            let words: Vec<&str> = order.split(' ').collect();
            match words[..] {
                ["tick", events, per_second] => tick(&clients, number(events), number(per_second)),
                ["burst", events] => burst(&clients, number(events)),
                _ => panic!("no order {order}"),
            }
            say("done");
        }
    });
    emitting.await.expect("no panic");
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
    let client = clients[0].as_ref().expect("somebody reads");
    let text = event(now_ns()).repeat(WRITE_EVENTS);
    let line_bytes = text.len() / WRITE_EVENTS;
    let mut left = events;
    while left > 0 {
        let now = left.min(WRITE_EVENTS);
        write(client, &text.as_bytes()[..now * line_bytes]);
        left -= now;
    }
}

/// Writes all, as a VM does whose reader is slow: it waits.
fn write(mut client: &Blocking, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match client.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut asked = [PollFd::from_borrowed_fd(client.as_fd(), PollFlags::OUT)];
                poll(&mut asked, None).expect("polls");
            }
            Err(error) => panic!("nobody reads: {error}"),
        }
    }
}

async fn serve(listener: UnixListener, vm: usize, clients: Clients) {
    loop {
        let (stream, _) = listener.accept().await.expect("a client");
        let stream = stream.into_std().expect("a socket");
        let emitting = stream.try_clone().expect("a descriptor");
        clients.lock().expect("sound")[vm] = Some(emitting);
        // The client leaves when its process ends.
        let _ = answer(UnixStream::from_std(stream).expect("a socket")).await;
        clients.lock().expect("sound")[vm] = None;
    }
}

/// Greets, and answers each command with an empty object.
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

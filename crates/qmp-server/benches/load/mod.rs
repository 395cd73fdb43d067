//! Reading, slow and dead clients.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use qmp_events::Event;
use qmp_server::{Monitor, MonitorThread, SlowReader};
use rustix::event::{Timespec, epoll};

/// An event of medium size without a rate limit.
pub fn event() -> Event {
    let data = r#"{"netdev-id": "net0", "chardev-id": "chardev0"}"#;
    Event::decode("NETDEV_VHOST_USER_CONNECTED", Some(data)).unwrap()
}

/// A monitor on its thread with these clients in command mode; the readers have their own thread.
pub fn serve(reading: usize, dead: usize, slow: usize, policy: SlowReader) -> (MonitorThread, Readers) {
    let monitor = Monitor::builder(11, 1, 3).slow_reader(policy).build().unwrap().spawn().unwrap();
    let mut clients = Vec::new();
    for _ in 0..reading + dead + slow {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        monitor.attach(theirs);
        ours.write_all(b"{\"execute\":\"qmp_capabilities\"}").unwrap();
        read_until(&mut ours, b"{\"return\": {}}\r\n");
        clients.push(ours);
    }
    let others = clients.split_off(reading);
    let mut readers = Readers::of(clients);
    // Dead clients never read; slow ones read a little now and then.
    let mut others = others.into_iter();
    readers.dead = others.by_ref().take(dead).collect();
    readers.add_slow(others.collect());
    (monitor, readers)
}

fn read_until(stream: &mut UnixStream, end: &[u8]) {
    let mut received = Vec::new();
    let mut byte = [0; 4096];
    while !received.ends_with(end) {
        let count = stream.read(&mut byte).unwrap();
        assert!(count > 0, "the monitor closed");
        received.extend_from_slice(&byte[..count]);
    }
}

/// Threads that read the clients' sockets and count the lines.
pub struct Readers {
    lines: Arc<AtomicUsize>,
    expected: usize,
    clients: usize,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    dead: Vec<UnixStream>,
}

impl Readers {
    pub fn of(clients: Vec<UnixStream>) -> Self {
        let (lines, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let count = clients.len();
        let thread = {
            let (lines, stop) = (Arc::clone(&lines), Arc::clone(&stop));
            std::thread::spawn(move || read_all(&clients, &lines, &stop))
        };
        Self { lines, expected: 0, clients: count, stop, threads: vec![thread], dead: Vec::new() }
    }

    fn add_slow(&mut self, clients: Vec<UnixStream>) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while !stop.load(Relaxed) {
                for mut client in &clients {
                    client.set_nonblocking(true).unwrap();
                    let _ = client.read(&mut bytes);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
    }

    /// Waits for `lines` more lines without sleeping.
    pub fn spin_for(&mut self, lines: usize) {
        self.expected += lines * self.clients;
        while self.lines.load(Relaxed) < self.expected {
            std::thread::yield_now();
        }
    }

    /// Waits until all readers have `lines` more lines, at most for `patience`.
    pub fn wait_for(&mut self, lines: usize, patience: Duration) {
        self.expected += lines * self.clients;
        let deadline = Instant::now() + patience;
        while self.lines.load(Relaxed) < self.expected && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(50));
        }
        self.expected = self.lines.load(Relaxed).max(self.expected);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read_all(clients: &[UnixStream], lines: &AtomicUsize, stop: &AtomicBool) {
    let epoll: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (index, client) in (0_u64..).zip(clients) {
        client.set_nonblocking(true).unwrap();
        epoll::add(&epoll, client, epoll::EventData::new_u64(index), epoll::EventFlags::IN).unwrap();
    }
    let mut bytes = vec![0; 256 << 10];
    let mut ready = Vec::with_capacity(256);
    while !stop.load(Relaxed) {
        ready.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        if epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout)).is_err() {
            continue;
        }
        for event in &ready {
            let index = usize::try_from(event.data.u64()).unwrap();
            match (&clients[index]).read(&mut bytes) {
                Ok(0) => {
                    let _ = epoll::delete(&epoll, &clients[index]);
                }
                Ok(count) => {
                    let ends = bytes[..count].iter().filter(|byte| **byte == b'\n').count();
                    lines.fetch_add(ends, Relaxed);
                }
                Err(_) => {}
            }
        }
    }
}

/// Returns p50, p99 and maximum.
pub fn percentiles(costs: &mut [u64]) -> (u64, u64, u64) {
    costs.sort_unstable();
    let at = |share: usize| costs[(costs.len() - 1) * share / 100];
    (at(50), at(99), at(100))
}

pub fn row(name: &str, costs: &mut [u64]) {
    let (p50, p99, worst) = percentiles(costs);
    println!("{name:<44} {p50:>8} {p99:>8} {worst:>10}");
}

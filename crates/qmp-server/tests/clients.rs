//! Many, slow, dead and half-closed clients, by every kind of socket; and the two ways to run a monitor.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::Write,
    net::TcpStream,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use qmp_server::{
    Command, EVENTS_DROPPED, EmitOutcome, Listener, Monitor, MonitorBuilder, QUEUE_MAX_BYTES, SlowReader,
    TextEvent, Type,
};
use rustix::event::{PollFd, PollFlags, poll};
use support::{
    client::Client,
    machine::{client, event, unnegotiated_client},
};

const QUERY: &str = r#"{"execute":"query-name","id":1}"#;
const REPLY: &str = r#"{"return": {}, "id": 1}"#;

fn monitor(describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder) -> Monitor {
    describe(Monitor::builder(11, 1, 3)).build().unwrap()
}

/// Emits numbered events and lets the monitor deliver them.
fn flood(monitor: &mut Monitor, count: u32) {
    let emitter = monitor.emitter();
    for number in 0..count {
        let data = format!(r#"{{"device": "d", "path": "/machine/peripheral/device-number-{number}"}}"#);
        assert_eq!(
            emitter.emit(&TextEvent { name: "DEVICE_DELETED", data: Some(&data) }),
            EmitOutcome::Queued
        );
        if number % 64 == 0 {
            monitor.process().unwrap();
        }
    }
    monitor.process().unwrap();
}

#[test]
fn client_that_does_not_read_is_closed() {
    let mut monitor = monitor(|builder| builder.output_max_bytes(64 << 10));
    let (mut dead, mut reading) = (client(&mut monitor), client(&mut monitor));
    let mut got = 0;
    for _ in 0..40 {
        flood(&mut monitor, 200);
        got += reading.lines_now().len();
    }
    assert_eq!(got, 8000, "a client that reads gets every event");
    let stats = monitor.stats();
    assert_eq!((stats.closed_slow, stats.connections), (1, 1));
    assert!(dead.is_closed());
}

#[test]
fn drop_oldest_policy_drops_the_oldest_events() {
    let mut monitor =
        monitor(|builder| builder.output_max_bytes(64 << 10).slow_reader(SlowReader::DropOldest));
    let mut slow = client(&mut monitor);
    for _ in 0..40 {
        flood(&mut monitor, 200);
    }
    slow.send(QUERY);
    monitor.process().unwrap();
    let mut lines = Vec::new();
    while !lines.iter().any(|line| line == REPLY) {
        lines.extend(slow.lines_now());
        monitor.process().unwrap();
    }
    let stats = monitor.stats();
    let marked: u64 = lines
        .iter()
        .filter(|line| line.contains(EVENTS_DROPPED))
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["count"].as_u64().unwrap()
        })
        .sum();
    let events = lines.iter().filter(|line| line.contains("DEVICE_DELETED")).count() as u64;
    assert!(marked > 0);
    assert_eq!(marked, stats.dropped);
    assert_eq!(events + marked, 8000, "an event arrives or is counted");
    assert!(lines[lines.len() - 2].contains("device-number-199"), "the newest is there");
    assert_eq!((stats.closed_slow, stats.connections), (0, 1));
}

/// A loop that does not run loses events; every client gets a marker, or is closed.
#[test]
fn full_queue_is_a_loss_for_every_client() {
    for policy in [SlowReader::Close, SlowReader::DropOldest] {
        let mut monitor = monitor(|builder| builder.slow_reader(policy));
        let mut client = client(&mut monitor);
        let stop = event("STOP", "{}");
        let mut queued = 0_u64;
        while monitor.emitter().emit(&stop) == EmitOutcome::Queued {
            queued += 1;
        }
        assert!(queued * 80 > QUEUE_MAX_BYTES as u64 / 2);
        assert_eq!(monitor.emitter().emit(&stop), EmitOutcome::Overrun);
        monitor.process().unwrap();
        assert_eq!(monitor.stats().overrun, 2);
        if policy == SlowReader::Close {
            assert!(client.is_closed());
            continue;
        }
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(EVENTS_DROPPED)) {
            lines.extend(client.lines_now());
            monitor.process().unwrap();
        }
        assert_eq!(lines.len() as u64, queued + 1);
        assert!(lines.last().unwrap().ends_with(r#""data": {"count": 2}}"#));
    }
}

#[test]
fn requests_of_client_that_does_not_read_wait() {
    let mut monitor = monitor(|builder| builder.output_max_bytes(64 << 10));
    let mut greedy = client(&mut monitor);
    let mut sent = 0;
    greedy.stream.set_nonblocking(true).unwrap();
    let request = br#"{"execute":"query-qmp-schema"}"#;
    loop {
        match (&greedy.stream).write(request) {
            Ok(count) if count == request.len() => sent += 1,
            _ => break,
        }
        if sent % 100 == 0 {
            monitor.process().unwrap();
        }
    }
    monitor.process().unwrap();
    assert!(sent > 100);
    assert_eq!(monitor.stats().closed_slow, 0);
    greedy.stream.set_nonblocking(false).unwrap();
    let mut got = 0;
    while got < 20 {
        got += greedy.lines_now().iter().filter(|line| line.starts_with(r#"{"return": [{"#)).count();
        monitor.process().unwrap();
    }
    // Another client is served meanwhile.
    let mut other = client(&mut monitor);
    other.send(QUERY);
    monitor.process().unwrap();
    assert_eq!(other.lines_now(), [REPLY]);
}

#[test]
fn requests_before_the_end_of_input_get_replies() {
    let mut monitor = monitor(|builder| builder);
    let mut client = unnegotiated_client(&mut monitor);
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    client.send(QUERY.repeat(3));
    client.send(r#"{"execute":"never fini"#);
    client.finish();
    monitor.process().unwrap();
    monitor.process().unwrap();
    let lines = client.rest();
    assert_eq!(lines[2..], [REPLY; 3]);
    assert_eq!(monitor.stats().connections, 0);
}

#[test]
fn half_closed_client_gets_reply_of_pending_command() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let slow =
        Command::new("slow").returns(Type::Int).hand_over(move |command| sender.send(command).unwrap());
    let mut monitor = monitor(|builder| builder.command(slow));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"slow"}"#);
    client.finish();
    monitor.process().unwrap();
    monitor.process().unwrap();
    assert_eq!(monitor.stats().connections, 1);
    receiver.recv().unwrap().reply(Ok(5));
    monitor.process().unwrap();
    assert_eq!(client.rest(), [r#"{"return": 5}"#]);
}

#[test]
fn dead_client_is_closed_and_others_are_served() {
    let mut monitor = monitor(|builder| builder);
    let mut reading = client(&mut monitor);
    for _ in 0..20 {
        drop(client(&mut monitor));
    }
    flood(&mut monitor, 10);
    assert_eq!(reading.lines_now().len(), 10);
    monitor.process().unwrap();
    assert_eq!(monitor.stats().connections, 1);
    assert_eq!(monitor.stats().connected, 21);
}

/// Commands of a client that disconnects without waiting for replies are run all the same, as in QEMU.
#[test]
fn commands_of_disconnected_client_are_run() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let note = Command::new("note")
        .run_untyped(move |_| sender.send(()).map_err(|_| qmp_server::Refusal::generic("")));
    let mut monitor = monitor(|builder| builder.command(note));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"note"}"#);
    drop(client);
    monitor.process().unwrap();
    assert!(receiver.try_recv().is_ok());
}

#[test]
fn incomplete_message_is_discarded_with_its_connection() {
    let mut monitor = monitor(|builder| builder);
    let mut first = client(&mut monitor);
    first.send(r#"{"execute":"query-"#);
    monitor.process().unwrap();
    drop(first);
    let mut second = client(&mut monitor);
    second.send(QUERY);
    monitor.process().unwrap();
    assert_eq!(second.lines_now(), [REPLY]);
}

#[test]
fn clients_beyond_the_limit_wait_in_the_backlog() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let mut monitor = monitor(|builder| builder.connections_max(1));
    monitor.listen(Listener::unix(&path).unwrap()).unwrap();
    let mut first = Client::new(UnixStream::connect(&path).unwrap());
    let mut second = Client::new(UnixStream::connect(&path).unwrap());
    second.send(r#"{"execute":"qmp_capabilities"}"#);
    monitor.process().unwrap();
    assert_eq!(first.lines_now().len(), 1);
    assert_eq!(second.lines_now().len(), 0, "no greeting yet");
    drop(first);
    monitor.process().unwrap();
    monitor.process().unwrap();
    monitor.process().unwrap();
    assert_eq!(second.lines_now().len(), 2, "the greeting and the reply to its request");
}

#[test]
fn monitor_listens_at_unix_and_tcp_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let inherited_path = directory.path().join("inherited");
    let (tcp, address) = Listener::tcp("127.0.0.1:0").unwrap();
    let inherited: OwnedFd = UnixListener::bind(&inherited_path).unwrap().into();
    let monitor = monitor(|builder| builder).spawn().unwrap();
    monitor.listen(Listener::unix(&path).unwrap());
    monitor.listen(tcp);
    monitor.listen(Listener::from_fd(inherited).unwrap());
    monitor.listen(UnixListener::bind(directory.path().join("std")).unwrap());
    for path in [&path, &inherited_path, &directory.path().join("std")] {
        let mut client = Client::new(UnixStream::connect(path).unwrap());
        client.negotiate();
        assert_eq!(client.ask(QUERY), REPLY);
    }
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(format!(r#"{{"execute":"qmp_capabilities"}}{QUERY}"#).as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let text = std::io::read_to_string(client).unwrap();
    assert!(text.ends_with(&format!("{REPLY}\r\n")), "{text}");
    monitor.stop().unwrap();
    assert!(!path.exists(), "the socket goes with the monitor");
}

#[test]
fn stale_socket_is_replaced_and_used_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    drop(UnixListener::bind(&path).unwrap());
    let listener = Listener::unix(&path).unwrap();
    let refused = Listener::unix(&path).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    drop(listener);
}

/// A connection to a regular file is refused as one to a dead socket is: the file must not be taken for one.
#[test]
fn file_that_is_no_socket_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (file, folder, link) =
        (directory.path().join("file"), directory.path().join("folder"), directory.path().join("link"));
    std::fs::write(&file, "data").unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &folder, &link] {
        for listening in [Listener::unix(path), Listener::unix_with_mode(path, 0o600)] {
            let refused = listening.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists, "{path:?}: {refused}");
            assert!(refused.to_string().contains("is not a socket: move it away"), "{refused}");
        }
    }
    assert_eq!(std::fs::read_to_string(&link).unwrap(), "data");
}

#[test]
fn event_after_attach_wakes_the_loop() {
    let mut attached = monitor(|builder| builder);
    let _client = client(&mut attached);
    let (_ours, theirs) = UnixStream::pair().unwrap();
    attached.attach(theirs).unwrap();
    attached.emitter().emit(&event("STOP", "{}"));
    let mut watched = [PollFd::from_borrowed_fd(attached.as_fd(), PollFlags::IN)];
    let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut watched, Some(&no_wait)).unwrap(), 1);
}

/// Any loop works: here it is `poll`, which watches the monitor among the embedder's other descriptors.
#[test]
fn monitor_runs_in_the_loop_of_the_embedder() {
    let mut monitor = monitor(|builder| builder);
    let (ours, theirs) = UnixStream::pair().unwrap();
    monitor.attach(theirs).unwrap();
    let emitter = monitor.emitter();
    let client = std::thread::spawn(move || {
        let mut client = Client::new(ours);
        client.negotiate();
        emitter.emit(&event("STOP", "{}"));
        assert!(client.line().unwrap().ends_with(r#""event": "STOP"}"#));
        client.finish();
        client.rest()
    });
    while monitor.stats().connections > 0 {
        let mut watched = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
        let timeout = monitor.next_timeout().map(|timeout| timeout.try_into().unwrap());
        poll(&mut watched, timeout.as_ref()).unwrap();
        monitor.process().unwrap();
    }
    assert!(client.join().unwrap().is_empty());
}

#[test]
fn events_of_each_thread_keep_their_order() {
    const THREADS: usize = 4;
    const EVENTS: usize = 500;
    let monitor = monitor(|builder| builder).spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    monitor.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let emitter = monitor.emitter();
            std::thread::spawn(move || {
                for number in 0..EVENTS {
                    let data = format!(r#"{{"device": "{thread}", "path": "{number}"}}"#);
                    emitter.emit(&TextEvent { name: "DEVICE_DELETED", data: Some(&data) });
                }
            })
        })
        .collect();
    let mut next = [0_u64; THREADS];
    let mut last_time = (0, 0);
    for _ in 0..THREADS * EVENTS {
        let message: serde_json::Value = serde_json::from_str(&client.line().unwrap()).unwrap();
        let number = |name: &str| message["data"][name].as_str().unwrap().parse::<u64>().unwrap();
        let thread = usize::try_from(number("device")).unwrap();
        assert_eq!(number("path"), next[thread]);
        next[thread] += 1;
        let time = &message["timestamp"];
        let time = (time["seconds"].as_u64().unwrap(), time["microseconds"].as_u64().unwrap());
        assert!(time >= last_time, "timestamps of events that nothing held back do not go back");
        last_time = time;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(monitor);
    assert_eq!(client.rest().len(), 0);
}

#[test]
fn stop_sends_remaining_output_and_closes() {
    let monitor = monitor(|builder| builder).spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    monitor.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    let emitter = monitor.emitter();
    let watchdog = event("WATCHDOG", r#"{"action": "none"}"#);
    assert_eq!((emitter.emit(&watchdog), emitter.emit(&watchdog)), (EmitOutcome::Queued, EmitOutcome::Held));
    emitter.emit(&event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#));
    monitor.stop().unwrap();
    let names: Vec<_> = client
        .rest()
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, ["WATCHDOG", "SHUTDOWN", "WATCHDOG"]);
    assert_eq!(emitter.emit(&watchdog), EmitOutcome::Closed);
}

#[test]
fn event_larger_than_the_queue_reaches_a_client_that_reads() {
    let mut monitor = monitor(|builder| builder.any_event(true));
    let mut client = client(&mut monitor);
    let text = format!(r#"{{"text": "{}"}}"#, "a".repeat(2 * QUEUE_MAX_BYTES));
    let large = TextEvent { name: "__io.example_LARGE", data: Some(&text) };
    // The socket accepts a part of the first one; the second one waits as a whole.
    for _ in 0..2 {
        assert_eq!(monitor.emitter().emit(&large), EmitOutcome::Queued);
        monitor.process().unwrap();
    }
    let emitter = monitor.emitter();
    let thread = monitor.spawn().unwrap();
    for _ in 0..2 {
        assert!(client.line().unwrap().len() > text.len());
    }
    assert_eq!((emitter.stats().closed_slow, emitter.stats().overrun), (0, 0));
    thread.stop().unwrap();
}

//! The remaining output of a monitor that is stopped.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{io::ErrorKind, os::unix::net::UnixStream, time::Duration};

use qmp_events::{DatalessEvent, Event, RtcChange};
use qmp_server::{Command, EmitOutcome, Emitter, Listener, Monitor, MonitorThread, NoArguments, SlowReader};
use support::client::Client;

/// More than the buffers of a unix socket hold, and less than the monitor holds for one client.
const EVENTS: usize = 8000;

/// Longer than any client of these tests takes to read.
const PATIENCE: Duration = Duration::from_secs(60);

/// A monitor and a client that reads nothing after its negotiation, with [`EVENTS`] events for it.
fn behind(timeout: Duration) -> (MonitorThread, Emitter, Client) {
    let builder = Monitor::builder(11, 1, 3).stop_timeout(timeout).slow_reader(SlowReader::DropOldest);
    let thread = builder.build().unwrap().spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    let emitter = thread.emitter();
    for _ in 0..EVENTS {
        emitter.emit(&DatalessEvent::Stop);
    }
    (thread, emitter, client)
}

#[test]
fn client_that_reads_late_gets_all_output() {
    let (thread, emitter, mut client) = behind(PATIENCE);
    let stopping = std::thread::spawn(move || thread.stop().unwrap());
    // The monitor is closed for events before the client reads. This event is limited, and does not fill the queue.
    let change = Event::RtcChange(RtcChange::new(0, "/machine/rtc".into()));
    while emitter.emit(&change) != EmitOutcome::Closed {
        std::thread::yield_now();
    }
    let stops = client.rest().iter().filter(|line| line.contains("STOP")).count();
    stopping.join().unwrap();
    assert_eq!((stops, emitter.stats().unwritten), (EVENTS, 0));
}

#[test]
fn output_that_is_not_read_in_time_is_counted() {
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        let (thread, emitter, mut client) = behind(timeout);
        thread.stop().unwrap();
        let read = whole_lines(&mut client);
        let unwritten = usize::try_from(emitter.stats().unwritten).unwrap();
        assert!(unwritten > 0);
        assert_eq!(read + unwritten, EVENTS);
    }
}

#[test]
fn client_that_disconnects_does_not_delay_the_stop() {
    let (thread, emitter, client) = behind(PATIENCE);
    drop(client);
    thread.stop().unwrap();
    assert_eq!(emitter.stats().connections, 0);
}

#[test]
fn reply_to_the_command_that_stops_is_written() {
    let (thread, _, mut client) = behind(PATIENCE);
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
    let taken = std::sync::Arc::clone(&slot);
    thread.add_command(Command::new("quit").run(move |NoArguments {}| {
        drop(taken.lock().unwrap().take());
        Ok(())
    }));
    *slot.lock().unwrap() = Some(thread);
    client.send(r#"{"execute":"quit"}"#);
    let lines = client.rest();
    assert_eq!(lines.len(), EVENTS + 1);
    assert_eq!(lines[EVENTS], r#"{"return": {}}"#);
}

#[test]
fn shutdown_in_the_loop_of_the_embedder_waits_only_if_asked() {
    for wait in [None, Some(PATIENCE)] {
        let mut monitor = Monitor::builder(11, 1, 3).build().unwrap();
        let mut client = support::machine::client(&mut monitor);
        let emitter = monitor.emitter();
        for _ in 0..EVENTS {
            emitter.emit(&DatalessEvent::Stop);
        }
        let reading = std::thread::spawn(move || {
            if wait.is_none() {
                // Without a wait the client cannot be too early.
                std::thread::park();
            }
            whole_lines(&mut client)
        });
        match wait {
            Some(timeout) => monitor.shutdown_within(timeout),
            None => monitor.shutdown(),
        }
        reading.thread().unpark();
        let read = reading.join().unwrap();
        let unwritten = usize::try_from(emitter.stats().unwritten).unwrap();
        assert_eq!(read + unwritten, EVENTS);
        assert_eq!(unwritten > 0, wait.is_none());
    }
}

/// Returns the number of whole lines up to the end of the stream.
fn whole_lines(client: &mut Client) -> usize {
    use std::io::Read;
    let mut bytes = Vec::new();
    // A stream that is closed with unread input ends with an error.
    let _ = client.stream.read_to_end(&mut bytes);
    bytes.windows(2).filter(|pair| pair == b"\r\n").count()
}

#[test]
fn monitor_that_is_shut_down_accepts_no_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm");
    let mut monitor = Monitor::builder(11, 1, 3).build().unwrap();
    monitor.shutdown();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let listened = monitor.listen(Listener::unix(&path).unwrap());
    for outcome in [listened.map(drop), monitor.attach(theirs)] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotConnected);
    }
    assert!(!path.exists());
    assert_eq!(std::io::Read::read(&mut ours, &mut [0]).unwrap(), 0);
}

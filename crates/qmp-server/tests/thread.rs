//! A monitor on its thread, and calls from that thread and from ending ones.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    cell::RefCell,
    io::ErrorKind,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use qmp_events::DatalessEvent;
use qmp_server::{
    Command, EmitOutcome, Emitter, Listener, Monitor, MonitorThread, NoArguments, Refusal, TextEvent,
};
use support::{client::Client, machine};

/// Returns a client in command mode.
fn attach(thread: &MonitorThread) -> Client {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    client
}

/// A monitor on its thread with a command `quit`, which gets the monitor's thread; its emitter and a client.
fn with_quit(quit: impl Fn(MonitorThread) + Send + 'static) -> (Emitter, Client) {
    let slot: Arc<Mutex<Option<MonitorThread>>> = Arc::default();
    let taken = Arc::clone(&slot);
    let command = Command::new("quit").run(move |NoArguments {}| {
        quit(taken.lock().unwrap().take().unwrap());
        Ok(())
    });
    let thread = Monitor::builder(11, 1, 3).command(command).build().unwrap().spawn().unwrap();
    let (emitter, client) = (thread.emitter(), attach(&thread));
    *slot.lock().unwrap() = Some(thread);
    (emitter, client)
}

/// Sends `quit` and a later command: the reply to `quit` arrives, then the end, and the monitor is closed.
fn assert_quits((emitter, mut client): (Emitter, Client)) {
    assert_eq!(client.ask(r#"{"execute":"quit"}"#), r#"{"return": {}}"#);
    assert_eq!(client.line(), None);
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Closed);
    assert_eq!(emitter.stats().panics, 0);
}

#[test]
fn stop_in_a_command_ends_the_monitor_after_the_reply() {
    assert_quits(with_quit(|thread| thread.stop().unwrap()));
}

#[test]
fn drop_in_a_command_ends_the_monitor_after_the_reply() {
    assert_quits(with_quit(drop));
}

#[test]
fn hand_over_in_a_command_is_refused_and_ends_the_monitor() {
    let hand_over =
        |thread: MonitorThread| assert_eq!(thread.hand_over().unwrap_err().kind(), ErrorKind::Deadlock);
    assert_quits(with_quit(hand_over));
}

#[test]
fn removed_command_that_owns_the_monitor_thread_ends_the_monitor_after_the_reply() {
    let slot: Arc<Mutex<Option<MonitorThread>>> = Arc::default();
    let (owned, used) = (Arc::clone(&slot), Arc::downgrade(&slot));
    let keep = Command::new("keep").run(move |NoArguments {}| Ok(owned.lock().unwrap().is_some()));
    let quit = Command::new("quit").run(move |NoArguments {}| {
        used.upgrade().unwrap().lock().unwrap().as_ref().unwrap().remove_command("keep");
        Ok(())
    });
    let monitor = Monitor::builder(11, 1, 3).command(keep).command(quit).build().unwrap();
    let thread = monitor.spawn().unwrap();
    let (emitter, client) = (thread.emitter(), attach(&thread));
    *slot.lock().unwrap() = Some(thread);
    drop(slot);
    assert_quits((emitter, client));
}

#[test]
fn wait_for_client_in_a_command_returns_deadlock_unless_a_client_has_connected() {
    let slot: Arc<OnceLock<(MonitorThread, qmp_server::ListenerId)>> = Arc::default();
    let used = Arc::downgrade(&slot);
    let waits = move |limit: Option<Duration>| {
        let used = used.clone();
        move |NoArguments {}| {
            let slot = used.upgrade().unwrap();
            let (thread, listener) = slot.get().unwrap();
            let waited = match limit {
                None => thread.wait_for_client(*listener),
                Some(limit) => thread.wait_for_client_timeout(*listener, limit),
            };
            waited.map_err(|error| Refusal::generic(format!("{:?}", error.kind())))
        }
    };
    let builder = Monitor::builder(11, 1, 3)
        .command(Command::new("wait").run(waits(None)))
        .command(Command::new("wait-long").run(waits(Some(Duration::MAX))));
    let thread = builder.build().unwrap().spawn().unwrap();
    let mut client = attach(&thread);
    let (listener, address) = Listener::tcp("127.0.0.1:0").unwrap();
    let listener = thread.listen(listener);
    slot.set((thread, listener)).unwrap();
    for command in ["wait", "wait-long"] {
        let reply = client.ask(&format!(r#"{{"execute":"{command}"}}"#));
        assert!(reply.contains(r#""desc": "Deadlock""#), "{reply}");
    }
    let _connected = std::net::TcpStream::connect(address).unwrap();
    slot.get().unwrap().0.wait_for_client(listener).unwrap();
    assert_eq!(client.ask(r#"{"execute":"wait"}"#), r#"{"return": {}}"#);
}

#[test]
fn spawn_with_a_nul_in_the_name_returns_invalid_input() {
    let monitor = Monitor::builder(11, 1, 3).build().unwrap();
    let emitter = monitor.emitter();
    let error = monitor.spawn_with("a\0b", || Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Closed);
}

#[test]
fn emit_in_the_destructor_of_a_thread_local_is_queued() {
    struct EmitOnDrop(Emitter);
    impl Drop for EmitOnDrop {
        fn drop(&mut self) {
            assert_eq!(self.0.emit(&TextEvent { name: "RESUME", data: None }), EmitOutcome::Queued);
        }
    }
    thread_local! {
        static LAST: RefCell<Option<EmitOnDrop>> = const { RefCell::new(None) };
    }
    let mut monitor = Monitor::builder(11, 1, 3).build().unwrap();
    let mut client = machine::client(&mut monitor);
    for emits_before in [false, true] {
        let emitter = monitor.emitter();
        let device = std::thread::spawn(move || {
            if emits_before {
                emitter.emit(&DatalessEvent::Stop);
            }
            LAST.set(Some(EmitOnDrop(emitter.clone())));
            // The buffer of `emit` is created after the thread-local in the first case, before it in the second.
            emitter.emit(&DatalessEvent::Stop);
        });
        device.join().unwrap();
    }
    monitor.process().unwrap();
    let lines = client.lines_now();
    assert_eq!(lines.iter().filter(|line| line.contains("RESUME")).count(), 2, "{lines:?}");
}

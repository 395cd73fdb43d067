//! Panics of the embedder's code: the client gets an error, and a monitor that ended reports it.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::ErrorKind,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use qmp_events::DatalessEvent;
use qmp_server::{
    Command, EmitOutcome, Monitor, MonitorBuilder, MonitorThread, NoArguments, PendingCommand, RunState,
    TextEvent, TimeSource, Validation,
};
use support::{
    client::Client,
    machine::{client, unnegotiated_client},
};

fn monitor(describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder) -> Monitor {
    describe(Monitor::builder(11, 1, 3)).build().unwrap()
}

fn panicked(command: &str) -> String {
    format!(r#"{{"error": {{"class": "GenericError", "desc": "The command {command} panicked"}}}}"#)
}

/// A value whose drop panics.
struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// A command whose code holds a [`PanicOnDrop`].
fn command_that_panics_on_drop(name: &str) -> Command {
    let value = PanicOnDrop;
    Command::new(name).run(move |NoArguments {}| {
        let _ = &value;
        Ok(())
    })
}

/// An event that violates every release.
const INVALID: TextEvent<'_> = TextEvent { name: "STOP", data: Some(r#"{"why": 1}"#) };

/// A clock that panics once it is broken.
#[derive(Clone, Debug, Default)]
struct FragileClock(Arc<AtomicBool>);

impl TimeSource for FragileClock {
    fn monotonic(&self) -> Instant {
        assert!(!self.0.load(SeqCst), "the clock is broken");
        Instant::now()
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
    }
}

/// A monitor on its thread, with a client in command mode, whose thread was ended by a panic.
fn ended_by_panic() -> (MonitorThread, Client) {
    let clock = FragileClock::default();
    let thread = monitor(|builder| builder.clock(clock.clone())).spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    clock.0.store(true, SeqCst);
    thread.emitter().emit(&DatalessEvent::Stop);
    client.rest();
    (thread, client)
}

#[test]
fn panicking_command_gets_generic_error_and_the_monitor_serves_on() {
    let mut monitor = monitor(|builder| {
        builder
            .command(Command::new("typed").run(|NoArguments {}| -> Result<(), _> { panic!("typed") }))
            .command(Command::new("untyped").run_untyped(|_| -> Result<(), _> { panic!("untyped") }))
            .command(Command::new("accept").hand_over(|_| panic!("accept")))
    });
    let (mut client, mut other) = (client(&mut monitor), client(&mut monitor));
    for command in ["typed", "untyped", "accept", "typed"] {
        client.send(format!(r#"{{"execute":"{command}"}}"#));
        monitor.process().unwrap();
        assert_eq!(client.lines_now(), [panicked(command)], "{command}");
    }
    monitor.emitter().emit(&DatalessEvent::Stop);
    monitor.process().unwrap();
    assert_eq!((client.lines_now().len(), other.lines_now().len()), (1, 1), "events still arrive");
    assert_eq!(monitor.stats().panics, 4);
}

#[test]
fn panic_after_hand_over_gives_one_reply() {
    let mut monitor = monitor(|builder| {
        let reply_and_panic = |command: PendingCommand| {
            command.reply(Ok(()));
            panic!("after the reply");
        };
        builder.command(Command::new("accept").hand_over(reply_and_panic))
    });
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"accept"}{"execute":"query-name"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now(), [r#"{"return": {}}"#, r#"{"return": {}}"#]);
    assert_eq!(monitor.stats().panics, 1);
}

#[test]
fn panicking_run_state_fails_query_status_only() {
    let mut monitor = monitor(|builder| builder.run_state(|| -> RunState { panic!("no state") }));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"query-status"}{"execute":"query-name"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now(), [panicked("query-status"), r#"{"return": {}}"#.into()]);
}

#[test]
fn panicking_ready_when_fails_the_command_only() {
    let mut monitor = monitor(|builder| builder.ready_when(|| panic!("not known")));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"query-name"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now(), [panicked("query-name")]);
}

#[test]
fn panicking_on_invalid_in_the_loop_is_counted_and_the_event_is_sent() {
    let mut monitor = monitor(|builder| {
        builder.validation(Validation::Count).on_invalid(|invalid| panic!("reported: {invalid}"))
    });
    let mut client = client(&mut monitor);
    monitor.emitter().emit(&INVALID);
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1);
    let stats = monitor.stats();
    assert_eq!((stats.invalid, stats.panics), (1, 1));
}

#[test]
fn panicking_on_invalid_in_emit_and_in_a_command_is_counted_and_the_output_is_refused() {
    let mut monitor = monitor(|builder| {
        builder
            .validation(Validation::Refuse)
            .on_invalid(|invalid| panic!("reported: {invalid}"))
            .command(Command::new("wrong").run(|NoArguments {}| Ok("no object")))
            .command(Command::new("later").hand_over(|command| command.reply(Ok("no object"))))
    });
    let mut client = client(&mut monitor);
    assert_eq!(monitor.emitter().emit(&INVALID), EmitOutcome::Invalid);
    for command in ["wrong", "later"] {
        client.send(format!(r#"{{"execute":"{command}"}}"#));
        monitor.process().unwrap();
        let lines = client.lines_now();
        let refusal = format!("Invalid return value of {command}: ");
        assert!(lines.len() == 1 && lines[0].contains(&refusal), "{lines:?}");
    }
    let stats = monitor.stats();
    assert_eq!((stats.invalid, stats.panics), (3, 3));
}

#[test]
fn panic_payload_that_panics_on_drop_fails_the_command_only() {
    let mut monitor = monitor(|builder| {
        let run = |NoArguments {}| -> Result<(), _> { std::panic::panic_any(PanicOnDrop) };
        builder.command(Command::new("typed").run(run))
    });
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"typed"}{"execute":"query-name"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now(), [panicked("typed"), r#"{"return": {}}"#.into()]);
    assert_eq!(monitor.stats().panics, 1);
}

#[test]
fn removed_and_replaced_commands_that_panic_on_drop_do_not_end_the_monitor() {
    let thread = monitor(|builder| {
        builder.command(command_that_panics_on_drop("remove")).command(command_that_panics_on_drop("replace"))
    });
    let thread = thread.spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    thread.remove_command("remove");
    thread.add_command(Command::new("replace"));
    assert!(client.ask(r#"{"execute":"remove"}"#).contains("CommandNotFound"));
    assert_eq!(client.ask(r#"{"execute":"replace"}"#), r#"{"return": {}}"#);
    thread.stop().unwrap();
}

#[test]
fn hooks_that_panic_on_drop_do_not_fail_stop() {
    let values = [(); 5].map(|()| PanicOnDrop);
    let [run_state, ready, admit, notice, report] = values;
    let thread = monitor(|builder| {
        builder
            .command(command_that_panics_on_drop("first"))
            .command(command_that_panics_on_drop("second"))
            .command(Command::new("accept").hand_over({
                let value = PanicOnDrop;
                move |_| {
                    let _ = &value;
                }
            }))
            .run_state(move || {
                let _ = &run_state;
                RunState::Running
            })
            .ready_when(move || {
                let _ = &ready;
                true
            })
            .on_connect(move |_| {
                let _ = &admit;
                true
            })
            .on_disconnect(move |_| {
                let _ = &notice;
            })
            .on_invalid(move |_| {
                let _ = &report;
            })
    });
    let thread = thread.spawn().unwrap();
    thread.stop().unwrap();
}

#[test]
fn emit_after_the_thread_panicked_returns_closed() {
    let (thread, _client) = ended_by_panic();
    let emitter = thread.emitter();
    while !thread.is_finished() {
        std::thread::yield_now();
    }
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Closed);
    assert_eq!(emitter.stats().connections, 0, "none is open any more");
    let error = thread.stop().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("the clock is broken"), "{error}");
}

#[test]
fn attaching_after_the_thread_panicked_closes_the_client() {
    let (thread, _client) = ended_by_panic();
    while !thread.is_finished() {
        std::thread::yield_now();
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    assert_eq!(Client::new(ours).line(), None);
}

#[test]
fn running_thread_is_not_finished() {
    let thread = monitor(|builder| builder).spawn().unwrap();
    assert!(!thread.is_finished());
    thread.stop().unwrap();
}

#[test]
fn emit_after_the_monitor_was_dropped_returns_closed() {
    let mut monitor = monitor(|builder| builder);
    let mut client = client(&mut monitor);
    let mut silent = unnegotiated_client(&mut monitor);
    let emitter = monitor.emitter();
    assert_eq!(emitter.stats().connections, 2);
    drop(monitor);
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Closed);
    assert_eq!(emitter.stats().connections, 0);
    assert!(client.is_closed() && silent.is_closed());
}

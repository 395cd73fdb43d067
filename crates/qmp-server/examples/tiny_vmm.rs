//! A VMM in about fifty lines, all of it but the machine: `cargo run -p qmp-server --example tiny_vmm /tmp/vm.sock`, then
//! `qmp-shell /tmp/vm.sock`.

use std::sync::{Arc, Mutex, mpsc};

use qmp_events::{DatalessEvent, Event, Shutdown, ShutdownCause};
use qmp_server::{Command, Listener, Monitor, NoArguments, ObjectType, RunState, Type};

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/vm.sock".into());
    let state = Arc::new(Mutex::new(RunState::Running));

    // Commands that touch the machine are handed to its own loop, below; they are answered from there.
    let (sender, commands) = mpsc::channel();
    let hand_over = |name: &str| {
        let sender = sender.clone();
        Command::new(name).hand_over(move |command| {
            // Without a loop that listens, the command is dropped and answers with an error.
            let _ = sender.send(command);
        })
    };

    // Claim a release: its events, rate limits and error texts are what clients get.
    let seen = Arc::clone(&state);
    let mut monitor = Monitor::builder(11, 1, 3)
        .name("tiny")
        .run_state(move || *seen.lock().expect("nobody panics with it"))
        .command(hand_over("stop"))
        .command(hand_over("cont"))
        .command(hand_over("quit"))
        // A command that needs nothing of the machine runs in the monitor's own thread.
        .command(
            Command::new("query-kvm")
                .returns(
                    ObjectType::new("KvmInfo")
                        .required("enabled", Type::Bool)
                        .required("present", Type::Bool),
                )
                .run(|NoArguments {}| {
                    Ok(std::collections::BTreeMap::from([("enabled", true), ("present", true)]))
                }),
        )
        .build()?;
    monitor.listen(Listener::unix(&path)?)?;

    // One thread serves all clients. A VMM with an event loop uses `as_fd`, `next_timeout` and `process` instead.
    let monitor = monitor.spawn()?;
    let emitter = monitor.emitter();

    // The machine's loop. `emit` waits for nobody: call it from a vCPU or device thread as you please.
    for command in commands {
        let mut state = state.lock().expect("nobody panics with it");
        match (command.name(), *state) {
            ("stop", RunState::Running) => {
                *state = RunState::Paused;
                emitter.emit(&DatalessEvent::Stop);
            }
            ("cont", RunState::Paused) => {
                *state = RunState::Running;
                emitter.emit(&DatalessEvent::Resume);
            }
            ("quit", _) => {
                emitter.emit(&Event::Shutdown(Shutdown::new(false, ShutdownCause::HostQmpQuit)));
                command.answer(Ok(()));
                break;
            }
            _ => {}
        }
        // What was emitted before stands before this answer, on every connection.
        command.answer(Ok(()));
    }
    monitor.stop()
}

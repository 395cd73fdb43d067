//! A VMM without a machine, with two sockets, its own event, storms, and a command that panics:
//! `cargo run -p qmp-server --example tiny_vmm unix:/tmp/vm.sock,server=on,wait=off unix:/tmp/vm2.sock,server=on,wait=off`,
//! then `qmp-shell /tmp/vm.sock`.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use qmp_events::{DatalessEvent, Event, RtcChange, Shutdown, ShutdownCause};
use qmp_server::{
    Command, DescriptorStore, Emitter, Listener, Monitor, NamedEvent, NoArguments, ObjectType,
    PendingCommand, RunState, SlowReader, SocketOptions, Type,
};
use serde::{Deserialize, Serialize};

const LEVEL: &str = "__org.example_LEVEL";

/// The machine, as far as QMP is concerned.
struct Machine {
    state: Arc<Mutex<RunState>>,
    emitter: Emitter,
}

#[derive(Deserialize)]
struct Storm {
    count: u32,
}

#[derive(Serialize)]
struct Level {
    level: u32,
}

fn main() -> io::Result<()> {
    let default = ["unix:/tmp/vm.sock,server=on,wait=off", "unix:/tmp/vm2.sock,server=on,wait=off"];
    let mut sockets: Vec<String> = std::env::args().skip(1).collect();
    if sockets.is_empty() {
        sockets.extend(default.map(String::from));
    }
    serve(&sockets)
}

/// Serves at these sockets until a client sends `quit`.
pub fn serve(sockets: &[String]) -> io::Result<()> {
    let state = Arc::new(Mutex::new(RunState::Running));
    let (sender, commands) = mpsc::channel();
    let mut monitor = describe(&state, &sender).build()?;
    for (number, text) in sockets.iter().enumerate() {
        let options: SocketOptions = text.parse().map_err(io::Error::other)?;
        // The first socket is for one manager, as in QEMU; the others are for any number of observers, which may be
        // slow.
        let listener = Listener::open(&options)?;
        let listener = match number {
            0 => listener.connections_max(1),
            _ => listener.slow_reader(SlowReader::DropOldest),
        };
        let id = monitor.listen(listener)?;
        if options.wait {
            monitor.wait_for_client(id)?;
        }
    }
    // One thread serves all clients; a seccomp filter would be installed in the closure. A VMM with an event loop
    // watches `as_fd` and calls `process` instead.
    let monitor = monitor.spawn_with("qmp", || Ok(()))?;
    let mut machine = Machine { state, emitter: monitor.emitter() };
    // The machine's loop. `emit` never waits: call it from any vCPU or device thread.
    for command in commands {
        if !machine.run(command) {
            break;
        }
    }
    monitor.stop()
}

/// Describes the monitor: the QEMU release and the commands. Commands for the machine go to its loop.
fn describe(
    state: &Arc<Mutex<RunState>>,
    sender: &mpsc::Sender<PendingCommand>,
) -> qmp_server::MonitorBuilder {
    let hand_over = |command: Command| {
        let sender = sender.clone();
        command.hand_over(move |command| {
            // If the loop has ended, the command is dropped and gets an error as its reply.
            let _ = sender.send(command);
        })
    };
    let (seen, user) = (Arc::clone(state), rustix::process::geteuid().as_raw());
    let kvm = ObjectType::new("KvmInfo").required("enabled", Type::Bool).required("present", Type::Bool);
    Monitor::builder(11, 1, 3)
        .name("tiny")
        .run_state(move || *seen.lock().unwrap_or_else(PoisonError::into_inner))
        .descriptors(&DescriptorStore::new())
        .event(LEVEL, ObjectType::default().required("level", Type::Uint32))
        // Only for processes of the same user, as reported by the kernel.
        .on_connect(move |caller| caller.credentials().is_some_and(|peer| peer.uid == user))
        .command(hand_over(Command::new("stop")))
        .command(hand_over(Command::new("cont")))
        .command(hand_over(Command::new("quit")))
        .command(hand_over(Command::new("x-storm").required("count", Type::Uint32)))
        // Commands that do not need the machine run in the monitor's own thread.
        .command(Command::new("query-kvm").returns(kvm).run(|NoArguments {}| {
            Ok(std::collections::BTreeMap::from([("enabled", true), ("present", true)]))
        }))
        // Its client gets GenericError, and the monitor continues to serve all others.
        .command(Command::new("x-panic").run(|NoArguments {}| -> Result<(), _> { panic!("on purpose") }))
}

impl Machine {
    /// Runs a command and replies to it. Events emitted before precede the reply on every connection. Returns
    /// whether the machine continues.
    fn run(&mut self, command: PendingCommand) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (command.name(), *state) {
            ("stop", RunState::Running) => {
                *state = RunState::Paused;
                self.emitter.emit(&DatalessEvent::Stop);
            }
            ("cont", RunState::Paused) => {
                *state = RunState::Running;
                self.emitter.emit(&DatalessEvent::Resume);
            }
            ("x-storm", _) => match command.read_arguments() {
                Ok(Storm { count }) => self.storm(count),
                Err(error) => {
                    command.reply(Err::<(), _>(error));
                    return true;
                }
            },
            ("quit", _) => {
                let shutdown = Shutdown::new(false, ShutdownCause::HostQmpQuit);
                self.emitter.emit(&Event::Shutdown(shutdown));
                command.reply(Ok(()));
                return false;
            }
            _ => {}
        }
        command.reply(Ok(()));
        true
    }

    /// Emits many events at once: the clock's are limited to one a second, the embedder's own are not.
    fn storm(&self, count: u32) {
        for level in 0..count {
            self.emitter.emit(&Event::RtcChange(RtcChange::new(level.into(), "/machine/rtc".into())));
            self.emitter.emit(&NamedEvent { name: LEVEL, data: Level { level } });
        }
    }
}

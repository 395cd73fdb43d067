//! Configuration of a monitor.

use std::{collections::BTreeMap, fmt, io, sync::Arc, time::Duration};

use qmp_events::{Release, RunState};
use qmp_host::poller::Poller;
use qmp_wire::server::Profile;

use crate::{
    builtin::{self, Machine},
    caller::Caller,
    command::Command,
    commands::Commands,
    descriptor_store::DescriptorStore,
    emitter::SharedState,
    handover::Handover,
    monitor::{Monitor, OnConnect, OnDisconnect, Parts},
    names::{EventNameError, check_event_name, is_uuid},
    outgoing,
    panics::Hook,
    queue::QUEUE_MAX_BYTES,
    rules::{HiddenOutput, Rules},
    slow_reader::SlowReader,
    time_source::{HostClock, TimeSource},
    types::ObjectType,
    validation::{InvalidOutput, Policy, Validation},
};

/// Maximum number of bytes that wait for one client before it counts as a slow reader.
///
/// The same as the limit of the queue to the monitor's loop: a client that reads is never closed because of events
/// that arrived while the loop did not run. The reply to `query-qmp-schema` has a third of it.
pub const OUTPUT_MAX_BYTES: usize = QUEUE_MAX_BYTES;

/// Maximum number of connections; further clients wait in the backlog of their listener, as a QEMU's second client
/// does.
pub const CONNECTIONS_MAX: usize = 4096;

/// Default time for which [`MonitorThread::stop`](crate::MonitorThread::stop) waits until the clients have taken the
/// remaining output.
///
/// A client that reads at all empties its socket in milliseconds; a client that does not delays the end by this time.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);

impl Monitor {
    /// Returns the builder of a monitor that claims to be a QEMU of that version.
    #[must_use]
    pub fn builder(major: u32, minor: u32, micro: u32) -> MonitorBuilder {
        MonitorBuilder::new(major, minor, micro)
    }
}

/// Configuration of a monitor; [`build`](Self::build) creates it.
pub struct MonitorBuilder {
    profile: Profile,
    name: Option<Box<str>>,
    uuid: Box<str>,
    run_state: Hook<dyn Fn() -> RunState + Send>,
    ready: Hook<dyn Fn() -> bool + Send>,
    commands: Vec<Command>,
    events: BTreeMap<Box<str>, ObjectType>,
    any_event: bool,
    hidden: HiddenOutput,
    lose_held: bool,
    stop_timeout: Duration,
    slow_reader: SlowReader,
    output_max_bytes: usize,
    connections_max: usize,
    clock: Box<dyn TimeSource>,
    policy: Policy,
    on_connect: Option<OnConnect>,
    on_disconnect: Option<OnDisconnect>,
}

impl MonitorBuilder {
    pub(crate) fn new(major: u32, minor: u32, micro: u32) -> Self {
        // Source: out-of-band execution is offered by default since 4.0.
        let profile = Profile {
            version: (major, minor, micro),
            package: "".into(),
            out_of_band: major >= 4,
            pretty: false,
        };
        Self {
            profile,
            name: None,
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            run_state: Hook::new(Box::new(|| RunState::Running)),
            ready: Hook::new(Box::new(|| true)),
            commands: Vec::new(),
            events: BTreeMap::new(),
            any_event: false,
            hidden: HiddenOutput::default(),
            lose_held: false,
            stop_timeout: STOP_TIMEOUT,
            slow_reader: SlowReader::default(),
            output_max_bytes: OUTPUT_MAX_BYTES,
            connections_max: CONNECTIONS_MAX,
            clock: Box::new(HostClock),
            policy: Policy { validation: Validation::default(), report: None },
            on_connect: None,
            on_disconnect: None,
        }
    }

    /// Sets the package text of the greeting; empty by default, as in a QEMU released upstream.
    #[must_use]
    pub fn package(mut self, package: &str) -> Self {
        self.profile.package = package.into();
        self
    }

    /// Sets whether out-of-band execution is offered: by default since 4.0.
    #[must_use]
    pub fn out_of_band(mut self, offered: bool) -> Self {
        self.profile.out_of_band = offered;
        self
    }

    /// Sets whether every message is spread over many lines, as with `pretty=on`.
    #[must_use]
    pub fn pretty(mut self, pretty: bool) -> Self {
        self.profile.pretty = pretty;
        self
    }

    /// Sets the machine's name, for `query-name`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the machine's UUID, for `query-uuid`: 32 hexadecimal digits and hyphens, returned in lower case as QEMU does.
    /// [`build`](Self::build) refuses any other text.
    #[must_use]
    pub fn uuid(mut self, uuid: &str) -> Self {
        self.uuid = uuid.into();
        self
    }

    /// Sets the function that returns the run state, for `query-status`. Called by the monitor's loop; must not
    /// block.
    #[must_use]
    pub fn run_state(mut self, run_state: impl Fn() -> RunState + Send + 'static) -> Self {
        self.run_state = Hook::new(Box::new(run_state));
        self
    }

    /// Sets the function that returns whether the machine is initialized: before, only commands with
    /// [`Command::allow_in_preconfig`] are run.
    #[must_use]
    pub fn ready_when(mut self, ready: impl Fn() -> bool + Send + 'static) -> Self {
        self.ready = Hook::new(Box::new(ready));
        self
    }

    /// Registers a command. It replaces an earlier one of the same name, also a built-in one.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.commands.push(command);
        self
    }

    /// Registers the commands by which clients leave descriptors in `store`: `getfd`, `closefd`, `add-fd`,
    /// `remove-fd` and `query-fdsets`.
    #[must_use]
    pub fn descriptors(mut self, store: &DescriptorStore) -> Self {
        self.commands.extend(store.commands());
        self
    }

    /// Registers an event of the embedder, with its data. QEMU's rule: the name begins with `__` and a domain.
    /// [`build`](Self::build) refuses a name that QAPI does not allow: see [`check_event_name`](crate::check_event_name).
    #[must_use]
    pub fn event(mut self, name: &str, data: ObjectType) -> Self {
        self.events.insert(name.into(), data);
        self
    }

    /// Sets whether events of any name that QAPI allows are sent, also of names that are neither in the release nor
    /// registered.
    #[must_use]
    pub fn any_event(mut self, any: bool) -> Self {
        self.any_event = any;
        self
    }

    /// Sets whether held events are lost when the monitor is shut down, as in QEMU; by default they are sent.
    #[must_use]
    pub fn lose_held_at_shutdown(mut self, lose: bool) -> Self {
        self.lose_held = lose;
        self
    }

    /// Sets the time for which [`MonitorThread::stop`](crate::MonitorThread::stop) waits until the clients have taken the
    /// remaining output: [`STOP_TIMEOUT`] by default. Output that is not written then is discarded, and counted in
    /// [`Stats::unwritten`](crate::Stats::unwritten).
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Sets the parts of events to leave out, as QEMU's `-compat` does.
    #[must_use]
    pub fn hide(mut self, hidden: HiddenOutput) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets the policy for a client that does not read.
    #[must_use]
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.slow_reader = policy;
        self
    }

    /// Sets the maximum number of bytes that wait for one client: [`OUTPUT_MAX_BYTES`] by default.
    #[must_use]
    pub fn output_max_bytes(mut self, bytes: usize) -> Self {
        self.output_max_bytes = bytes;
        self
    }

    /// Sets the maximum number of connections over all listeners: [`CONNECTIONS_MAX`] by default. A QEMU has one
    /// for each listener: [`Listener::connections_max`](crate::Listener::connections_max).
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Sets the policy for events and return values that violate their description: by default, builds with debug
    /// assertions refuse to send them, others count them.
    #[must_use]
    pub fn validation(mut self, validation: Validation) -> Self {
        self.policy.validation = validation;
        self
    }

    /// Calls `report` with each event and return value that violates its description, on the thread that finds it;
    /// must not block. By default, refused ones are written to the standard error stream.
    #[must_use]
    pub fn on_invalid(mut self, report: impl Fn(&InvalidOutput) + Send + Sync + 'static) -> Self {
        self.policy.report = Some(Hook::new(Box::new(report)));
        self
    }

    /// Calls `admit` in the monitor's loop with each client before it is greeted; a client for which it returns
    /// `false` is disconnected. Must not block.
    ///
    /// The kernel identifies the peer of a unix socket: [`Caller::credentials`].
    #[must_use]
    pub fn on_connect(mut self, admit: impl FnMut(&Caller) -> bool + Send + 'static) -> Self {
        self.on_connect = Some(Hook::new(Box::new(admit)));
        self
    }

    /// Calls `notice` in the monitor's loop with each client whose connection was closed, by either side. Must not
    /// block.
    #[must_use]
    pub fn on_disconnect(mut self, notice: impl FnMut(&Caller) + Send + 'static) -> Self {
        self.on_disconnect = Some(Hook::new(Box::new(notice)));
        self
    }

    /// Sets the clock: the clocks of the host by default.
    #[must_use]
    pub fn clock(mut self, clock: impl TimeSource + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Creates a monitor that continues where its predecessor stopped: see [`Monitor::hand_over`].
    ///
    /// Listeners keep their ids, connections get new ones. `on_connect` is not called for continued connections.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), and a system error if a socket cannot be watched.
    pub fn resume(self, handover: Handover) -> io::Result<Monitor> {
        let mut monitor = self.build()?;
        monitor.resume(handover)?;
        Ok(monitor)
    }

    /// Creates the monitor, without listeners.
    ///
    /// # Errors
    ///
    /// A system error if no file descriptors are available: a monitor needs three. [`io::ErrorKind::InvalidInput`] if the
    /// name of a registered event or the UUID is invalid.
    pub fn build(mut self) -> io::Result<Monitor> {
        let invalid_input = |error: EventNameError| io::Error::new(io::ErrorKind::InvalidInput, error);
        self.events.keys().try_for_each(|name| check_event_name(name)).map_err(invalid_input)?;
        if !is_uuid(&self.uuid) {
            let text = format!("invalid UUID: {:?}", self.uuid);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.uuid.make_ascii_lowercase();
        let (major, minor, micro) = self.profile.version;
        let release = Release::from_version(major, minor, micro);
        if self.slow_reader == SlowReader::DropOldest {
            self.events.insert(outgoing::EVENTS_DROPPED.into(), outgoing::dropped_data());
        }
        let machine = Machine { name: self.name, uuid: self.uuid, run_state: self.run_state };
        let builtin = builtin::commands(release, &self.profile, machine);
        let commands = Commands::new(release, self.events.clone(), builtin.into_iter().chain(self.commands));
        let rules = Rules::new(release, self.hidden, self.events, self.any_event);
        let poller = Poller::new()?;
        let shared = SharedState::new(rules, self.clock, self.policy, poller.waker());
        let parts = Parts {
            shared: Arc::new(shared),
            profile: Arc::new(self.profile),
            commands,
            ready: self.ready,
            lose_held: self.lose_held,
            stop_timeout: self.stop_timeout,
            slow_reader: self.slow_reader,
            output_max_bytes: self.output_max_bytes,
            connections_max: self.connections_max,
            on_connect: self.on_connect,
            on_disconnect: self.on_disconnect,
        };
        Ok(Monitor::new(poller, parts))
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MonitorBuilder").field("profile", &self.profile).finish_non_exhaustive()
    }
}

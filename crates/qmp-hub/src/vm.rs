//! One VM that the hub follows, and its status.

mod counters;
mod name;
mod origin;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use qmp_client::{Address, Commander, ExecuteError, ForwardedCommand, ReplySink};
use qmp_findings::QUERY_STATUS;
use qmp_host::lock;
use qmp_wire::UnixMicros;

use crate::commands::CommandsInFlight;
use crate::domain_commands::{DomainCommander, DomainLink};
use crate::in_use::NoGreetingCause;
use crate::relay::{RelayedVm, Tap};
use crate::silence::SilenceDetector;

pub use counters::{Counter, VmCounts};
pub(crate) use name::is_of_other_host;
pub use name::{VM_NAME_MAX_BYTES, VmName, VmNameError};
pub use origin::VmOrigin;

/// One VM.
#[derive(Debug)]
pub struct FollowedVm {
    /// Its name.
    pub name: VmName,
    /// Its monitor.
    pub address: Address,
    /// Where it came from.
    pub origin: VmOrigin,
    /// Executes commands in it.
    pub commander: Commander,
    /// Its counters.
    pub counts: VmCounts,
    pub(crate) tap: Tap,
    /// Whether the monitor answers.
    pub silence: SilenceDetector,
    /// Commands of clients that have no reply yet.
    pub commands: Arc<CommandsInFlight>,
    left_out: AtomicBool,
    /// Set if its events come through libvirt.
    libvirt: OnceLock<LibvirtLink>,
    process_watched: AtomicBool,
    /// Its UUID, from the last attachment.
    uuid: Mutex<Option<Box<str>>>,
    status: Mutex<VmStatus>,
}

/// How a VM is followed through libvirt.
#[derive(Debug)]
struct LibvirtLink {
    domain: DomainLink,
    commands: Option<DomainCommander>,
}

/// The status of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmStatus {
    /// The state of its connection.
    pub state: MonitorState,
    /// Since when it has this state.
    pub since: UnixMicros,
    /// Why it is not attached, or the error of the last attempt.
    pub error: Option<Box<str>>,
    /// The reason as a word, a constant of `reason`.
    pub reason: Option<&'static str>,
}

/// The state of the connection to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorState {
    /// Not attached since the hub started.
    Connecting,
    /// An epoch is open: no event is missing.
    Attached,
    /// The epoch closed; the hub tries to open the next one.
    Detached,
    /// The monitor is read, but the journal has no room: events are discarded.
    Overrun,
    /// The monitor accepts connections and does not greet: another client holds it, QEMU hangs, or it is no monitor.
    InUse,
}

impl MonitorState {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Attached => "attached",
            Self::Detached | Self::Overrun => "detached",
            Self::InUse => "in-use",
        }
    }
}

impl FollowedVm {
    pub(crate) fn new(
        name: VmName,
        address: Address,
        origin: VmOrigin,
        commander: Commander,
        now: UnixMicros,
    ) -> Self {
        let status =
            Mutex::new(VmStatus { state: MonitorState::Connecting, since: now, error: None, reason: None });
        Self {
            name,
            address,
            origin,
            commander,
            counts: VmCounts::default(),
            tap: Tap::default(),
            silence: SilenceDetector::default(),
            commands: Arc::default(),
            left_out: AtomicBool::default(),
            libvirt: OnceLock::new(),
            process_watched: AtomicBool::default(),
            uuid: Mutex::default(),
            status,
        }
    }

    /// The parts of it that its relays use.
    pub(crate) fn relayed(&self) -> RelayedVm<'_> {
        let Self { name, commander, commands, tap, .. } = self;
        RelayedVm { name: name.as_str(), commander, commands, tap }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> VmStatus {
        self.lock().clone()
    }

    /// An epoch opened.
    pub(crate) fn attached(&self, now: UnixMicros) {
        *self.lock() = VmStatus { state: MonitorState::Attached, since: now, error: None, reason: None };
    }

    /// The epoch closed because of `error`; `reason` is the word for it.
    pub(crate) fn detached(&self, error: &str, reason: Option<&'static str>, now: UnixMicros) {
        *self.lock() =
            VmStatus { state: MonitorState::Detached, since: now, error: Some(error.into()), reason };
    }

    /// The journal had no room for records of the VM.
    pub(crate) fn overrun(&self, now: UnixMicros) {
        let error = Some("the journal has no room; events are thrown away until it has".into());
        *self.lock() = VmStatus { state: MonitorState::Overrun, since: now, error, reason: None };
    }

    /// Whether events are being discarded.
    pub fn is_overrun(&self) -> bool {
        self.lock().state == MonitorState::Overrun
    }

    /// The monitor does not greet. Returns whether that, or the reason, changed. A VM that was attached by now stays
    /// attached: the reason is looked up while attempts continue.
    pub(crate) fn set_in_use(&self, why: &NoGreetingCause, now: UnixMicros) -> bool {
        let mut status = self.lock();
        if matches!(status.state, MonitorState::Attached | MonitorState::Overrun) {
            return false;
        }
        let was_in_use = status.state == MonitorState::InUse;
        let is_news = !was_in_use || status.reason != Some(why.reason);
        let since = if was_in_use { status.since } else { now };
        let error = Some(why.text.as_str().into());
        *status = VmStatus { state: MonitorState::InUse, since, error, reason: Some(why.reason) };
        is_news
    }

    /// Sets whether there was no descriptor for the VM at the last attempt.
    pub(crate) fn set_left_out(&self, is_left_out: bool) {
        self.left_out.store(is_left_out, Ordering::Relaxed);
    }

    /// Whether there was no descriptor for the VM at the last attempt.
    pub fn is_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Sets that its events come through libvirt, and `commands` go there, if the configuration allows commands.
    pub(crate) fn set_through_libvirt(&self, domain: DomainLink, commands: Option<DomainCommander>) {
        // It is set once, before the VM is added.
        let _ = self.libvirt.set(LibvirtLink { domain, commands });
    }

    /// Whether its events come through libvirt.
    #[must_use]
    pub fn is_through_libvirt(&self) -> bool {
        self.libvirt.get().is_some()
    }

    /// Whether clients may give it commands: a domain gets commands only if the configuration allows them.
    #[must_use]
    pub fn takes_commands(&self) -> bool {
        self.libvirt.get().is_none_or(|link| link.commands.is_some())
    }

    /// Forwards a command for a client; `sink` receives the reply when the events before it are recorded.
    ///
    /// # Errors
    ///
    /// As [`Commander::forward`]: the command was not queued, and `sink` is dropped.
    pub fn forward(
        &self,
        command: ForwardedCommand<'_>,
        sink: Box<dyn ReplySink>,
    ) -> Result<(), ExecuteError> {
        match self.libvirt.get() {
            None => self.commander.forward(command, sink),
            Some(LibvirtLink { commands: Some(commands), .. }) => commands.forward(command, sink),
            Some(LibvirtLink { commands: None, .. }) => Err(ExecuteError::NotAttached),
        }
    }

    /// Sends a question of the correlators; a domain's state is asked of libvirt, which answers as [`LIBVIRT_STATE`].
    ///
    /// # Errors
    ///
    /// As [`Commander::forward`]; `NotAttached` for another question about a domain.
    ///
    /// [`LIBVIRT_STATE`]: qmp_findings::LIBVIRT_STATE
    pub(crate) fn ask(&self, execute: &'static str, sink: Box<dyn ReplySink>) -> Result<(), ExecuteError> {
        match self.libvirt.get() {
            Some(link) if execute == QUERY_STATUS => link.domain.query_state(sink),
            Some(_) => Err(ExecuteError::NotAttached),
            None => {
                let command = ForwardedCommand {
                    command: execute,
                    arguments: None,
                    out_of_band: false,
                    descriptors: Vec::new(),
                };
                self.commander.forward(command, sink)
            }
        }
    }

    /// Sets whether a task waits for the end of its process.
    pub(crate) fn set_process_watched(&self, is_watched: bool) {
        self.process_watched.store(is_watched, Ordering::Relaxed);
    }

    /// Whether a task waits for the end of its process.
    pub(crate) fn is_process_watched(&self) -> bool {
        self.process_watched.load(Ordering::Relaxed)
    }

    /// Sets the UUID that the VM reported.
    pub(crate) fn set_uuid(&self, uuid: Option<&str>) {
        *lock(&self.uuid) = uuid.map(Box::from);
    }

    /// The UUID that the VM reported.
    pub(crate) fn uuid(&self) -> Option<Box<str>> {
        lock(&self.uuid).clone()
    }

    /// An attempt to attach failed. Returns whether the error differs from that of the attempt before.
    pub(crate) fn attempt_failed(&self, error: &str, reason: Option<&'static str>, now: UnixMicros) -> bool {
        let mut status = self.lock();
        if status.state == MonitorState::InUse {
            // The monitor is not in use any more.
            *status = VmStatus { state: MonitorState::Detached, since: now, error: None, reason: None };
        }
        let changed = status.error.as_deref() != Some(error);
        if changed {
            status.error = Some(error.into());
            status.reason = reason;
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, VmStatus> {
        // Each change is one assignment.
        lock(&self.status)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once() {
        let vm = vm("web1");
        //  error               is it news
        let cases = [
            ("no such file", true),
            ("no such file", false),
            ("connection refused", true),
            ("connection refused", false),
            ("no such file", true),
        ];
        for (error, news) in cases {
            assert_eq!(vm.attempt_failed(error, None, UnixMicros(1)), news, "{error}");
            assert_eq!(vm.status().error.as_deref(), Some(error));
        }
        vm.attached(UnixMicros(1));
        assert_eq!((vm.status().state, vm.status().error), (MonitorState::Attached, None));
        assert!(
            vm.attempt_failed("no such file", Some("no-such-socket"), UnixMicros(1)),
            "after an epoch it is news again"
        );
    }

    #[test]
    fn states_have_names() {
        let vm = vm("web1");
        assert_eq!((vm.status().state.name(), vm.is_overrun()), ("connecting", false));
        vm.attached(UnixMicros(1));
        assert_eq!((vm.status().state.name(), vm.is_overrun()), ("attached", false));
        vm.overrun(UnixMicros(2));
        assert_eq!((vm.status().state.name(), vm.is_overrun()), ("detached", true));
        vm.detached("peer closed", Some("peer-closed"), UnixMicros(3));
        assert_eq!((vm.status().state.name(), vm.is_overrun()), ("detached", false));
        assert_eq!(vm.status().since, UnixMicros(3));
        let why = |reason| NoGreetingCause { reason, text: "do this".to_owned() };
        assert!(vm.set_in_use(&why("held"), UnixMicros(4)) && !vm.set_in_use(&why("held"), UnixMicros(5)));
        assert!(vm.set_in_use(&why("hung"), UnixMicros(5)), "another reason is news");
        assert_eq!((vm.status().state.name(), vm.status().since), ("in-use", UnixMicros(4)));
        assert_eq!(vm.status().reason, Some("hung"));
        assert!(vm.attempt_failed("no such file", None, UnixMicros(6)), "it is free, and gone");
        assert_eq!((vm.status().state.name(), vm.status().since), ("detached", UnixMicros(6)));
        vm.attached(UnixMicros(7));
        assert!(
            !vm.set_in_use(&why("held"), UnixMicros(8)),
            "it was attached while the reason was looked for"
        );
        assert_eq!(vm.status().state.name(), "attached");
    }

    pub(crate) fn vm(name: &str) -> FollowedVm {
        let address: Address = "/vm.sock".parse().expect("an address");
        let follow = qmp_client::follow(address.clone(), qmp_client::FollowConfig::default());
        FollowedVm::new(
            name.parse().expect("a name"),
            address,
            VmOrigin::Program,
            follow.commander(),
            UnixMicros(0),
        )
    }
}

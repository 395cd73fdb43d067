//! Transitions of the run state, as a function of the state, the policy and the release.
//!
//! This module holds no machine: [`react`] returns the events, the next state, and whether the process exits.
//!
//! Source: QEMU `softmmu/runstate.c` of 7.2 and `system/runstate.c` of 11.1 as they behave; every row that needs no
//! guest is compared with both in `tests/differential_real_qemu.rs`, and all rows with captures of a guest in 7.2
//! in `tests/captures.rs`.

use qmp_events::{EventKind, Release, ShutdownCause};
use qmp_server::{Refusal, RunState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{event::RaisedEvent, refusals::generic};

/// The action at a reboot of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum RebootAction {
    #[default]
    Reset,
    Shutdown,
}

/// The action at a shutdown of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum ShutdownAction {
    #[default]
    Poweroff,
    Pause,
}

/// The action when the guest panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum PanicAction {
    None,
    Pause,
    #[default]
    Shutdown,
    ExitFailure,
}

/// The action when a watchdog expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum WatchdogPolicy {
    #[default]
    Reset,
    Shutdown,
    Poweroff,
    Pause,
    Debug,
    None,
    InjectNmi,
}

impl WatchdogPolicy {
    /// Returns the string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Shutdown => "shutdown",
            Self::Poweroff => "poweroff",
            Self::Pause => "pause",
            Self::Debug => "debug",
            Self::None => "none",
            Self::InjectNmi => "inject-nmi",
        }
    }
}

/// The actions when the guest ends in one way or another (`-action`, `-no-shutdown`, `-no-reboot`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// At a reboot.
    pub reboot: RebootAction,
    /// At a shutdown.
    pub shutdown: ShutdownAction,
    /// At a panic.
    pub panic: PanicAction,
    /// When a watchdog expires.
    pub watchdog: WatchdogPolicy,
}

impl Policy {
    /// Sets the action at a reboot.
    #[must_use]
    pub fn with_reboot(mut self, action: RebootAction) -> Self {
        self.reboot = action;
        self
    }

    /// Sets the action at a shutdown.
    #[must_use]
    pub fn with_shutdown(mut self, action: ShutdownAction) -> Self {
        self.shutdown = action;
        self
    }

    /// Sets the action at a panic.
    #[must_use]
    pub fn with_panic(mut self, action: PanicAction) -> Self {
        self.panic = action;
        self
    }

    /// Sets the action when a watchdog expires.
    #[must_use]
    pub fn with_watchdog(mut self, action: WatchdogPolicy) -> Self {
        self.watchdog = action;
        self
    }
}

/// The run state of a machine and its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) state: RunState,
    pub(crate) policy: Policy,
    /// Whether the guest slept when the machine was stopped, and sleeps again after `cont`.
    pub(crate) asleep: bool,
}

/// An event that concerns the whole machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MachineEvent {
    /// A stop, with its reason.
    Stop(RunState),
    Cont,
    Reset(ShutdownCause),
    Shutdown(ShutdownCause),
    Powerdown,
    Suspend,
    Wakeup,
    Watchdog,
    /// A panic of the guest, with its information.
    Panic {
        info: Option<Value>,
        source: PanicSource,
    },
}

/// The writer to the device that reports a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PanicSource {
    /// A processor: QEMU requests the stop and the end, and then handles the end first.
    Guest,
    /// QEMU's own thread, for the human monitor: it stops at once.
    Monitor,
}

/// The result of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reaction {
    pub(crate) events: Vec<RaisedEvent>,
    pub(crate) status: Status,
    /// The exit status of the process; `None` if it does not exit.
    pub(crate) exit: Option<i32>,
}

/// Source: 9.0 keeps the sleep of a guest over `stop` and `cont`; 7.2 does not stop a sleeping guest.
const SLEEP_IS_LIVE_SINCE: Release = Release::new(9, 0);
/// Source: `-action panic=…` exists since 6.0; before, a panic gives `pause`, and since 2.8 also `poweroff`.
const PANIC_ACTION_SINCE: Release = Release::new(6, 0);
const PANIC_POWEROFF_SINCE: Release = Release::new(2, 8);

/// Computes the reaction of a machine of a release in this state.
///
/// # Errors
///
/// The refusals of `cont` and `system_wakeup`.
pub(crate) fn react(status: Status, event: MachineEvent, release: Release) -> Result<Reaction, Refusal> {
    let mut transition =
        Transition { release, reaction: Reaction { events: Vec::new(), status, exit: None } };
    match event {
        MachineEvent::Stop(why) => transition.stop(why),
        MachineEvent::Cont => transition.cont()?,
        MachineEvent::Reset(cause) => transition.reset(&cause),
        MachineEvent::Shutdown(cause) => transition.shutdown(&cause, 0),
        MachineEvent::Powerdown => transition.raise(EventKind::Powerdown, Value::Null),
        MachineEvent::Suspend => transition.suspend(),
        MachineEvent::Wakeup => transition.wakeup()?,
        MachineEvent::Watchdog => transition.watchdog(),
        MachineEvent::Panic { info, source } => transition.panic(info.as_ref(), source),
    }
    Ok(transition.reaction)
}

/// A reaction under construction.
struct Transition {
    release: Release,
    reaction: Reaction,
}

impl Transition {
    fn raise(&mut self, kind: EventKind, data: Value) {
        self.reaction.events.push(RaisedEvent::new(kind, data));
    }

    fn state(&self) -> RunState {
        self.reaction.status.state
    }

    fn stop(&mut self, why: RunState) {
        match self.state() {
            RunState::Running => {}
            RunState::Suspended if self.release >= SLEEP_IS_LIVE_SINCE => self.reaction.status.asleep = true,
            _ => return,
        }
        self.reaction.status.state = why;
        self.raise(EventKind::Stop, Value::Null);
    }

    fn cont(&mut self) -> Result<(), Refusal> {
        match self.state() {
            RunState::InternalError | RunState::Shutdown => {
                return Err(generic("Resetting the Virtual Machine is required"));
            }
            RunState::FinishMigrate => return Err(generic("Migration is not finalized yet")),
            RunState::Running | RunState::Suspended | RunState::Inmigrate => return Ok(()),
            _ => {}
        }
        let asleep = std::mem::take(&mut self.reaction.status.asleep);
        self.reaction.status.state = if asleep { RunState::Suspended } else { RunState::Running };
        self.raise(EventKind::Resume, Value::Null);
        Ok(())
    }

    fn reset(&mut self, cause: &ShutdownCause) {
        if self.reaction.status.policy.reboot == RebootAction::Shutdown {
            return self.shutdown(cause, 0);
        }
        self.raise(EventKind::Reset, cause_data(cause));
        self.reaction.status.asleep = false;
        if !matches!(self.state(), RunState::Running | RunState::Inmigrate | RunState::FinishMigrate) {
            self.reaction.status.state = RunState::Prelaunch;
        }
    }

    fn shutdown(&mut self, cause: &ShutdownCause, exit_status: i32) {
        // `quit` and signals are not prevented.
        let ends = matches!(cause, ShutdownCause::HostQmpQuit | ShutdownCause::HostSignal);
        self.raise(EventKind::Shutdown, cause_data(cause));
        if ends || self.reaction.status.policy.shutdown == ShutdownAction::Poweroff {
            self.reaction.exit = Some(exit_status);
        } else {
            self.stop(RunState::Shutdown);
        }
    }

    fn suspend(&mut self) {
        if self.state() == RunState::Running {
            self.reaction.status.state = RunState::Suspended;
            self.raise(EventKind::Suspend, Value::Null);
        }
    }

    fn wakeup(&mut self) -> Result<(), Refusal> {
        if self.state() != RunState::Suspended {
            return Err(generic("Unable to wake up: guest is not in suspended state"));
        }
        self.reaction.status.state = RunState::Running;
        self.raise(EventKind::Wakeup, Value::Null);
        Ok(())
    }

    fn watchdog(&mut self) {
        let action = self.reaction.status.policy.watchdog;
        self.raise(EventKind::Watchdog, json!({"action": action}));
        match action {
            WatchdogPolicy::Reset => self.reset(&ShutdownCause::GuestReset),
            WatchdogPolicy::Shutdown => self.raise(EventKind::Powerdown, Value::Null),
            WatchdogPolicy::Poweroff => self.reaction.exit = Some(0),
            WatchdogPolicy::Pause => self.stop(RunState::Watchdog),
            WatchdogPolicy::Debug | WatchdogPolicy::None | WatchdogPolicy::InjectNmi => {}
        }
    }

    fn panic(&mut self, info: Option<&Value>, source: PanicSource) {
        let Policy { panic, shutdown, .. } = self.reaction.status.policy;
        let panicked = |action| json!({"action": action, "info": info});
        let waits = shutdown == ShutdownAction::Pause;
        if self.release < PANIC_ACTION_SINCE {
            self.raise(EventKind::GuestPanicked, panicked("pause"));
            self.stop(RunState::GuestPanicked);
            if self.release >= PANIC_POWEROFF_SINCE && !waits {
                self.raise(EventKind::GuestPanicked, panicked("poweroff"));
                self.shutdown(&ShutdownCause::GuestPanic, 0);
            }
            return;
        }
        match panic {
            PanicAction::None => self.raise(EventKind::GuestPanicked, panicked("run")),
            PanicAction::Shutdown | PanicAction::ExitFailure
                if panic == PanicAction::ExitFailure || !waits =>
            {
                self.raise(EventKind::GuestPanicked, panicked("poweroff"));
                if source == PanicSource::Monitor {
                    self.stop(RunState::GuestPanicked);
                }
                self.shutdown(&ShutdownCause::GuestPanic, i32::from(panic == PanicAction::ExitFailure));
            }
            _ => {
                self.raise(EventKind::GuestPanicked, panicked("pause"));
                self.stop(RunState::GuestPanicked);
            }
        }
    }
}

/// Returns the data of SHUTDOWN and RESET.
fn cause_data(cause: &ShutdownCause) -> Value {
    let by_guest =
        matches!(cause, ShutdownCause::GuestShutdown | ShutdownCause::GuestReset | ShutdownCause::GuestPanic);
    json!({"guest": by_guest, "reason": cause.as_str()})
}

#[cfg(test)]
#[path = "transitions/tests.rs"]
mod tests;

//! The facts of an epoch that may explain later events.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use qmp_events::EventKind as K;
use serde_json::Value;

use super::command::Command;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{CAUSE_LEAD_MAX, FIRMWARE_RESET_MAX, HELD_BACK_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Observation};
use crate::persist::persist;
use crate::state::Explanation;

/// How long after a recorded `migrate` a stopped VM is asked again: as long as about a state that passes.
const MIGRATE_ASKED_MAX: Duration = Duration::from_secs(256);

/// The record of a fact, and when it was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) id: Id,
    pub(super) now: Moment,
    /// The VM's own time, in microseconds.
    pub(super) at: Option<i64>,
}

/// The last of each fact that explains an event. Allocated with the first fact: most VMs have none for days.
#[derive(Debug, Default)]
pub(super) struct Evidence(Option<Box<Facts>>);

/// The facts.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) watchdog: Option<(Mark, Box<str>)>,
    pub(super) panic: Option<(Mark, Panic)>,
    pub(super) io_error: Option<(Mark, IoError)>,
    pub(super) shutdown: Option<(Mark, ShutdownReason)>,
    pub(super) power_button: Option<Mark>,
    pub(super) hibernated: Option<Mark>,
    pub(super) pv_shutdown: Option<Mark>,
    /// The last reset, without those that the firmware added; its moment is that of the RESUME if the VM was stopped
    /// then.
    pub(super) reset: Option<Mark>,
    pub(super) memory_failure: Option<Mark>,
    pub(super) migration: Option<(Mark, Box<str>)>,
    /// The last command that was given through the hub, and the last `migrate`.
    pub(super) command: Option<(Mark, Command)>,
    pub(super) migrate: Option<(Mark, Command)>,
    /// Set if the guest panicked and was left running, or runs its crash kernel.
    pub(super) left_running: Option<Box<(Mark, Explanation)>>,
    /// The last `BLOCK_IO_ERROR` of any action, which opens the window of the rate limit.
    last_io_error: Option<Mark>,
}

static NO_FACTS: Facts = Facts::NONE;

persist!(Mark { id, now, at });
persist!(Evidence { 0 });
persist!(Facts {
    watchdog,
    panic,
    io_error,
    shutdown,
    power_button,
    hibernated,
    pv_shutdown,
    reset,
    memory_failure,
    migration,
    command,
    migrate,
    left_running,
    last_io_error,
});
persist!(ShutdownReason { reason, guest });
persist!(Panic { action, info });
persist!(IoError { device, node_name, qom_path, operation, reason, no_space });

impl Facts {
    const NONE: Self = Self {
        watchdog: None,
        panic: None,
        io_error: None,
        shutdown: None,
        power_button: None,
        hibernated: None,
        pv_shutdown: None,
        reset: None,
        memory_failure: None,
        migration: None,
        command: None,
        migrate: None,
        left_running: None,
        last_io_error: None,
    };
}

impl Deref for Evidence {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        self.0.as_deref().unwrap_or(&NO_FACTS)
    }
}

impl DerefMut for Evidence {
    fn deref_mut(&mut self) -> &mut Facts {
        self.0.get_or_insert_with(|| Box::new(Facts::NONE))
    }
}

/// The members of a SHUTDOWN.
#[derive(Clone, Debug, Default)]
pub(super) struct ShutdownReason {
    pub(super) reason: Option<Box<str>>,
    pub(super) guest: Option<bool>,
}

/// The members of a `GUEST_PANICKED`.
#[derive(Clone, Debug, Default)]
pub(super) struct Panic {
    pub(super) action: Option<Box<str>>,
    pub(super) info: Option<Value>,
}

/// The members of a `BLOCK_IO_ERROR`.
#[derive(Clone, Debug, Default)]
pub(super) struct IoError {
    pub(super) device: Option<Box<str>>,
    pub(super) node_name: Option<Box<str>>,
    pub(super) qom_path: Option<Box<str>>,
    pub(super) operation: Option<Box<str>>,
    pub(super) reason: Option<Box<str>>,
    pub(super) no_space: bool,
}

impl Mark {
    pub(super) fn of(input: &Observation<'_>, at: Option<i64>) -> Self {
        Self { id: input.id, now: input.now, at }
    }
}

impl Evidence {
    /// Keeps the facts of an event.
    pub(super) fn note(&mut self, kind: K, event: &Event<'_>, mark: Mark) {
        let text = |member: &str| event.named(member).map(Box::from);
        match kind {
            K::Watchdog => {
                self.watchdog = text("action").map(|action| (mark, action));
            }
            K::GuestPanicked => {
                let info = event.data.get("info").cloned();
                self.panic = Some((mark, Panic { action: text("action"), info }));
            }
            K::BlockIoError => {
                self.last_io_error = Some(mark);
                if event.text("action") == Some("stop") {
                    self.io_error = Some((mark, IoError::of(event)));
                }
            }
            K::Shutdown => {
                self.shutdown =
                    Some((mark, ShutdownReason { reason: text("reason"), guest: event.flag("guest") }));
            }
            K::Powerdown => self.power_button = Some(mark),
            K::SuspendDisk => self.hibernated = Some(mark),
            K::GuestPvshutdown => self.pv_shutdown = Some(mark),
            K::MemoryFailure
                if event.text("recipient") == Some("hypervisor") && event.text("action") == Some("fatal") =>
            {
                self.memory_failure = Some(mark);
            }
            K::Migration => {
                let is_snapshot = event.text("status") == Some("completed") && self.is_in_setup();
                self.migration = text("status").filter(|_| !is_snapshot).map(|status| (mark, status));
                if event.text("status") == Some("setup") {
                    // Another migration begins; the record of its command follows.
                    self.migrate = None;
                }
            }
            K::JobStatusChange if matches!(event.text("status"), Some("concluded" | "null")) => {
                self.job_ended(event.text("id").unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Keeps a command that was given through the hub.
    pub(super) fn command(&mut self, execute: &str, data: &Value, mark: Mark) {
        // A failed command explains nothing.
        if data.get("result").and_then(Value::as_str) == Some("failed") {
            return;
        }
        let command = Command::read(execute, data);
        if command.migrates() {
            self.migrate = Some((mark, command.clone()));
        }
        self.command = Some((mark, command));
    }

    /// The facts, if there are any.
    pub(super) fn facts_mut(&mut self) -> Option<&mut Facts> {
        self.0.as_deref_mut()
    }

    /// The event with which QEMU announced its end.
    pub(super) fn ending_announced(&self) -> Option<Mark> {
        let watchdog = self.watchdog.as_ref().filter(|(_, action)| &**action == "poweroff");
        let shutdown = self.shutdown.as_ref().map(|(mark, _)| *mark);
        shutdown.or(watchdog.map(|(mark, _)| *mark)).or(self.memory_failure)
    }

    /// Removes the causes of a stop, because the VM runs.
    pub(super) fn clear_stops(&mut self) {
        if let Some(facts) = &mut self.0 {
            (facts.panic, facts.io_error, facts.shutdown) = (None, None, None);
        }
    }

    /// Keeps the reset and removes the facts from before it.
    pub(super) fn take_reset(&mut self, mark: Mark) {
        self.clear_stops();
        self.reset = Some(mark);
        (self.power_button, self.hibernated, self.pv_shutdown, self.left_running) = (None, None, None, None);
    }

    /// Whether the firmware repeats with this RESET the one before: some firmware resets the machine once more when it
    /// runs after a reset. A watchdog that expired since then is another cause.
    pub(super) fn repeats_reset(&self, event: &Event<'_>, mark: Mark) -> bool {
        let is_guests = match event.text("reason") {
            Some(reason) => reason == "guest-reset",
            None => event.flag("guest") == Some(true),
        };
        let Some(first) = self.reset.filter(|first| mark.now.since(first.now) <= FIRMWARE_RESET_MAX) else {
            return false;
        };
        let expired_since =
            |(watchdog, action): &(Mark, Box<str>)| watchdog.id > first.id && &**action == "reset";
        is_guests && !self.watchdog.as_ref().is_some_and(expired_since)
    }

    /// Whether another QEMU is kept in step (COLO), for which the VM stops at every checkpoint.
    pub(super) fn is_colo(&self) -> bool {
        self.migration.as_ref().is_some_and(|(_, status)| &**status == "colo")
    }

    /// Whether `setup` is the last status of the migration: a snapshot completes without another one.
    fn is_in_setup(&self) -> bool {
        self.migration.as_ref().is_some_and(|(_, status)| &**status == "setup")
    }

    /// Whether a recorded `migrate` may still be at work.
    pub(super) fn may_be_migrating(&self, now: Moment) -> bool {
        let status = self.migration.as_ref().map(|(_, status)| &**status);
        let is_recent = |(mark, _): &(Mark, Command)| now.since(mark.now) <= MIGRATE_ASKED_MAX;
        self.migrate.as_ref().is_some_and(is_recent) && !matches!(status, Some("failed" | "cancelled"))
    }

    /// The migration that has just failed.
    pub(super) fn failed(&self, now: Moment) -> Option<Mark> {
        let (mark, status) = self.migration.as_ref()?;
        (&**status == "failed" && now.since(mark.now) <= CAUSE_LEAD_MAX).then_some(*mark)
    }

    /// Removes a migration to here that is over: without the capability `events`, its last status is `setup`, or that of
    /// the snapshot when the epoch opened.
    pub(super) fn arrive(&mut self) {
        if self.is_in_setup() || self.migration.as_ref().is_some_and(|(mark, _)| mark.id.1.0 == 0) {
            self.migration = None;
        }
    }

    /// The migration that is under way or completed.
    pub(super) fn carried(&self) -> Option<Mark> {
        let (mark, status) = self.migration.as_ref()?;
        (&**status == "completed" || self.is_migrating()).then_some(*mark)
    }

    pub(super) fn is_migrating(&self) -> bool {
        let status = self.migration.as_ref().map(|(_, status)| &**status);
        matches!(
            status,
            Some(
                "setup"
                    | "active"
                    | "colo"
                    | "device"
                    | "pre-switchover"
                    | "postcopy-active"
                    | "postcopy-device"
                    | "wait-unplug"
            )
        )
    }

    /// How long to wait for a cause that the rate limit may hold back; `None` if there can be no such cause.
    ///
    /// The first event of a second passes at once, so only an event after another one can be held. Events before the
    /// epoch are unknown.
    pub(super) fn hold(&self, consequence: Mark, span: &Span) -> Option<Duration> {
        let is_recent = |now: Moment| consequence.now.since(now) <= HELD_BACK_MAX;
        let limits_stop = |release| {
            let throttle = K::BlockIoError.desc().throttle_at(release);
            throttle.is_some_and(|throttle| throttle.exempt.is_none())
        };
        let io_error_held = self.last_io_error.is_some_and(|mark| is_recent(mark.now))
            && span.release.is_some_and(limits_stop);
        let held = self.watchdog.as_ref().is_some_and(|(mark, _)| is_recent(mark.now))
            || io_error_held
            || is_recent(span.opened_at);
        held.then_some(HELD_BACK_MAX)
    }
}

impl IoError {
    fn of(event: &Event<'_>) -> Self {
        let text = |member: &str| event.named(member).map(Box::from);
        Self {
            device: text("device"),
            node_name: text("node-name"),
            qom_path: text("qom-path"),
            operation: text("operation"),
            reason: text("reason"),
            no_space: event.flag("nospace").unwrap_or(false),
        }
    }
}

//! Silence: a monitor that stopped answering, because its QEMU hangs, was stopped, or is busy with a command.
//!
//! When an attached VM has sent nothing for [`SilentAfter`], the watch (`silence_watch.rs`) sends one probe (`query-status`).
//! A VM that answers the probe is quiet, which is not recorded. A VM that does not answer within the same span is *silent*
//! until its next answer: the hub records the findings [`SILENT`] and [`ANSWERS_AGAIN`], and shows the start of the silence.
//!
//! ```text
//! attachment ─ heard, answered ─→ SilenceDetector (one per VM) ←─ look ─ SilenceWatch (one queue for all VMs) ─→ probe, `silent`
//! ```
//!
//! An event proves that QEMU runs, not that its monitor answers: it delays the next probe, and does not end a silence.
//!
//! The reply to a probe has the run state. If it differs from the run state by the records, QEMU changed it without an event, as
//! the destination of a migration does without the capability `events`: the reply is recorded, and the correlators use it.

mod process;
mod setting;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use qmp_host::lock;
use qmp_wire::{Epoch, Seq, UnixMicros};
use tokio::time::Instant;

pub(crate) use process::MonitorProcess;
pub use qmp_findings::{ANSWERS_AGAIN, SILENT};
pub(crate) use setting::Setting;
pub use setting::{SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter, SilentAfterError};

/// Whether the monitor of one VM answers.
///
/// Holds no clock: times are arguments.
#[derive(Debug, Default)]
pub struct SilenceDetector {
    /// For this VM; if it is not set, the setting for all VMs applies.
    pub(crate) setting: Setting,
    /// `None` without a connection in command mode.
    monitor: Mutex<Option<Monitor>>,
}

/// An attached monitor.
#[derive(Debug)]
struct Monitor {
    /// When the monitor sent something last.
    heard_at: Instant,
    phase: Phase,
    /// The process at the other end, if the system reported it.
    pid: Option<i32>,
    /// The run state in the reply to the last probe. `None` after the comparison, or when the monitor has sent something since.
    run_state: Option<Box<str>>,
}

#[derive(Debug)]
enum Phase {
    /// Every probe was answered.
    Answering,
    /// A probe was sent and not answered yet.
    Asked { at: Instant, heard_at: Instant },
    /// The probe was not answered within the span.
    Silent(Box<Spell>),
}

/// A time in which a monitor does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spell {
    /// When the monitor sent something last before the probe.
    pub(crate) heard_at: Instant,
    /// The same on this host's clock.
    pub(crate) since: UnixMicros,
    /// Whether the finding is in the journal.
    pub(crate) is_recorded: bool,
    /// The VM's last record before that.
    pub(crate) last: Option<(Epoch, Seq)>,
}

/// An instruction about a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Look again at that moment.
    Wait(Instant),
    /// Send a probe.
    Probe,
    /// Record the silence.
    Record(Spell),
}

impl SilenceDetector {
    /// An epoch opened. On a new connection the span begins; on the same connection, nothing changes.
    pub(crate) fn attached(&self, pid: Option<i32>, now: Instant) {
        self.lock().get_or_insert(Monitor { heard_at: now, phase: Phase::Answering, pid, run_state: None });
    }

    /// The process at the other end of the monitor, if it is known.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.lock().as_ref()?.pid
    }

    /// The connection ended.
    pub(crate) fn detached(&self) {
        *self.lock() = None;
    }

    /// Events were received.
    pub(crate) fn heard(&self, now: Instant) {
        if let Some(monitor) = &mut *self.lock() {
            (monitor.heard_at, monitor.run_state) = (now, None);
        }
    }

    /// An answer to any command was received. Returns the silence that it ends.
    pub(crate) fn answered(&self, now: Instant) -> Option<Spell> {
        let mut monitor = self.lock();
        let monitor = monitor.as_mut()?;
        (monitor.heard_at, monitor.run_state) = (now, None);
        match std::mem::replace(&mut monitor.phase, Phase::Answering) {
            Phase::Silent(spell) => Some(*spell),
            Phase::Answering | Phase::Asked { .. } => None,
        }
    }

    /// Keeps the run state in the reply to a probe.
    pub(crate) fn named(&self, run_state: Option<Box<str>>) {
        if let Some(monitor) = &mut *self.lock() {
            monitor.run_state = run_state;
        }
    }

    /// Returns the run state in the reply to the last probe, once, if the monitor has sent nothing since.
    pub(crate) fn take_run_state(&self) -> Option<Box<str>> {
        self.lock().as_mut()?.run_state.take()
    }

    /// Decides what to do about a VM that may be quiet for `span`. `clock` is the time of records at `now`.
    pub(crate) fn look(&self, span: Duration, now: Instant, clock: UnixMicros) -> Check {
        let mut monitor = self.lock();
        let Some(monitor) = monitor.as_mut() else { return Check::Wait(now + span) };
        match &monitor.phase {
            Phase::Answering => {
                let due = monitor.heard_at + span;
                if now < due {
                    return Check::Wait(due);
                }
                monitor.phase = Phase::Asked { at: now, heard_at: monitor.heard_at };
                Check::Probe
            }
            Phase::Asked { at, .. } if now < *at + span => Check::Wait(*at + span),
            Phase::Asked { heard_at, .. } => {
                let passed_us = i64::try_from((now - *heard_at).as_micros()).unwrap_or(i64::MAX);
                let since = UnixMicros(clock.0.saturating_sub(passed_us));
                let spell = Spell { heard_at: *heard_at, since, is_recorded: false, last: None };
                monitor.phase = Phase::Silent(Box::new(spell));
                Check::Record(spell)
            }
            Phase::Silent(spell) if !spell.is_recorded => Check::Record(**spell),
            Phase::Silent(_) => Check::Wait(now + span),
        }
    }

    /// The finding about the silence, which began after the record `last`, is in the journal.
    pub(crate) fn recorded(&self, last: Option<(Epoch, Seq)>) {
        if let Some(Monitor { phase: Phase::Silent(spell), .. }) = &mut *self.lock() {
            (spell.is_recorded, spell.last) = (true, last);
        }
    }

    /// Ends a silence without a report.
    pub(crate) fn disregard(&self) {
        if let Some(monitor) = &mut *self.lock() {
            monitor.phase = Phase::Answering;
        }
    }

    /// When the silence began; `None` if the monitor answers.
    pub fn since(&self) -> Option<UnixMicros> {
        match &*self.lock() {
            Some(Monitor { phase: Phase::Silent(spell), .. }) => Some(spell.since),
            _ => None,
        }
    }

    /// Why the monitor does not answer, by the evidence on this host: if it is silent, or if its process is stopped.
    #[must_use]
    pub fn unresponsive(&self) -> Option<String> {
        let seen = MonitorProcess::look(self.pid());
        (self.since().is_some() || seen.is_stopped()).then(|| seen.explained())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Monitor>> {
        // Each change is one assignment.
        lock(&self.monitor)
    }
}

#[cfg(test)]
mod tests;

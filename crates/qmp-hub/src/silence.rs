//! Silence: a monitor that does not answer any more, because its QEMU hangs, was stopped, or is busy with a command.
//!
//! When nothing has come from an attached VM for [`SilentAfter`], the [`Watch`] sends one probe (`query-status`). A VM that
//! answers it is quiet, and its journal gets no record of that. One that leaves it without an answer for the same span is
//! *silent* until it answers something: the hub records the findings [`SILENT`] and [`ANSWERS_AGAIN`], and shows since when.
//!
//! ```text
//! attachment ─ heard, answered ─→ Silence (one a VM) ←─ look ─ Watch (one timer queue for all VMs) ─→ probe, `silent`
//! ```
//!
//! An event proves that QEMU lives, not that its monitor answers: it puts off the next probe, and does not end a silence.
//!
//! The reply to a probe names the run state. If it is another one than the records tell, QEMU went there without an event, as
//! the destination of a migration does without the capability `events`: the reply is recorded, and the correlators take it.

mod process;
mod setting;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qmp_wire::{Epoch, Seq, UnixMicros};
use tokio::time::Instant;

pub(crate) use process::Seen;
pub use qmp_findings::{ANSWERS_AGAIN, SILENT};
pub(crate) use setting::Setting;
pub use setting::{SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter, SilentAfterError};

/// Whether the monitor of one VM answers.
///
/// Holds no clock: each call says what time it is.
#[derive(Debug, Default)]
pub struct Silence {
    /// For this VM; without it, what the hub has for all.
    pub(crate) setting: Setting,
    /// `None` without a connection in command mode.
    monitor: Mutex<Option<Monitor>>,
}

/// An attached monitor.
#[derive(Debug)]
struct Monitor {
    /// When something came last.
    heard_at: Instant,
    phase: Phase,
    /// The process at its other end, if the system told.
    pid: Option<i32>,
    /// The run state that the reply to the last probe named. `None` once it was compared, or something came since.
    run_state: Option<Box<str>>,
}

#[derive(Debug)]
enum Phase {
    /// It has answered everything, as far as the hub asked.
    Answering,
    /// A probe has no answer.
    Asked { at: Instant, heard_at: Instant },
    /// It had the span to answer the probe, and did not.
    Silent(Box<Spell>),
}

/// A time in which a monitor does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spell {
    /// When something came last before the probe.
    pub(crate) heard_at: Instant,
    /// The same on this host's clock.
    pub(crate) since: UnixMicros,
    /// Whether the journal took the finding.
    pub(crate) is_recorded: bool,
    /// The VM's last record before that.
    pub(crate) last: Option<(Epoch, Seq)>,
}

/// What is to be done about a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing before that moment.
    Wait(Instant),
    /// A probe is to be sent now.
    Probe,
    /// The silence is to be recorded.
    Record(Spell),
}

impl Silence {
    /// An epoch opened. On a new connection the VM has the span from here on; on the same one, nothing changes.
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

    /// Events came.
    pub(crate) fn heard(&self, now: Instant) {
        if let Some(monitor) = &mut *self.lock() {
            (monitor.heard_at, monitor.run_state) = (now, None);
        }
    }

    /// An answer came, to whatever it was. Returns the silence that this ends.
    pub(crate) fn answered(&self, now: Instant) -> Option<Spell> {
        let mut monitor = self.lock();
        let monitor = monitor.as_mut()?;
        (monitor.heard_at, monitor.run_state) = (now, None);
        match std::mem::replace(&mut monitor.phase, Phase::Answering) {
            Phase::Silent(spell) => Some(*spell),
            Phase::Answering | Phase::Asked { .. } => None,
        }
    }

    /// The reply to a probe named this run state.
    pub(crate) fn named(&self, run_state: Option<Box<str>>) {
        if let Some(monitor) = &mut *self.lock() {
            monitor.run_state = run_state;
        }
    }

    /// Returns the run state that the reply to the last probe named, once, if nothing came since.
    pub(crate) fn take_run_state(&self) -> Option<Box<str>> {
        self.lock().as_mut()?.run_state.take()
    }

    /// Decides what is to be done for a VM that may be quiet for `span`. `clock` is this host's clock at `now`.
    pub(crate) fn look(&self, span: Duration, now: Instant, clock: UnixMicros) -> Look {
        let mut monitor = self.lock();
        let Some(monitor) = monitor.as_mut() else { return Look::Wait(now + span) };
        match &monitor.phase {
            Phase::Answering => {
                let due = monitor.heard_at + span;
                if now < due {
                    return Look::Wait(due);
                }
                monitor.phase = Phase::Asked { at: now, heard_at: monitor.heard_at };
                Look::Probe
            }
            Phase::Asked { at, .. } if now < *at + span => Look::Wait(*at + span),
            Phase::Asked { heard_at, .. } => {
                let passed_us = i64::try_from((now - *heard_at).as_micros()).unwrap_or(i64::MAX);
                let since = UnixMicros(clock.0.saturating_sub(passed_us));
                let spell = Spell { heard_at: *heard_at, since, is_recorded: false, last: None };
                monitor.phase = Phase::Silent(Box::new(spell));
                Look::Record(spell)
            }
            Phase::Silent(spell) if !spell.is_recorded => Look::Record(**spell),
            Phase::Silent(_) => Look::Wait(now + span),
        }
    }

    /// The journal took the finding about that silence, which began behind the record `last`.
    pub(crate) fn recorded(&self, last: Option<(Epoch, Seq)>) {
        if let Some(Monitor { phase: Phase::Silent(spell), .. }) = &mut *self.lock() {
            (spell.is_recorded, spell.last) = (true, last);
        }
    }

    /// Silence is not to be reported any more.
    pub(crate) fn disregard(&self) {
        if let Some(monitor) = &mut *self.lock() {
            monitor.phase = Phase::Answering;
        }
    }

    /// Since when the monitor has answered nothing; `None` if it answers.
    pub fn since(&self) -> Option<UnixMicros> {
        match &*self.lock() {
            Some(Monitor { phase: Phase::Silent(spell), .. }) => Some(spell.since),
            _ => None,
        }
    }

    /// Why the monitor does not answer, as far as the host shows: if it is silent, or if its process is stopped.
    #[must_use]
    pub fn unresponsive(&self) -> Option<String> {
        let seen = Seen::look(self.pid());
        (self.since().is_some() || seen.is_stopped()).then(|| seen.explained())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Monitor>> {
        // Each change of it is one assignment.
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! Jobs, each told once when it is over: its phases, its progress, what came of it, how long it took.
//!
//! A job goes by `JOB_STATUS_CHANGE` (from QEMU 3.0 on), a block job besides by `BLOCK_JOB_COMPLETED` and its like. It is
//! over with the status `concluded` or `null`; before 3.0 with the block job's event. One that ran when the epoch
//! opened is known from the snapshot. One that runs when the epoch closes is looked for in the next snapshot.

mod job;

use qmp_events::{EventKind as K, Release};
use qmp_wire::{DetachReason, UnixMicros};
use serde_json::json;

use super::input::{Event, Input, KnownJob, Snapshot, What};
use super::registered::Correlator;
use super::tracked::{Found, Span};
use super::{Id, JOBS_TRACKED_MAX, subject};
use crate::state::Running;
use job::{Job, Outcome};

pub(super) const JOB: &str = "job";

/// From here on every job has events of its own.
const JOB_EVENTS_SINCE: Release = Release::new(3, 0);

/// The jobs of one VM that are not over.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    /// QEMU said that it ends, and its jobs with it.
    ending: bool,
    /// The record that closed the last epoch.
    closed: Option<Id>,
}

impl Correlator for Jobs {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        match input.what {
            What::Attached(snapshot) => self.attached(snapshot, input, found),
            What::Event(event) => self.event(event, input, span.release, found),
            What::Detached(reason) => self.detached(reason, input, found),
            What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }
}

impl Jobs {
    /// The jobs that are not over, for people who ask.
    pub(super) fn running(&self) -> Vec<Running> {
        self.jobs.iter().map(Job::running).collect()
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Input<'_>, found: &mut Found) {
        let closed = self.closed.take();
        self.ending = false;
        for job in std::mem::take(&mut self.jobs) {
            let goes_on = snapshot.jobs.iter().any(|known| known.id == job.id);
            // Without the answer nothing can be said; an empty list of an old QEMU is an answer, too.
            if !goes_on {
                let causes = closed.into_iter().chain([input.id]);
                job.tell(Outcome::Unseen, causes, input.now, found);
            }
        }
        let over = |job: &&KnownJob| !matches!(job.status.as_deref(), Some("concluded" | "null"));
        for known in snapshot.jobs.iter().filter(over).take(JOBS_TRACKED_MAX) {
            self.jobs.push(Job::known(known, input));
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, release: Option<Release>, found: &mut Found) {
        let Some(kind) = event.kind else { return };
        match kind {
            K::JobStatusChange => self.status(event, input, found),
            K::BlockJobReady | K::BlockJobPending | K::BlockJobError => {
                if let Some(job) = self.job(event, input, found) {
                    job.block_event(kind, event, input);
                }
            }
            K::BlockJobCompleted | K::BlockJobCancelled => {
                if let Some(job) = self.job(event, input, found) {
                    job.block_event(kind, event, input);
                    let is_last = release.is_some_and(|release| release < JOB_EVENTS_SINCE);
                    if is_last {
                        self.over(event, input, found);
                    }
                }
            }
            K::Shutdown => self.ending = true,
            K::Resume | K::Reset => self.ending = false,
            _ => {}
        }
    }

    fn status(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let status = event.text("status").unwrap_or_default();
        let known = subject::of(event).is_some_and(|id| self.jobs.iter().any(|job| *job.id == *id));
        // `null` after `concluded`: the job was told.
        if status == "null" && !known {
            return;
        }
        if let Some(job) = self.job(event, input, found) {
            job.phase(status, input);
        }
        if matches!(status, "concluded" | "null") {
            self.over(event, input, found);
        }
    }

    /// The job that the event is about; a job that is met for the first time begins here.
    fn job(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) -> Option<&mut Job> {
        let id = subject::of(event)?;
        let index = match self.jobs.iter().position(|job| *job.id == *id) {
            Some(index) => index,
            None => {
                if self.jobs.len() >= JOBS_TRACKED_MAX {
                    self.jobs.remove(0).tell(Outcome::Untracked, [input.id], input.now, found);
                }
                self.jobs.push(Job::begun(id, input, event.text("status") != Some("created")));
                self.jobs.len() - 1
            }
        };
        self.jobs.get_mut(index)
    }

    fn over(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let Some(id) = subject::of(event) else { return };
        if let Some(index) = self.jobs.iter().position(|job| *job.id == *id) {
            let job = self.jobs.remove(index);
            let outcome = job.outcome();
            job.tell(outcome, [input.id], input.now, found);
        }
    }

    fn detached(&mut self, reason: &DetachReason, input: &Input<'_>, found: &mut Found) {
        self.closed = Some(input.id);
        if *reason == DetachReason::PeerClosed && self.ending {
            for job in std::mem::take(&mut self.jobs) {
                job.tell(Outcome::Interrupted, [input.id], input.now, found);
            }
        }
    }
}

/// A moment of a phase as it stands in JSON.
fn phase_json(status: &str, at: UnixMicros) -> serde_json::Value {
    json!({"status": status, "received": at.to_string()})
}

pub(super) use job::Phases;

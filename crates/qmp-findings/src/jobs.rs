//! Jobs, each told once when it is over: its phases, its progress, what came of it, how long it took.
//!
//! A job goes by `JOB_STATUS_CHANGE` (from QEMU 3.0 on), a block job besides by `BLOCK_JOB_COMPLETED` and its like. It is
//! over with the status `concluded` or `null`; before 3.0 with the block job's event. One that ran when the epoch
//! opened is known from the snapshot. One that runs when the epoch closes is looked for in the next snapshot.
//!
//! That a job completed is told by its status `pending` or its block job's event. Why it failed is told by that event
//! alone: where none tells, the VM is asked while the job is `concluded` and waits for `job-dismiss`.

mod job;

use qmp_events::{EventKind as K, Release};
use serde_json::Value;

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{ANSWER_MAX, JOBS_TRACKED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Input, KnownJob, Snapshot, What};
use crate::question::{Answer, Asked, QUERY_JOBS};
use crate::saved::saved;
use crate::state::Running;
use crate::subject;
use job::{Asking, Job, Outcome};
pub(super) use job::{JOB, Phases};

/// From here on every job has events of its own.
const JOB_EVENTS_SINCE: Release = Release::new(3, 0);

/// The jobs of one VM that are not over, or wait for `job-dismiss`.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    /// The record that closed the last epoch.
    closed: Option<Id>,
}

saved!(Jobs { jobs, closed });

impl Correlator for Jobs {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        match &input.what {
            What::Attached(snapshot) => self.attached(snapshot, input, found),
            What::Event(event) => self.event(event, input, span.release, found),
            What::Detached(_) => self.detached(input, found),
            What::Answer(answer) => self.answered(answer, input, found),
            What::Command(command) => self.commanded(command, input),
            What::ProcessEnded(_) if found.has_qemu_ended => self.interrupted(input, found),
            What::ProcessEnded(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.jobs.iter().filter_map(|job| job.asking().map(|asking| asking.until)).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.give_up(|asking| asking.until <= now, now, found);
    }

    fn is_open(&self, (execute, cause): Asked) -> bool {
        let is_it = |job: &Job| job.asking().is_some_and(|asking| asking.cause == cause);
        execute == QUERY_JOBS && self.jobs.iter().any(is_it)
    }
}

impl Jobs {
    /// The jobs that the VM has, for people who ask.
    pub(super) fn listed(&self) -> Vec<Running> {
        self.jobs.iter().filter(|job| !job.is_dismissed()).map(Job::listed).collect()
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Input<'_>, found: &mut Found) {
        if found.has_qemu_ended {
            self.interrupted(input, found);
        }
        let closed = self.closed.take();
        for mut job in std::mem::take(&mut self.jobs).into_iter().filter(|job| !job.is_told()) {
            // Without the answer nothing can be said; an empty list of an old QEMU is an answer, too.
            let known = snapshot.jobs.iter().find(|known| known.id == job.id);
            let outcome = match known {
                Some(known) if known.is_over() => job.came_to(known.error.as_deref()),
                Some(_) => continue,
                None => Outcome::Unseen,
            };
            job.tell(outcome, closed.into_iter().chain([input.id]), input.now, found);
        }
        let lives = |job: &&KnownJob| job.status.as_deref() != Some("null");
        for known in snapshot.jobs.iter().filter(lives).take(JOBS_TRACKED_MAX) {
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
                        job.dismiss();
                        self.over(event, input, found);
                    }
                }
            }
            _ => {}
        }
    }

    fn status(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let status = event.text("status").unwrap_or_default();
        let known = subject::of(event).and_then(|id| self.jobs.iter().position(|job| *job.id == *id));
        if status == "null" {
            // A job of which nothing else was seen in this epoch was told in the one before.
            let Some(index) = known else { return };
            if self.jobs[index].is_told() {
                self.jobs.remove(index);
                return;
            }
            self.jobs[index].dismiss();
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
                self.make_room(input, found);
                self.jobs.push(Job::begun(id, input, event.text("status") != Some("created")));
                self.jobs.len() - 1
            }
        };
        self.jobs.get_mut(index)
    }

    /// Evicts a job that was told, or else the oldest.
    fn make_room(&mut self, input: &Input<'_>, found: &mut Found) {
        if self.jobs.len() < JOBS_TRACKED_MAX {
            return;
        }
        let index = self.jobs.iter().position(Job::is_told).unwrap_or(0);
        let mut job = self.jobs.remove(index);
        if !job.is_told() {
            job.tell(Outcome::Untracked, [input.id], input.now, found);
        }
    }

    fn over(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let Some(id) = subject::of(event) else { return };
        let Some(index) = self.jobs.iter().position(|job| *job.id == *id) else { return };
        let job = &mut self.jobs[index];
        match job.outcome() {
            // The answer, if it is on the way, was given before the job was dismissed.
            None if job.asking().is_some() => {}
            None if !job.is_dismissed() => {
                job.ask(input.id, input.now.after(ANSWER_MAX));
                found.ask(QUERY_JOBS, input.id);
            }
            outcome => job.tell(outcome.unwrap_or(job.unexplained()), [input.id], input.now, found),
        }
        self.sweep();
    }

    /// A command that was passed on: one that starts a job says what type it has, which no event of the job does.
    fn commanded(&mut self, command: &Value, input: &Input<'_>) {
        let text =
            |value: &'_ Value, member: &str| value.get(member).and_then(Value::as_str).map(Box::<str>::from);
        let Some(ty) = text(command, "execute").and_then(|execute| type_of(&execute)) else { return };
        let is_done = text(command, "result").as_deref() == Some("done");
        let arguments = command.get("arguments").unwrap_or(&Value::Null);
        let id = text(arguments, "job-id").or_else(|| text(arguments, "device"));
        let job = self.jobs.iter_mut().find(|job| Some(&job.id) == id.as_ref() && !job.is_told());
        if let Some(job) = job.filter(|_| is_done) {
            job.has_type(ty, input.id);
        }
    }

    /// The VM listed its jobs, or it could not be asked.
    fn answered(&mut self, answer: &Answer<'_>, input: &Input<'_>, found: &mut Found) {
        let is_its = |asking: &Asking| answer.is_to((QUERY_JOBS, asking.cause));
        if !self.jobs.iter().any(|job| job.asking().is_some_and(is_its)) {
            return;
        }
        let known = answer.returned().map(KnownJob::read_all).unwrap_or_default();
        for job in &mut self.jobs {
            let over = known.iter().find(|known| known.id == job.id && known.is_over());
            if let (Some(known), Some(_)) = (over, job.asking()) {
                job.is_of(known);
                let outcome = job.came_to(known.error.as_deref());
                job.tell(outcome, [input.id], input.now, found);
            }
        }
        self.give_up(is_its, input.now, found);
    }

    /// Tells of jobs that no answer explains.
    fn give_up(&mut self, is_due: impl Fn(&Asking) -> bool, now: Moment, found: &mut Found) {
        for job in &mut self.jobs {
            if job.asking().is_some_and(&is_due) {
                job.tell(job.unexplained(), [], now, found);
            }
        }
        self.sweep();
    }

    /// Forgets the jobs that are told and that the VM has no more.
    fn sweep(&mut self) {
        self.jobs.retain(|job| !(job.is_told() && job.is_dismissed()));
    }

    fn detached(&mut self, input: &Input<'_>, found: &mut Found) {
        self.closed = Some(input.id);
        self.give_up(|_| true, input.now, found);
        if found.has_qemu_ended {
            self.interrupted(input, found);
        }
    }

    /// QEMU has ended, and its jobs with it.
    fn interrupted(&mut self, input: &Input<'_>, found: &mut Found) {
        let closed = self.closed;
        for mut job in std::mem::take(&mut self.jobs).into_iter().filter(|job| !job.is_told()) {
            job.tell(Outcome::Interrupted, closed.into_iter().chain([input.id]), input.now, found);
        }
    }
}

/// The type of the job that a command starts.
///
/// Source: QEMU, `qapi/job.json`, `JobType`; `qapi/block-core.json` and `qapi/migration.json`.
fn type_of(execute: &str) -> Option<&'static str> {
    match execute {
        "block-commit" => Some("commit"),
        "block-stream" => Some("stream"),
        "blockdev-mirror" | "drive-mirror" => Some("mirror"),
        "blockdev-backup" | "drive-backup" => Some("backup"),
        "blockdev-create" => Some("create"),
        "x-blockdev-amend" => Some("amend"),
        "snapshot-save" => Some("snapshot-save"),
        "snapshot-load" => Some("snapshot-load"),
        "snapshot-delete" => Some("snapshot-delete"),
        _ => None,
    }
}

//! Jobs: each is reported once when it is over, with its phases, progress, result and duration.
//!
//! A job sends `JOB_STATUS_CHANGE` (from QEMU 3.0 on), a block job also `BLOCK_JOB_COMPLETED` and similar events. A job
//! is over with the status `concluded` or `null`; before 3.0 with the block job's event. A job that ran when the epoch
//! opened is known from the snapshot. A job that runs when the epoch closes is looked up in the next snapshot.
//!
//! The status `pending` or the block job's event shows that a job completed. Only that event gives the reason of a
//! failure: where no event does, the VM is asked while the job is `concluded` and waits for `job-dismiss`.

mod job;

use qmp_events::{EventKind as K, Release};
use serde_json::Value;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{ANSWER_MAX, JOBS_TRACKED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, KnownJob, Observation, ObservationKind, Snapshot};
use crate::persist::persist;
use crate::question::{Answer, QUERY_JOBS, QuestionId};
use crate::state::JobState;
use crate::subject;
pub(super) use job::{JOB, Phases};
use job::{Job, JobQuestion, Outcome};

/// From this release on every job has its own events.
const JOB_EVENTS_SINCE: Release = Release::new(3, 0);

/// The jobs of one VM that are not over, or wait for `job-dismiss`.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    /// The record that closed the last epoch.
    closed: Option<Id>,
}

persist!(Jobs { jobs, closed });

impl Correlator for Jobs {
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        match &input.kind {
            ObservationKind::Attached(snapshot) => self.attached(snapshot, input, found),
            ObservationKind::Event(event) => self.event(event, input, span.release, found),
            ObservationKind::Detached(..) => self.detached(input, found),
            ObservationKind::Answer(answer) => self.take_answer(answer, input, found),
            ObservationKind::Command(command) => self.take_command(command, input),
            ObservationKind::ProcessEnded(_) if found.has_qemu_ended => self.interrupt_all(input, found),
            ObservationKind::ProcessEnded(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.jobs.iter().filter_map(|job| job.question().map(|question| question.until)).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        self.give_up(|question| question.until <= now, now, found);
    }

    fn is_open(&self, (execute, cause): QuestionId) -> bool {
        let is_it = |job: &Job| job.question().is_some_and(|question| question.cause == cause);
        execute == QUERY_JOBS && self.jobs.iter().any(is_it)
    }
}

impl Jobs {
    /// The jobs of the VM, for its status.
    pub(super) fn listed(&self) -> Vec<JobState> {
        self.jobs.iter().filter(|job| !job.is_dismissed()).map(Job::listed).collect()
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Observation<'_>, found: &mut Conclusions) {
        if found.has_qemu_ended {
            self.interrupt_all(input, found);
        }
        let closed = self.closed.take();
        for mut job in std::mem::take(&mut self.jobs).into_iter().filter(|job| !job.is_reported()) {
            // Without an answer nothing can be concluded; the empty list of an old QEMU is an answer, too.
            let known = snapshot.jobs.iter().find(|known| known.id == job.id);
            let outcome = match known {
                Some(known) if known.is_over() => job.conclude(known.error.as_deref()),
                Some(_) => continue,
                None => Outcome::Unseen,
            };
            job.report(outcome, closed.into_iter().chain([input.id]), input.now, found);
        }
        let lives = |job: &&KnownJob| job.status.as_deref() != Some("null");
        for known in snapshot.jobs.iter().filter(lives).take(JOBS_TRACKED_MAX) {
            self.jobs.push(Job::known(known, input));
        }
    }

    fn event(
        &mut self,
        event: &Event<'_>,
        input: &Observation<'_>,
        release: Option<Release>,
        found: &mut Conclusions,
    ) {
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

    fn status(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let status = event.text("status").unwrap_or_default();
        let known = subject::of(event).and_then(|id| self.jobs.iter().position(|job| *job.id == *id));
        if status == "null" {
            // A job without another event in this epoch was reported in the epoch before.
            let Some(index) = known else { return };
            if self.jobs[index].is_reported() {
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

    /// The job that the event concerns; a new job begins with this event.
    fn job(
        &mut self,
        event: &Event<'_>,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) -> Option<&mut Job> {
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

    /// Evicts a reported job, or else the oldest.
    fn make_room(&mut self, input: &Observation<'_>, found: &mut Conclusions) {
        if self.jobs.len() < JOBS_TRACKED_MAX {
            return;
        }
        let index = self.jobs.iter().position(Job::is_reported).unwrap_or(0);
        let mut job = self.jobs.remove(index);
        if !job.is_reported() {
            job.report(Outcome::Untracked, [input.id], input.now, found);
        }
    }

    fn over(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let Some(id) = subject::of(event) else { return };
        let Some(index) = self.jobs.iter().position(|job| *job.id == *id) else { return };
        let job = &mut self.jobs[index];
        match job.outcome() {
            // An answer that is on the way was given before the job was dismissed.
            None if job.question().is_some() => {}
            None if !job.is_dismissed() => {
                job.ask(input.id, input.now.after(ANSWER_MAX));
                found.ask(QUERY_JOBS, input.id);
            }
            outcome => job.report(outcome.unwrap_or(job.unexplained()), [input.id], input.now, found),
        }
        self.sweep();
    }

    /// Takes a command that was passed on: a command that starts a job gives its type, which no event of the job does.
    fn take_command(&mut self, command: &Value, input: &Observation<'_>) {
        let text =
            |value: &'_ Value, member: &str| value.get(member).and_then(Value::as_str).map(Box::<str>::from);
        let Some(ty) = text(command, "execute").and_then(|execute| type_of(&execute)) else { return };
        let is_done = text(command, "result").as_deref() == Some("done");
        let arguments = command.get("arguments").unwrap_or(&Value::Null);
        let id = text(arguments, "job-id").or_else(|| text(arguments, "device"));
        let job = self.jobs.iter_mut().find(|job| Some(&job.id) == id.as_ref() && !job.is_reported());
        if let Some(job) = job.filter(|_| is_done) {
            job.set_type(ty, input.id);
        }
    }

    /// Takes the VM's list of jobs, or the failure to get it.
    fn take_answer(&mut self, answer: &Answer<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let is_its = |question: &JobQuestion| answer.is_to((QUERY_JOBS, question.cause));
        if !self.jobs.iter().any(|job| job.question().is_some_and(is_its)) {
            return;
        }
        let known = answer.returned().map(KnownJob::read_all).unwrap_or_default();
        for job in &mut self.jobs {
            let over = known.iter().find(|known| known.id == job.id && known.is_over());
            if let (Some(known), Some(_)) = (over, job.question()) {
                job.take_type(known);
                let outcome = job.conclude(known.error.as_deref());
                job.report(outcome, [input.id], input.now, found);
            }
        }
        self.give_up(is_its, input.now, found);
    }

    /// Reports jobs without waiting for an answer any longer.
    fn give_up(&mut self, is_due: impl Fn(&JobQuestion) -> bool, now: Moment, found: &mut Conclusions) {
        for job in &mut self.jobs {
            if job.question().is_some_and(&is_due) {
                job.report(job.unexplained(), [], now, found);
            }
        }
        self.sweep();
    }

    /// Removes the jobs that are reported and that the VM has dismissed.
    fn sweep(&mut self) {
        self.jobs.retain(|job| !(job.is_reported() && job.is_dismissed()));
    }

    fn detached(&mut self, input: &Observation<'_>, found: &mut Conclusions) {
        self.closed = Some(input.id);
        self.give_up(|_| true, input.now, found);
        if found.has_qemu_ended {
            self.interrupt_all(input, found);
        }
    }

    /// Reports all jobs as interrupted, because QEMU has ended.
    fn interrupt_all(&mut self, input: &Observation<'_>, found: &mut Conclusions) {
        let closed = self.closed;
        for mut job in std::mem::take(&mut self.jobs).into_iter().filter(|job| !job.is_reported()) {
            job.report(Outcome::Interrupted, closed.into_iter().chain([input.id]), input.now, found);
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

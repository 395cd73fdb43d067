//! One job from its first event to its end.

use qmp_events::EventKind as K;
use qmp_wire::UnixMicros;
use serde_json::{Value, json};

use crate::conclusion::Conclusions;
use crate::finding::Id;
use crate::limits::{CAUSES_MAX, PHASES_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, KnownJob, Observation};
use crate::persist::{persist, persist_enum};
use crate::state::JobState;
use crate::text;

pub(in super::super) const JOB: &str = "job";

/// A job from its first event until the VM dismisses it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: Box<str>,
    ty: Option<Box<str>>,
    phases: Phases,
    causes: Vec<Id>,
    began: Moment,
    /// Whether the job ran before it was first seen: then its duration is a lower bound.
    began_unseen: bool,
    current: Option<u64>,
    total: Option<u64>,
    errors: u64,
    error: Option<Box<str>>,
    cancelled: bool,
    aborted: bool,
    /// Whether a status or an event was seen that only a completing job has.
    completes: bool,
    end: End,
    /// Whether the VM has dismissed it.
    dismissed: bool,
}

/// Whether the job is over, and whether its end was reported.
#[derive(Debug)]
enum End {
    /// The job is not over.
    Ahead,
    Asked(JobQuestion),
    Reported,
}

/// The question about the result of a job.
#[derive(Debug)]
pub(super) struct JobQuestion {
    /// The record that raised the question.
    pub(super) cause: Id,
    pub(super) until: Moment,
}

/// The statuses of a job or migration, in order, up to a limit.
#[derive(Debug, Default)]
pub(in super::super) struct Phases {
    kept: Vec<(Box<str>, UnixMicros)>,
    last: Option<(Box<str>, UnixMicros)>,
    count: u64,
}

/// The result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Completed,
    Failed,
    Cancelled,
    Interrupted,
    Unseen,
    Untracked,
    /// The job is over, and its result is unknown.
    Unknown,
}

/// The error of a job that was cancelled.
///
/// Source: QEMU `job.c`, `job_update_rc()`: the text of `ECANCELED`.
const CANCELLED: &str = "Operation canceled";

persist!(Job {
    id,
    ty,
    phases,
    causes,
    began,
    began_unseen,
    current,
    total,
    errors,
    error,
    cancelled,
    aborted,
    completes,
    end,
    dismissed,
});
persist_enum!(End { Ahead {}, Asked { 0: question }, Reported {} });
persist!(JobQuestion { cause, until });
persist!(Phases { kept, last, count });

impl Phases {
    pub(in super::super) fn push(&mut self, status: &str, at: UnixMicros) {
        self.count += 1;
        self.last = Some((status.into(), at));
        if self.kept.len() < PHASES_MAX {
            self.kept.push((status.into(), at));
        }
    }

    pub(in super::super) fn last(&self) -> Option<(&str, UnixMicros)> {
        self.last.as_ref().map(|(status, at)| (&**status, *at))
    }

    /// The kept statuses, and the last one if it is not among them.
    pub(in super::super) fn json(&self) -> Value {
        let is_longer = self.count > self.kept.len() as u64;
        let last = self.last.iter().filter(|_| is_longer);
        self.kept.iter().chain(last).map(|(status, at)| phase_json(status, *at)).collect()
    }

    pub(in super::super) fn count(&self) -> u64 {
        self.count
    }
}

impl Job {
    /// Creates a job at its first event.
    pub(super) fn begun(id: &str, input: &Observation<'_>, began_unseen: bool) -> Self {
        Self {
            id: id.into(),
            ty: None,
            phases: Phases::default(),
            causes: Vec::new(),
            began: input.now,
            began_unseen,
            current: None,
            total: None,
            errors: 0,
            error: None,
            cancelled: false,
            aborted: false,
            completes: false,
            end: End::Ahead,
            dismissed: false,
        }
    }

    /// Creates a job of the snapshot.
    pub(super) fn known(known: &KnownJob, input: &Observation<'_>) -> Self {
        let mut job = Self::begun(&known.id, input, true);
        (job.ty, job.current, job.total) = (known.ty.clone(), known.current, known.total);
        job.phase(known.status.as_deref().unwrap_or("running"), input);
        if known.is_over() {
            // The epoch in which the job ended has reported it.
            job.error = known.error.clone();
            job.end = End::Reported;
        }
        job
    }

    /// The open question about its result.
    pub(super) fn question(&self) -> Option<&JobQuestion> {
        match &self.end {
            End::Asked(question) => Some(question),
            End::Ahead | End::Reported => None,
        }
    }

    pub(super) fn is_reported(&self) -> bool {
        matches!(self.end, End::Reported)
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Records that the VM has dismissed it.
    pub(super) fn dismiss(&mut self) {
        self.dismissed = true;
    }

    /// Waits for the answer to the question that the record `cause` raised.
    pub(super) fn ask(&mut self, cause: Id, until: Moment) {
        self.end = End::Asked(JobQuestion { cause, until });
    }

    /// Takes the type from the VM's list of jobs.
    pub(super) fn take_type(&mut self, known: &KnownJob) {
        self.ty = known.ty.clone().or(self.ty.take());
    }

    /// Sets the type from the record of the command that started the job, unless it is known.
    pub(super) fn set_type(&mut self, ty: &str, id: Id) {
        if self.ty.is_none() {
            self.ty = Some(ty.into());
            self.cause(id);
        }
    }

    pub(super) fn phase(&mut self, status: &str, input: &Observation<'_>) {
        self.aborted |= status == "aborting";
        self.completes |= status == "pending";
        self.phases.push(status, input.received);
        self.cause(input.id);
    }

    /// Takes an event that only block jobs have.
    pub(super) fn block_event(&mut self, kind: K, event: &Event<'_>, input: &Observation<'_>) {
        self.ty = event.text("type").map(Box::from).or(self.ty.take());
        self.current = event.number("offset").or(self.current);
        self.total = event.number("len").or(self.total);
        match kind {
            K::BlockJobError => self.errors += 1,
            K::BlockJobCancelled => self.cancelled = true,
            _ => self.error = event.text("error").map(Box::from).or(self.error.take()),
        }
        self.completes |= kind == K::BlockJobCompleted;
        self.cause(input.id);
    }

    /// The result, as far as events show it.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self { cancelled: true, .. } => Some(Outcome::Cancelled),
            Self { error: Some(_), .. } => Some(Outcome::Failed),
            Self { aborted: true, .. } => None,
            Self { completes: true, .. } => Some(Outcome::Completed),
            _ => None,
        }
    }

    /// The result of a job that is over, with `error` as the VM gives it; without an error it completed.
    pub(super) fn conclude(&mut self, error: Option<&str>) -> Outcome {
        self.error = error.map(Box::from).or(self.error.take());
        match (self.outcome(), self.error.as_deref()) {
            (Some(Outcome::Cancelled), _) => Outcome::Cancelled,
            (_, Some(CANCELLED)) => Outcome::Cancelled,
            (_, Some(_)) => Outcome::Failed,
            (_, None) if self.aborted => Outcome::Failed,
            (_, None) => Outcome::Completed,
        }
    }

    /// The result without an answer.
    pub(super) fn unexplained(&self) -> Outcome {
        if self.aborted { Outcome::Failed } else { Outcome::Unknown }
    }

    pub(super) fn listed(&self) -> JobState {
        let (status, since) = self.phases.last().unwrap_or(("running", UnixMicros(0)));
        let error = self.error.clone().filter(|_| self.is_reported());
        JobState { id: Some(self.id.clone()), ty: self.ty.clone(), status: status.into(), error, since }
    }

    /// Adds the finding; the job is kept until the VM dismisses it.
    pub(super) fn report(
        &mut self,
        outcome: Outcome,
        last: impl IntoIterator<Item = Id>,
        now: Moment,
        found: &mut Conclusions,
    ) {
        last.into_iter().for_each(|id| self.cause(id));
        let took = now.since(self.began);
        let ty = self.ty.as_deref().map(|ty| format!(" ({ty})")).unwrap_or_default();
        let at_least = if self.began_unseen { "at least " } else { "" };
        let progress = self.current.zip(self.total);
        let progress =
            progress.map(|(done, all)| format!(", {done} of {all} bytes done")).unwrap_or_default();
        let error =
            self.error.as_deref().map(|error| format!(" ({})", text::shown(error))).unwrap_or_default();
        let ended = match outcome {
            Outcome::Completed => "completed".to_owned(),
            Outcome::Failed if self.error.is_none() => {
                "failed or was cancelled, and QEMU gave no reason,".to_owned()
            }
            Outcome::Failed => format!("failed{error}"),
            Outcome::Cancelled => "was cancelled".to_owned(),
            Outcome::Interrupted => "ended with its QEMU, unfinished".to_owned(),
            Outcome::Unseen => "ended between two epochs; its result is not known".to_owned(),
            Outcome::Unknown => "is over, and its result is not known,".to_owned(),
            Outcome::Untracked => "is not tracked further: too many run at once".to_owned(),
        };
        let errors = match self.errors {
            0 => String::new(),
            errors => format!(", with an I/O error {}", text::times(errors)),
        };
        let id = text::shown(&self.id);
        let summary = format!("Job {id}{ty} {ended} after {at_least}{}{progress}{errors}.", text::span(took));
        let data = json!({
            "job": self.id,
            "type": self.ty,
            "result": outcome.word(),
            "error": self.error,
            "io_errors": self.errors,
            "duration_seconds": seconds(took),
            "began_unseen": self.began_unseen,
            "current": self.current,
            "total": self.total,
            "phases": self.phases.json(),
            "phase_count": self.phases.count(),
        });
        found.push(JOB, summary, self.causes.clone(), data);
        self.end = End::Reported;
    }

    /// Adds a cause: keeps the first ones, and always the last.
    fn cause(&mut self, id: Id) {
        if self.causes.len() >= CAUSES_MAX {
            self.causes.pop();
        }
        self.causes.push(id);
    }
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Unseen => "unseen",
            Self::Untracked => "untracked",
            Self::Unknown => "unknown",
        }
    }
}

/// A span in seconds, to the microsecond.
pub(in super::super) fn seconds(span: std::time::Duration) -> f64 {
    text::seconds(span)
}

/// A phase with its time, as JSON.
fn phase_json(status: &str, at: UnixMicros) -> serde_json::Value {
    json!({"status": status, "received": at.to_string()})
}

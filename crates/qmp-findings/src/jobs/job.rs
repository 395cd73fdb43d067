//! One job from its first sign to its end.

use qmp_events::EventKind as K;
use qmp_wire::UnixMicros;
use serde_json::{Value, json};

use crate::conclusion::Found;
use crate::finding::Id;
use crate::limits::{CAUSES_MAX, PHASES_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Input, KnownJob};
use crate::saved::{saved, saved_enum};
use crate::state::Running;
use crate::text;

pub(in super::super) const JOB: &str = "job";

/// A job from its first sign until the VM has it no more.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: Box<str>,
    ty: Option<Box<str>>,
    phases: Phases,
    causes: Vec<Id>,
    began: Moment,
    /// It ran already when it was first seen: it took longer than is known.
    began_unseen: bool,
    current: Option<u64>,
    total: Option<u64>,
    errors: u64,
    error: Option<Box<str>>,
    cancelled: bool,
    aborted: bool,
    /// A status or an event that only a job has that completes.
    completes: bool,
    end: End,
    /// The VM has it no more.
    dismissed: bool,
}

/// How far the telling of a job is that is over.
#[derive(Debug)]
enum End {
    /// It is not over.
    Ahead,
    Asking(Asking),
    Told,
}

/// The VM is asked what came of a job.
#[derive(Debug)]
pub(super) struct Asking {
    /// The record that raised the question.
    pub(super) cause: Id,
    pub(super) until: Moment,
}

/// The statuses of something, in order, as many as are worth keeping.
#[derive(Debug, Default)]
pub(in super::super) struct Phases {
    kept: Vec<(Box<str>, UnixMicros)>,
    last: Option<(Box<str>, UnixMicros)>,
    count: u64,
}

/// What came of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Completed,
    Failed,
    Cancelled,
    Interrupted,
    Unseen,
    Untracked,
    /// It is over, and nothing says how.
    Unknown,
}

/// The error of a job that was cancelled.
///
/// Source: QEMU `job.c`, `job_update_rc()`: the text of `ECANCELED`.
const CANCELLED: &str = "Operation canceled";

saved!(Job {
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
saved_enum!(End { Ahead {}, Asking { 0: asking }, Told {} });
saved!(Asking { cause, until });
saved!(Phases { kept, last, count });

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

    /// The kept ones, and the last one if it is not among them.
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
    /// A job of which this is the first sign.
    pub(super) fn begun(id: &str, input: &Input<'_>, began_unseen: bool) -> Self {
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

    /// A job of the snapshot.
    pub(super) fn known(known: &KnownJob, input: &Input<'_>) -> Self {
        let mut job = Self::begun(&known.id, input, true);
        (job.ty, job.current, job.total) = (known.ty.clone(), known.current, known.total);
        job.phase(known.status.as_deref().unwrap_or("running"), input);
        if known.is_over() {
            // The epoch in which it ended has told it.
            job.error = known.error.clone();
            job.end = End::Told;
        }
        job
    }

    pub(super) fn asking(&self) -> Option<&Asking> {
        match &self.end {
            End::Asking(asking) => Some(asking),
            End::Ahead | End::Told => None,
        }
    }

    pub(super) fn is_told(&self) -> bool {
        matches!(self.end, End::Told)
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// The VM has it no more.
    pub(super) fn dismiss(&mut self) {
        self.dismissed = true;
    }

    /// Waits for the answer to the question that the record `cause` raised.
    pub(super) fn ask(&mut self, cause: Id, until: Moment) {
        self.end = End::Asking(Asking { cause, until });
    }

    /// Takes over what the VM says of it.
    pub(super) fn is_of(&mut self, known: &KnownJob) {
        self.ty = known.ty.clone().or(self.ty.take());
    }

    /// Notes the type, by the record of the command that started it, unless it is known.
    pub(super) fn has_type(&mut self, ty: &str, id: Id) {
        if self.ty.is_none() {
            self.ty = Some(ty.into());
            self.cause(id);
        }
    }

    pub(super) fn phase(&mut self, status: &str, input: &Input<'_>) {
        self.aborted |= status == "aborting";
        self.completes |= status == "pending";
        self.phases.push(status, input.received);
        self.cause(input.id);
    }

    /// An event that only block jobs have.
    pub(super) fn block_event(&mut self, kind: K, event: &Event<'_>, input: &Input<'_>) {
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

    /// What came of it, as far as events tell.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self { cancelled: true, .. } => Some(Outcome::Cancelled),
            Self { error: Some(_), .. } => Some(Outcome::Failed),
            Self { aborted: true, .. } => None,
            Self { completes: true, .. } => Some(Outcome::Completed),
            _ => None,
        }
    }

    /// What came of it, with `error` as the VM says of a job that is over; without one it completed.
    pub(super) fn came_to(&mut self, error: Option<&str>) -> Outcome {
        self.error = error.map(Box::from).or(self.error.take());
        match (self.outcome(), self.error.as_deref()) {
            (Some(Outcome::Cancelled), _) => Outcome::Cancelled,
            (_, Some(CANCELLED)) => Outcome::Cancelled,
            (_, Some(_)) => Outcome::Failed,
            (_, None) if self.aborted => Outcome::Failed,
            (_, None) => Outcome::Completed,
        }
    }

    /// What can be said without an answer.
    pub(super) fn unexplained(&self) -> Outcome {
        if self.aborted { Outcome::Failed } else { Outcome::Unknown }
    }

    pub(super) fn listed(&self) -> Running {
        let (status, since) = self.phases.last().unwrap_or(("running", UnixMicros(0)));
        let error = self.error.clone().filter(|_| self.is_told());
        Running { id: Some(self.id.clone()), ty: self.ty.clone(), status: status.into(), error, since }
    }

    /// Adds the finding; the job is known on until the VM has it no more.
    pub(super) fn tell(
        &mut self,
        outcome: Outcome,
        last: impl IntoIterator<Item = Id>,
        now: Moment,
        found: &mut Found,
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
        let came = match outcome {
            Outcome::Completed => "completed".to_owned(),
            Outcome::Failed if self.error.is_none() => {
                "failed or was cancelled, for a reason that QEMU did not tell,".to_owned()
            }
            Outcome::Failed => format!("failed{error}"),
            Outcome::Cancelled => "was cancelled".to_owned(),
            Outcome::Interrupted => "ended with its QEMU, unfinished".to_owned(),
            Outcome::Unseen => "ended between two epochs; what came of it is not known".to_owned(),
            Outcome::Unknown => "is over, and what came of it is not known,".to_owned(),
            Outcome::Untracked => "is not followed further: too many run at once".to_owned(),
        };
        let errors = match self.errors {
            0 => String::new(),
            errors => format!(", with an I/O error {}", text::times(errors)),
        };
        let id = text::shown(&self.id);
        let summary = format!("Job {id}{ty} {came} after {at_least}{}{progress}{errors}.", text::span(took));
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
        self.end = End::Told;
    }

    /// Keeps the first ones, and always the last.
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

/// A moment of a phase as it stands in JSON.
fn phase_json(status: &str, at: UnixMicros) -> serde_json::Value {
    json!({"status": status, "received": at.to_string()})
}

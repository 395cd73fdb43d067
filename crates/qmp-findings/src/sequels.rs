//! Sequels that did not come in time, by the catalogue.
//!
//! An event may announce others, under conditions. Those on members and on the release are known; whether QEMU was
//! started with an option is not. So the sequels of an event make courses that things may take: those that need
//! no option must come; of those with an option and without it, one must. `WATCHDOG` with `reset` is followed by
//! RESET, or with `-no-reboot` by SHUTDOWN; `SHUTDOWN` of the guest by the end of QEMU, or with `-no-shutdown` by
//! STOP. Where nothing is announced for one of the two, nothing can be missing.
//!
//! A sequel counts that comes after its trigger, or that is not older by the VM's own time: the rate limit may
//! hold a trigger back behind its sequel.

use std::collections::VecDeque;

use qmp_events::{EventKind, Release, Scalar, SequelDesc, WhenDesc};
use serde_json::{Value, json};

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{EXIT_MAX, SEQUEL_MAX, SEQUEL_SLOW_MAX, SEQUELS_AWAITED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Input, What};
use crate::saved::{saved, saved_enum};
use crate::subject;
use crate::text;

pub(super) const SEQUEL_MISSING: &str = "sequel-missing";

/// How the end of QEMU is called among the events that were expected.
const EXIT: &str = "exit";

/// What is waited for in one VM.
#[derive(Debug, Default)]
pub(super) struct Sequels {
    awaited: VecDeque<Awaited>,
    /// The last of each event that may overtake its trigger, with the VM's own time.
    last: Vec<(EventKind, i64)>,
    /// Whether the VM runs; a VM that does not cannot stop.
    stopped: bool,
}

/// What one event announced and what has not come of it yet: of each of these courses one.
#[derive(Debug)]
struct Awaited {
    trigger: EventKind,
    id: Id,
    subject: Option<Box<str>>,
    since: Moment,
    until: Moment,
    missing: Vec<Courses>,
}

/// Courses of which one must be taken.
type Courses = Vec<Course>;

#[derive(Clone, Copy, Debug)]
enum Course {
    Sequel(&'static SequelDesc),
    Exit,
}

saved!(Sequels { awaited, last, stopped });
saved!(Awaited { trigger, id, subject, since, until, missing });
saved_enum!(Course { Sequel { 0: sequel }, Exit {} });

impl Correlator for Sequels {
    fn take(&mut self, input: &Input<'_>, span: &Span, _found: &mut Found) {
        match input.what {
            What::Attached(snapshot) => {
                *self = Self { stopped: snapshot.running == Some(false), ..Self::default() };
            }
            What::Event(event) => self.event(event, input, span.release),
            // What comes after the epoch is not seen, and an exit was what some waited for.
            What::Detached(_) => self.awaited.clear(),
            What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.awaited.iter().map(|awaited| awaited.until).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.awaited.retain(|awaited| {
            let is_overdue = awaited.until <= now;
            if is_overdue {
                awaited.tell(found);
            }
            !is_overdue
        });
    }
}

impl Sequels {
    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, release: Option<Release>) {
        let Some(kind) = event.kind else { return };
        self.awaited.retain_mut(|awaited| !awaited.is_met(kind, event));
        if let Some(at) = event.at {
            match self.last.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, last)) => *last = (*last).max(at),
                None if may_overtake(kind) => self.last.push((kind, at)),
                None => {}
            }
        }
        self.announce(kind, event, input, release);
        match kind {
            EventKind::Stop => self.stopped = true,
            EventKind::Resume => self.stopped = false,
            _ => {}
        }
    }

    /// Notes what the event announces.
    fn announce(&mut self, kind: EventKind, event: &Event<'_>, input: &Input<'_>, release: Option<Release>) {
        // The conditions of releases cannot be judged without one.
        let Some(release) = release else { return };
        let mut missing = announced(kind, event, release);
        missing.retain(|courses| !self.has_come(courses, kind, event));
        let Some(longest) = missing.iter().flatten().map(|course| course.patience()).max() else { return };
        if self.awaited.len() >= SEQUELS_AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back(Awaited {
            trigger: kind,
            id: input.id,
            subject: subject::of(event).map(Box::from),
            since: input.now,
            until: input.now.after(longest),
            missing,
        });
    }

    /// Whether it came before, or need not come.
    fn has_come(&self, courses: &[Course], trigger: EventKind, event: &Event<'_>) -> bool {
        let throttled = trigger.desc().throttle.is_some();
        courses.iter().any(|course| match course {
            Course::Exit => false,
            Course::Sequel(sequel) if sequel.event == EventKind::Stop && self.stopped => true,
            Course::Sequel(sequel) => {
                let last = self.last.iter().find(|(kind, _)| *kind == sequel.event);
                throttled && last.is_some_and(|(_, last)| event.at.is_some_and(|at| *last >= at))
            }
        })
    }
}

/// The courses of which one must be taken, for each thing that the event announces.
fn announced(kind: EventKind, event: &Event<'_>, release: Release) -> Vec<Courses> {
    let desc = kind.desc();
    let applies = |when: &WhenDesc| {
        let lives = when.since.is_none_or(|since| release >= since)
            && when.removed.is_none_or(|removed| release < removed);
        lives && holds(when.members, &event.data)
    };
    let sequels = desc.sequels.iter().filter(|sequel| applies(&sequel.when));
    let ends = desc.ends.iter().filter(|ends| applies(&ends.when));
    let mut all: Vec<(&WhenDesc, Course)> =
        sequels.map(|sequel| (&sequel.when, Course::Sequel(sequel))).collect();
    all.extend(ends.map(|ends| (&ends.when, Course::Exit)));

    let mut must: Vec<Courses> = all
        .iter()
        .filter(|(when, _)| when.option.is_none() && when.unless_option.is_none())
        .map(|(_, course)| vec![*course])
        .collect();
    let mut options: Vec<&str> =
        all.iter().filter_map(|(when, _)| when.option.or(when.unless_option)).collect();
    options.sort_unstable();
    options.dedup();
    for option in options {
        let with = all.iter().filter(|(when, _)| when.option == Some(option));
        let without = all.iter().filter(|(when, _)| when.unless_option == Some(option));
        if with.clone().next().is_some() && without.clone().next().is_some() {
            must.push(with.chain(without).map(|(_, course)| *course).collect());
        }
    }
    must
}

/// Whether all members have one of their values. A member that is missing has not.
fn holds(members: &[(&str, &[Scalar])], data: &Value) -> bool {
    members.iter().all(|(name, values)| {
        data.get(name).is_some_and(|found| values.iter().any(|value| equals(value, found)))
    })
}

/// Whether no member contradicts; the release may lack some.
fn agrees(members: &[(&str, &[Scalar])], data: &Value) -> bool {
    members.iter().all(|(name, values)| {
        data.get(name).is_none_or(|found| values.iter().any(|value| equals(value, found)))
    })
}

fn equals(value: &Scalar, found: &Value) -> bool {
    match value {
        Scalar::Str(text) => found.as_str() == Some(text),
        Scalar::Bool(flag) => found.as_bool() == Some(*flag),
        Scalar::Int(number) => found.as_i64() == Some(*number),
    }
}

/// Whether an event of this kind is announced by one that the rate limit may hold back.
fn may_overtake(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(kind, K::Reset | K::Shutdown | K::Powerdown | K::Stop)
}

impl Awaited {
    /// Takes note of an event; whether nothing is missing any more.
    fn is_met(&mut self, kind: EventKind, event: &Event<'_>) -> bool {
        let of_the_same = match (&self.subject, subject::of(event)) {
            (Some(one), Some(other)) => **one == *other,
            _ => true,
        };
        let is_it = |course: &Course| match course {
            Course::Exit => false,
            Course::Sequel(sequel) => sequel.event == kind && of_the_same && agrees(sequel.with, &event.data),
        };
        self.missing.retain(|courses| !courses.iter().any(is_it));
        self.missing.is_empty()
    }

    fn tell(&self, found: &mut Found) {
        let trigger = self.trigger.name();
        let waited = self.until.since(self.since);
        let expected: Vec<Vec<String>> =
            self.missing.iter().map(|courses| courses.iter().map(Course::text).collect()).collect();
        let one_of = |courses: &Vec<String>| courses.join(" or ").replace(EXIT, "the end of QEMU");
        let what = expected.iter().map(one_of).collect::<Vec<_>>().join(" and ");
        let of = self.subject.as_deref().map(|subject| format!(" of {}", text::shown(subject)));
        let summary = format!(
            "{trigger}{} announced {what}, which did not come within {}.",
            of.unwrap_or_default(),
            text::span(waited)
        );
        let data = json!({
            "trigger": trigger,
            "expected": expected,
            "subject": self.subject,
            "waited_seconds": waited.as_secs(),
        });
        found.push(SEQUEL_MISSING, summary, vec![self.id], data);
    }
}

impl Course {
    fn patience(self) -> std::time::Duration {
        match self {
            Self::Exit => EXIT_MAX,
            Self::Sequel(sequel) => match sequel.event {
                EventKind::JobStatusChange | EventKind::Migration => SEQUEL_SLOW_MAX,
                _ => SEQUEL_MAX,
            },
        }
    }

    /// The event that was expected, or `exit`.
    fn text(&self) -> String {
        let Self::Sequel(sequel) = self else { return EXIT.to_owned() };
        match sequel.with.iter().find(|(name, _)| *name == "status" || *name == "reason") {
            Some((_, [Scalar::Str(value)])) => format!("{} {value}", sequel.event.name()),
            _ => sequel.event.name().to_owned(),
        }
    }
}

//! Reports sequels that were announced by an event and are missing, according to the catalogue.
//!
//! An event may announce others, under conditions. Conditions on members and on the release can be decided; whether
//! QEMU was started with an option is unknown. So the sequels of an event form expectations: those that need no option
//! are required; of those with an option and without it, one is required. `WATCHDOG` with `reset` is followed by RESET,
//! or with `-no-reboot` by SHUTDOWN; `SHUTDOWN` of the guest by the end of QEMU, or with `-no-shutdown` by STOP. Where
//! nothing is announced for one of the two, nothing can be missing.
//!
//! A sequel counts if it is received after its trigger, or is not older by the VM's own time: the rate limit may hold a
//! trigger back until after its sequel.

use std::collections::VecDeque;

use qmp_events::{EventKind, Release, Scalar, SequelDesc, WhenDesc};
use serde_json::{Value, json};

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{EXIT_MAX, SEQUEL_MAX, SEQUEL_SLOW_MAX, SEQUELS_AWAITED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::{persist, persist_enum};
use crate::subject;
use crate::text;

pub(super) const SEQUEL_MISSING: &str = "sequel-missing";

/// The name of the end of QEMU among the expected events.
const EXIT: &str = "exit";

/// The awaited sequels of one VM.
#[derive(Debug, Default)]
pub(super) struct Sequels {
    awaited: VecDeque<PendingSequels>,
    /// The last of each event that may overtake its trigger, with the VM's own time.
    last: Vec<(EventKind, i64)>,
    /// Whether the VM is stopped: a stopped VM cannot stop again.
    stopped: bool,
}

/// The sequels that one event announced and that are missing so far: one of each list of alternatives is required.
#[derive(Debug)]
struct PendingSequels {
    trigger: EventKind,
    id: Id,
    subject: Option<Box<str>>,
    since: Moment,
    until: Moment,
    missing: Vec<Alternatives>,
}

/// Expectations of which one must be met.
type Alternatives = Vec<Expectation>;

#[derive(Clone, Copy, Debug)]
enum Expectation {
    Sequel(&'static SequelDesc),
    Exit,
}

persist!(Sequels { awaited, last, stopped });
persist!(PendingSequels { trigger, id, subject, since, until, missing });
persist_enum!(Expectation { Sequel { 0: sequel }, Exit {} });

impl Correlator for Sequels {
    fn take(&mut self, input: &Observation<'_>, span: &Span, _found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => {
                *self = Self { stopped: snapshot.running == Some(false), ..Self::default() };
            }
            ObservationKind::Event(event) => self.event(event, input, span.release),
            // Later sequels are not seen; an exit was one of the expectations.
            ObservationKind::Detached(..) => self.awaited.clear(),
            ObservationKind::Command(_) | ObservationKind::ProcessEnded(_) | ObservationKind::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.awaited.iter().map(|awaited| awaited.until).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        self.awaited.retain(|awaited| {
            let is_overdue = awaited.until <= now;
            if is_overdue {
                awaited.report(found);
            }
            !is_overdue
        });
    }
}

impl Sequels {
    fn event(&mut self, event: &Event<'_>, input: &Observation<'_>, release: Option<Release>) {
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

    /// Adds the sequels that the event announces.
    fn announce(
        &mut self,
        kind: EventKind,
        event: &Event<'_>,
        input: &Observation<'_>,
        release: Option<Release>,
    ) {
        // The conditions on releases cannot be decided without one.
        let Some(release) = release else { return };
        let mut missing = announced(kind, event, release);
        missing.retain(|alternatives| !self.is_met_already(alternatives, kind, event));
        let Some(longest) = missing.iter().flatten().map(|expectation| expectation.time_limit()).max() else {
            return;
        };
        if self.awaited.len() >= SEQUELS_AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back(PendingSequels {
            trigger: kind,
            id: input.id,
            subject: subject::of(event).map(Box::from),
            since: input.now,
            until: input.now.after(longest),
            missing,
        });
    }

    /// Whether one was met before the trigger, or need not be met.
    fn is_met_already(&self, alternatives: &[Expectation], trigger: EventKind, event: &Event<'_>) -> bool {
        let throttled = trigger.desc().throttle.is_some();
        alternatives.iter().any(|expectation| match expectation {
            Expectation::Exit => false,
            Expectation::Sequel(sequel) if sequel.event == EventKind::Stop && self.stopped => true,
            Expectation::Sequel(sequel) => {
                let last = self.last.iter().find(|(kind, _)| *kind == sequel.event);
                throttled && last.is_some_and(|(_, last)| event.at.is_some_and(|at| *last >= at))
            }
        })
    }
}

/// The alternatives of which one must be met, for each thing that the event announces.
fn announced(kind: EventKind, event: &Event<'_>, release: Release) -> Vec<Alternatives> {
    let desc = kind.desc();
    let applies = |when: &WhenDesc| {
        let is_current = when.since.is_none_or(|since| release >= since)
            && when.removed.is_none_or(|removed| release < removed);
        is_current && holds(when.members, &event.data)
    };
    let sequels = desc.sequels.iter().filter(|sequel| applies(&sequel.when));
    let ends = desc.ends.iter().filter(|ends| applies(&ends.when));
    let mut all: Vec<(&WhenDesc, Expectation)> =
        sequels.map(|sequel| (&sequel.when, Expectation::Sequel(sequel))).collect();
    all.extend(ends.map(|ends| (&ends.when, Expectation::Exit)));

    let mut required: Vec<Alternatives> = all
        .iter()
        .filter(|(when, _)| when.option.is_none() && when.unless_option.is_none())
        .map(|(_, expectation)| vec![*expectation])
        .collect();
    let mut options: Vec<&str> =
        all.iter().filter_map(|(when, _)| when.option.or(when.unless_option)).collect();
    options.sort_unstable();
    options.dedup();
    for option in options {
        let with = all.iter().filter(|(when, _)| when.option == Some(option));
        let without = all.iter().filter(|(when, _)| when.unless_option == Some(option));
        if with.clone().next().is_some() && without.clone().next().is_some() {
            required.push(with.chain(without).map(|(_, expectation)| *expectation).collect());
        }
    }
    required
}

/// Whether all members have one of their values; a missing member has none.
fn holds(members: &[(&str, &[Scalar])], data: &Value) -> bool {
    members.iter().all(|(name, values)| {
        data.get(name).is_some_and(|found| values.iter().any(|value| equals(value, found)))
    })
}

/// Whether no member contradicts; the release may lack some members.
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

/// Whether the trigger of this kind of event may be held back by the rate limit.
fn may_overtake(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(kind, K::Reset | K::Shutdown | K::Powerdown | K::Stop)
}

impl PendingSequels {
    /// Takes an event; returns whether nothing is missing any more.
    fn is_met(&mut self, kind: EventKind, event: &Event<'_>) -> bool {
        let of_the_same = match (&self.subject, subject::of(event)) {
            (Some(one), Some(other)) => **one == *other,
            _ => true,
        };
        let is_it = |expectation: &Expectation| match expectation {
            Expectation::Exit => false,
            Expectation::Sequel(sequel) => {
                sequel.event == kind && of_the_same && agrees(sequel.with, &event.data)
            }
        };
        self.missing.retain(|alternatives| !alternatives.iter().any(is_it));
        self.missing.is_empty()
    }

    fn report(&self, found: &mut Conclusions) {
        let trigger = self.trigger.name();
        let waited = self.until.since(self.since);
        let expected: Vec<Vec<String>> =
            self.missing.iter().map(|list| list.iter().map(Expectation::text).collect()).collect();
        let one_of = |texts: &Vec<String>| texts.join(" or ").replace(EXIT, "the end of QEMU");
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

impl Expectation {
    fn time_limit(self) -> std::time::Duration {
        match self {
            Self::Exit => EXIT_MAX,
            Self::Sequel(sequel) => match sequel.event {
                EventKind::JobStatusChange | EventKind::Migration => SEQUEL_SLOW_MAX,
                _ => SEQUEL_MAX,
            },
        }
    }

    /// The name of the expected event, or `exit`.
    fn text(&self) -> String {
        let Self::Sequel(sequel) = self else { return EXIT.to_owned() };
        match sequel.with.iter().find(|(name, _)| *name == "status" || *name == "reason") {
            Some((_, [Scalar::Str(value)])) => format!("{} {value}", sequel.event.name()),
            _ => sequel.event.name().to_owned(),
        }
    }
}

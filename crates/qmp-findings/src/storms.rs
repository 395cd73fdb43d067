//! Storms and flapping: events so frequent that single ones mean little. Begin and end are reported, with the count;
//! the events themselves are all in the journal.
//!
//! A storm is many events of one name: [`STORM_EVENTS`] at once, or more than [`STORM_EVENTS`] in [`STORM_SPAN`] for
//! long. Flapping is one thing that alternates between two states: a VM that is stopped and resumed, a port that is
//! opened and closed. Storms and flapping are counted by a leaky bucket that fills with each event, so that only a
//! level and a few numbers are kept.

mod bucket;

use qmp_events::EventKind as K;
use serde_json::json;

use crate::budget::pair;
use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::limits::{COUNTED_MAX, FLAPPING_CHANGES, FLAPPING_SPAN, STORM_EVENTS, STORM_SPAN};
use crate::local_time::Moment;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::persist;
use crate::subject;
use crate::text;
use bucket::{Bucket, BurstReport};

pub(super) const STORM: &str = "storm";
pub(super) const STORM_OVER: &str = "storm-over";
pub(super) const FLAPPING: &str = "flapping";
pub(super) const FLAPPING_OVER: &str = "flapping-over";

/// The frequent events of one VM.
#[derive(Debug, Default)]
pub(super) struct Storms {
    events: Vec<(Box<str>, Bucket)>,
    things: Vec<Toggle>,
}

/// A thing that is in one of two states.
#[derive(Debug)]
struct Toggle {
    what: &'static str,
    subject: Option<Box<str>>,
    on: bool,
    changes: Bucket,
}

persist!(Storms { events, things });
persist!(Toggle { what, subject, on, changes });

impl Correlator for Storms {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(_) => *self = Self::default(),
            ObservationKind::Event(event) => {
                self.count(event, input, found);
                self.flap(event, input, found);
            }
            ObservationKind::Detached(..) => self.quiet(|_| true, found),
            ObservationKind::Command(_) | ObservationKind::ProcessEnded(_) | ObservationKind::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let events = self.events.iter().filter_map(|(_, bucket)| bucket.calm_at());
        events.chain(self.things.iter().filter_map(|thing| thing.changes.calm_at())).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        self.quiet(|bucket| bucket.calm_at().is_some_and(|at| at <= now), found);
    }
}

impl Storms {
    fn count(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        // Passes come by the hundred; the finding of the migration has their number.
        if event.kind == Some(K::MigrationPass) {
            return;
        }
        let index = match self.events.iter().position(|(name, _)| **name == *event.name) {
            Some(index) => index,
            None => {
                if self.events.len() >= COUNTED_MAX {
                    let Some(quietest) = quietest(self.events.iter().map(|(_, bucket)| bucket)) else {
                        return;
                    };
                    let (name, mut bucket) = self.events.swap_remove(quietest);
                    report_storm(&name, bucket.end(), found);
                }
                self.events.push((event.name.into(), Bucket::new(STORM_EVENTS, STORM_SPAN)));
                self.events.len() - 1
            }
        };
        let (name, bucket) = &mut self.events[index];
        if let Some(report) = bucket.add(input.id, input.now) {
            report_storm(name, Some(report), found);
        }
    }

    fn flap(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let Some((what, on)) = event.kind.and_then(|kind| change(kind, event)) else { return };
        let subject = subject::of(event);
        let is_it = |thing: &Toggle| thing.what == what && thing.subject.as_deref() == subject;
        match self.things.iter_mut().find(|thing| is_it(thing)) {
            Some(thing) if thing.on == on => {}
            Some(thing) => {
                thing.on = on;
                let report = thing.changes.add(input.id, input.now);
                thing.report(report, found);
            }
            None => {
                if self.things.len() >= COUNTED_MAX {
                    let Some(quietest) = quietest(self.things.iter().map(|thing| &thing.changes)) else {
                        return;
                    };
                    let mut thing = self.things.swap_remove(quietest);
                    let report = thing.changes.end();
                    thing.report(report, found);
                }
                let mut changes = Bucket::new(FLAPPING_CHANGES, FLAPPING_SPAN);
                changes.add(input.id, input.now);
                self.things.push(Toggle { what, subject: subject.map(Box::from), on, changes });
            }
        }
    }

    /// Ends the storms and flapping that are over.
    fn quiet(&mut self, is_over: impl Fn(&Bucket) -> bool, found: &mut Conclusions) {
        for (name, bucket) in &mut self.events {
            if is_over(bucket) {
                report_storm(name, bucket.end(), found);
            }
        }
        for thing in &mut self.things {
            if is_over(&thing.changes) {
                let report = thing.changes.end();
                thing.report(report, found);
            }
        }
    }
}

/// The thing that the event changes, and its new state.
fn change(kind: K, event: &Event<'_>) -> Option<(&'static str, bool)> {
    Some(match kind {
        K::Stop => ("VM", false),
        K::Resume => ("VM", true),
        K::Suspend => ("sleep", false),
        K::Wakeup => ("sleep", true),
        K::VserportChange => ("port", event.flag("open")?),
        K::DeviceTrayMoved => ("tray", event.flag("tray-open")?),
        K::NetdevStreamConnected | K::NetdevVhostUserConnected => ("network", true),
        K::NetdevStreamDisconnected | K::NetdevVhostUserDisconnected => ("network", false),
        K::PrManagerStatusChanged => ("persistent reservation manager", event.flag("connected")?),
        K::JobStatusChange => match event.text("status")? {
            "ready" => ("job", true),
            "standby" => ("job", false),
            _ => return None,
        },
        _ => return None,
    })
}

fn quietest<'b>(buckets: impl Iterator<Item = &'b Bucket>) -> Option<usize> {
    buckets.enumerate().min_by_key(|(_, bucket)| bucket.rank()).map(|(index, _)| index)
}

fn report_storm(name: &str, report: Option<BurstReport>, found: &mut Conclusions) {
    let Some(report) = report else { return };
    let (name_shown, count, span) = (text::shown(name), report.count, text::span(report.span));
    let (kind, summary) = match report.over {
        false => (STORM, format!("{name_shown} comes in a storm: {count} times within {span} so far.")),
        true => {
            (STORM_OVER, format!("The storm of {name_shown} is over: it came {count} times within {span}."))
        }
    };
    found.push(kind, summary, report.causes(), report.json(json!({"event": name})));
}

impl Toggle {
    fn report(&self, report: Option<BurstReport>, found: &mut Conclusions) {
        let Some(report) = report else { return };
        let subject = self.subject.as_deref().map(|subject| format!(" {}", text::shown(subject)));
        let (what, subject) = (self.what, subject.unwrap_or_default());
        let (count, span) = (report.count, text::span(report.span));
        let (kind, summary) = match report.over {
            false => (FLAPPING, format!("The {what}{subject} flaps: {count} changes within {span} so far.")),
            true => (
                FLAPPING_OVER,
                format!("The {what}{subject} no longer flaps: it changed {count} times within {span}."),
            ),
        };
        let data = report.json(json!({"what": self.what, "subject": self.subject}));
        found.push(kind, summary, report.causes(), data);
    }
}

impl BurstReport {
    fn json(&self, mut data: serde_json::Value) -> serde_json::Value {
        data["count"] = json!(self.count);
        data["first"] = pair(self.first);
        data["last"] = pair(self.last);
        data["span_seconds"] = json!(text::seconds(self.span));
        data
    }
}

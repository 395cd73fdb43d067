//! Storms and flapping: what comes so often that single events say nothing any more. Told when it begins and when
//! it is over, with the count; the events themselves are all in the journal.
//!
//! A storm is many events of one name: [`STORM_EVENTS`] at once, or more than [`STORM_EVENTS`] in [`STORM_SPAN`] for
//! long. Flapping is one thing that goes to and fro: a VM that is stopped and resumed, a port that is opened and
//! closed. Both are counted as a bucket that fills with each event and leaks steadily, so nothing but a level and
//! a few numbers is kept.

mod bucket;

use qmp_events::EventKind as K;
use serde_json::json;

use crate::budget::pair;
use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::limits::{COUNTED_MAX, FLAPPING_CHANGES, FLAPPING_SPAN, STORM_EVENTS, STORM_SPAN};
use crate::local_time::Moment;
use crate::observation::{Event, Input, What};
use crate::saved::saved;
use crate::subject;
use crate::text;
use bucket::{Bucket, Told};

pub(super) const STORM: &str = "storm";
pub(super) const STORM_OVER: &str = "storm-over";
pub(super) const FLAPPING: &str = "flapping";
pub(super) const FLAPPING_OVER: &str = "flapping-over";

/// What one VM says often.
#[derive(Debug, Default)]
pub(super) struct Storms {
    events: Vec<(Box<str>, Bucket)>,
    things: Vec<Thing>,
}

/// Something that is in one of two states.
#[derive(Debug)]
struct Thing {
    what: &'static str,
    subject: Option<Box<str>>,
    on: bool,
    changes: Bucket,
}

saved!(Storms { events, things });
saved!(Thing { what, subject, on, changes });

impl Correlator for Storms {
    fn take(&mut self, input: &Input<'_>, _span: &Span, found: &mut Found) {
        match input.what {
            What::Attached(_) => *self = Self::default(),
            What::Event(event) => {
                self.count(event, input, found);
                self.flap(event, input, found);
            }
            What::Detached(_) => self.quiet(|_| true, found),
            What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let events = self.events.iter().filter_map(|(_, bucket)| bucket.calm_at());
        events.chain(self.things.iter().filter_map(|thing| thing.changes.calm_at())).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.quiet(|bucket| bucket.calm_at().is_some_and(|at| at <= now), found);
    }
}

impl Storms {
    fn count(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        // Passes come by the hundred; the migration tells their number.
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
                    tell_storm(&name, bucket.end(), found);
                }
                self.events.push((event.name.into(), Bucket::new(STORM_EVENTS, STORM_SPAN)));
                self.events.len() - 1
            }
        };
        let (name, bucket) = &mut self.events[index];
        if let Some(told) = bucket.add(input.id, input.now) {
            tell_storm(name, Some(told), found);
        }
    }

    fn flap(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let Some((what, on)) = event.kind.and_then(|kind| change(kind, event)) else { return };
        let subject = subject::of(event);
        let is_it = |thing: &Thing| thing.what == what && thing.subject.as_deref() == subject;
        match self.things.iter_mut().find(|thing| is_it(thing)) {
            Some(thing) if thing.on == on => {}
            Some(thing) => {
                thing.on = on;
                let told = thing.changes.add(input.id, input.now);
                thing.tell(told, found);
            }
            None => {
                if self.things.len() >= COUNTED_MAX {
                    let Some(quietest) = quietest(self.things.iter().map(|thing| &thing.changes)) else {
                        return;
                    };
                    let mut thing = self.things.swap_remove(quietest);
                    let told = thing.changes.end();
                    thing.tell(told, found);
                }
                let mut changes = Bucket::new(FLAPPING_CHANGES, FLAPPING_SPAN);
                changes.add(input.id, input.now);
                self.things.push(Thing { what, subject: subject.map(Box::from), on, changes });
            }
        }
    }

    /// Ends what has calmed down.
    fn quiet(&mut self, is_over: impl Fn(&Bucket) -> bool, found: &mut Found) {
        for (name, bucket) in &mut self.events {
            if is_over(bucket) {
                tell_storm(name, bucket.end(), found);
            }
        }
        for thing in &mut self.things {
            if is_over(&thing.changes) {
                let told = thing.changes.end();
                thing.tell(told, found);
            }
        }
    }
}

/// The thing that the event changes, and to which of its two states.
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

fn tell_storm(name: &str, told: Option<Told>, found: &mut Found) {
    let Some(told) = told else { return };
    let (name_shown, count, span) = (text::shown(name), told.count, text::span(told.span));
    let (kind, summary) = match told.over {
        false => (STORM, format!("{name_shown} comes in a storm: {count} times within {span} so far.")),
        true => {
            (STORM_OVER, format!("The storm of {name_shown} is over: it came {count} times within {span}."))
        }
    };
    found.push(kind, summary, told.causes(), told.json(json!({"event": name})));
}

impl Thing {
    fn tell(&self, told: Option<Told>, found: &mut Found) {
        let Some(told) = told else { return };
        let subject = self.subject.as_deref().map(|subject| format!(" {}", text::shown(subject)));
        let (what, subject) = (self.what, subject.unwrap_or_default());
        let (count, span) = (told.count, text::span(told.span));
        let (kind, summary) = match told.over {
            false => (FLAPPING, format!("The {what}{subject} flaps: {count} changes within {span} so far.")),
            true => (
                FLAPPING_OVER,
                format!("The {what}{subject} flaps no more: it changed {count} times within {span}."),
            ),
        };
        let data = told.json(json!({"what": self.what, "subject": self.subject}));
        found.push(kind, summary, told.causes(), data);
    }
}

impl Told {
    fn json(&self, mut data: serde_json::Value) -> serde_json::Value {
        data["count"] = json!(self.count);
        data["first"] = pair(self.first);
        data["last"] = pair(self.last);
        data["span_seconds"] = json!(text::seconds(self.span));
        data
    }
}

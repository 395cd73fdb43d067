//! Finds events that differ from the catalogue of the release that sent them; reports each difference once an epoch.

use std::hash::{DefaultHasher, Hash, Hasher};

use qmp_events::{Release, Violation, validate};
use serde_json::json;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::limits::DRIFT_REPORTED_MAX;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::persist;
use crate::text;

pub(super) const SCHEMA_DRIFT: &str = "schema-drift";

/// The differences that were reported in the epoch, by hash.
#[derive(Debug, Default)]
pub(super) struct Drift {
    reported: Vec<u64>,
}

persist!(Drift { reported });

impl Correlator for Drift {
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(_) => self.reported = Vec::new(),
            ObservationKind::Event(event) => {
                // Without a release there is no catalogue to compare with.
                if let Some(release) = span.release {
                    self.event(event, input, release, found);
                }
            }
            ObservationKind::Detached(..)
            | ObservationKind::Command(_)
            | ObservationKind::ProcessEnded(_)
            | ObservationKind::Answer(_) => {}
        }
    }
}

impl Drift {
    fn event(
        &mut self,
        event: &Event<'_>,
        input: &Observation<'_>,
        release: Release,
        found: &mut Conclusions,
    ) {
        let added: Vec<Violation> = validate(event.name, event.raw, release)
            .into_iter()
            .filter(|violation| self.add(violation))
            .collect();
        let Some(first) = added.first() else { return };
        let more = match added.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let newer = match release > Release::newest() {
            true => format!("; the catalogue ends at QEMU {}", Release::newest()),
            false => String::new(),
        };
        let summary = format!(
            "{} is not as the catalogue has it for QEMU {release}: {}{more}{newer}.",
            text::shown(event.name),
            text::shown(&without_name(first)),
        );
        let differences: Vec<_> = added
            .iter()
            .map(|violation| json!({"path": violation.path, "what": text::shown(&violation.to_string())}))
            .collect();
        let data = json!({"event": event.name, "release": release.to_string(), "differences": differences});
        found.push(SCHEMA_DRIFT, summary, vec![input.id], data);
    }

    fn add(&mut self, violation: &Violation) -> bool {
        let mut hasher = DefaultHasher::new();
        // The value is left out: a guest may choose it.
        (&violation.event, &violation.path, std::mem::discriminant(&violation.kind)).hash(&mut hasher);
        let hash = hasher.finish();
        let is_new = self.reported.len() < DRIFT_REPORTED_MAX && !self.reported.contains(&hash);
        if is_new {
            self.reported.push(hash);
        }
        is_new
    }
}

/// The difference without the event's name, which the sentence already has.
fn without_name(violation: &Violation) -> String {
    let text = violation.to_string();
    match text.split_once(' ') {
        Some((name, rest)) if name.trim_end_matches(':') == &*violation.event => rest.to_owned(),
        _ => text,
    }
}

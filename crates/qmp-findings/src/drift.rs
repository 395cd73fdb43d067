//! Events that are not as the catalogue says for the release that sent them, each difference once an epoch.

use std::hash::{DefaultHasher, Hash, Hasher};

use qmp_events::{Release, Violation, validate};
use serde_json::json;

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::limits::DRIFT_REPORTED_MAX;
use crate::observation::{Event, Input, What};
use crate::saved::saved;
use crate::text;

pub(super) const SCHEMA_DRIFT: &str = "schema-drift";

/// What was reported in the epoch, by hash.
#[derive(Debug, Default)]
pub(super) struct Drift {
    reported: Vec<u64>,
}

saved!(Drift { reported });

impl Correlator for Drift {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        match input.what {
            What::Attached(_) => self.reported = Vec::new(),
            What::Event(event) => {
                // Without a release there is nothing to compare with.
                if let Some(release) = span.release {
                    self.event(event, input, release, found);
                }
            }
            What::Detached(_) | What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }
}

impl Drift {
    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, release: Release, found: &mut Found) {
        let fresh: Vec<Violation> = validate(event.name, event.raw, release)
            .into_iter()
            .filter(|violation| self.is_news(violation))
            .collect();
        let Some(first) = fresh.first() else { return };
        let more = match fresh.len() {
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
            text::shown(&told(first)),
        );
        let differences: Vec<_> = fresh
            .iter()
            .map(|violation| json!({"path": violation.path, "what": text::shown(&violation.to_string())}))
            .collect();
        let data = json!({"event": event.name, "release": release.to_string(), "differences": differences});
        found.push(SCHEMA_DRIFT, summary, vec![input.id], data);
    }

    fn is_news(&mut self, violation: &Violation) -> bool {
        let mut hasher = DefaultHasher::new();
        // The value that came is left out: a guest may choose it.
        (&violation.event, &violation.path, std::mem::discriminant(&violation.kind)).hash(&mut hasher);
        let hash = hasher.finish();
        let is_news = self.reported.len() < DRIFT_REPORTED_MAX && !self.reported.contains(&hash);
        if is_news {
            self.reported.push(hash);
        }
        is_news
    }
}

/// The difference without the event's name, which the sentence has already.
fn told(violation: &Violation) -> String {
    let text = violation.to_string();
    match text.split_once(' ') {
        Some((name, rest)) if name.trim_end_matches(':') == &*violation.event => rest.to_owned(),
        _ => text,
    }
}

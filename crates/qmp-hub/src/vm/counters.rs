//! Counters of each VM, for metrics.
//!
//! One task counts without waiting: each number is an atomic. A VM without events, which is the usual case for hours, has no
//! counters of events.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use qmp_events::{EventKind, catalogue};
use qmp_wire::DetachReason;

/// Counters of one VM, from the start of the hub.
#[derive(Debug, Default)]
pub struct VmCounts {
    /// Epochs opened.
    pub epochs: Counter,
    /// Attempts to attach that failed.
    pub attach_failures: Counter,
    /// Events discarded because the journal had no room.
    pub events_discarded: Counter,
    gaps: [Counter; GAP_REASONS.len()],
    /// One for each event of the catalogue, and the last for all others.
    events: OnceLock<Box<[Counter]>>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Why gaps begin, as in records; the last one is for every other reason.
pub(crate) const GAP_REASONS: [&str; 5] =
    ["peer closed", "overrun", "protocol error", "source lost", "other"];

/// The name for events that the catalogue does not have. Their names come from the VM, which could invent any number of
/// them. No event has this name: names of events are in capitals.
pub(crate) const OTHER_EVENTS: &str = "other";

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        // The order in which different counters change has no meaning.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl VmCounts {
    /// The VM reported an event.
    pub(crate) fn event(&self, name: &str) {
        let events =
            self.events.get_or_init(|| (0..=catalogue().len()).map(|_| Counter::default()).collect());
        let place = EventKind::from_name(name).map_or(catalogue().len(), |kind| kind as usize);
        events[place].add(1);
    }

    /// An epoch closed.
    pub(crate) fn gap(&self, reason: &DetachReason) {
        let other = GAP_REASONS.len() - 1;
        let place = GAP_REASONS.iter().position(|name| *name == reason.as_str()).unwrap_or(other);
        self.gaps[place].add(1);
    }

    /// How often each event was received; without events that never were.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = catalogue().iter().map(|desc| desc.name).chain([OTHER_EVENTS]);
        let counts = self.events.get().map(|events| &**events).unwrap_or_default();
        names.zip(counts.iter().map(Counter::get)).filter(|(_, count)| *count > 0)
    }

    /// How often an epoch closed for each reason.
    pub fn gaps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        GAP_REASONS.into_iter().zip(self.gaps.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_names_that_the_catalogue_knows() {
        let counts = VmCounts::default();
        assert_eq!(counts.events().count(), 0);
        for name in ["STOP", "X_1", "RESUME", "STOP", "X_2", "", "stop", "other"] {
            counts.event(name);
        }
        let events: Vec<_> = counts.events().collect();
        assert_eq!(events, [("RESUME", 1), ("STOP", 2), ("other", 5)]);
    }

    #[test]
    fn every_event_of_the_catalogue_has_a_number_of_its_own() {
        let counts = VmCounts::default();
        for desc in catalogue() {
            counts.event(desc.name);
        }
        let expected: Vec<_> = catalogue().iter().map(|desc| (desc.name, 1)).collect();
        assert_eq!(counts.events().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn gaps_are_counted_by_reason() {
        let counts = VmCounts::default();
        let reasons = [
            DetachReason::PeerClosed,
            DetachReason::Overrun,
            DetachReason::Overrun,
            DetachReason::ProtocolError,
            DetachReason::Other("moon".into()),
            DetachReason::HubStopped,
        ];
        reasons.iter().for_each(|reason| counts.gap(reason));
        let expected =
            [("peer closed", 1), ("overrun", 2), ("protocol error", 1), ("source lost", 0), ("other", 2)];
        assert_eq!(counts.gaps().collect::<Vec<_>>(), expected);
    }
}

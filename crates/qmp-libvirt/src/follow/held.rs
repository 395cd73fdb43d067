//! Events that wait for the state of their domain.

use crate::event::MonitorEvent;

/// Most events that wait for the state of their domain, which takes under a millisecond.
const HELD_EVENTS_MAX: usize = 4096;

/// Most bytes of the events that wait for the state of their domain.
const HELD_MAX_BYTES: usize = 8 << 20;

/// Most bytes of the events of all domains that wait for states.
pub(crate) const HELD_MAX_BYTES_OF_ALL: usize = 64 << 20;

/// Events that wait, in order.
#[derive(Debug, Default)]
pub(crate) struct Held {
    events: Vec<MonitorEvent>,
    bytes: usize,
    /// Events were thrown away, so the state has to be newer than this moment.
    overflowed: bool,
}

impl Held {
    /// Adds an event; `left_bytes` are those that other domains leave.
    pub(crate) fn push(&mut self, event: MonitorEvent, left_bytes: usize) {
        self.bytes += size_of::<MonitorEvent>() + event.held_bytes();
        self.events.push(event);
        if self.events.len() > HELD_EVENTS_MAX || self.bytes > HELD_MAX_BYTES.min(left_bytes) {
            *self = Self { overflowed: true, ..Self::default() };
        }
    }

    /// The bytes that the events take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no event waits or was thrown away.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.overflowed
    }

    /// Takes the events; `None` if some were thrown away since the last call.
    pub(crate) fn take(&mut self) -> Option<Vec<MonitorEvent>> {
        if self.overflowed {
            self.overflowed = false;
            return None;
        }
        Some(std::mem::take(self).events)
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD_EVENTS_MAX, HELD_MAX_BYTES, HELD_MAX_BYTES_OF_ALL, Held};
    use crate::event::MonitorEvent;

    #[test]
    fn too_many_events_are_discarded_together() {
        let cases = [
            ("count", 0, HELD_EVENTS_MAX + 1, HELD_MAX_BYTES_OF_ALL),
            ("bytes", HELD_MAX_BYTES / 3, 3, HELD_MAX_BYTES_OF_ALL),
            ("bytes that others leave", 1 << 20, 2, 2 << 20),
        ];
        for (name, data_bytes, count, left_bytes) in cases {
            let data = Some("x".repeat(data_bytes).into());
            let event = MonitorEvent { name: "E".into(), seconds: 1, microseconds: 0, data };
            let mut held = Held::default();
            for _ in 0..count {
                held.push(event.clone(), left_bytes);
            }
            held.push(event.clone(), left_bytes);
            assert_eq!(held.take(), None, "{name}");
            assert_eq!(held.take(), Some(vec![event]), "{name}");
            assert_eq!(held.take(), Some(Vec::new()), "{name}");
        }
    }
}

//! Rate limiting of similar events.
//!
//! The first event of a key passes at once and opens a window. While the window is open the newest event of that
//! key is held and replaces the previously held one. When the window closes, the held event passes and the window
//! opens again, counted from the time at which `expire` is called; if no event is held, the key is removed.
//!
//! Holds no clock: `now` is an argument. A key is an event and a text, as QEMU compares the member by which an
//! event is limited; [`EventDesc::throttle_at`] returns the length of the window and the member.
//!
//! [`EventDesc::throttle_at`]: crate::EventDesc::throttle_at
//!
//! Source: QEMU `monitor/monitor.c`; timeline measured on QEMU 11.1.3 with a stepped clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::event_kind::EventKind;

/// Maximum number of keys that a limiter distinguishes at a time.
///
/// Without this limit a guest that invents keys could fill the memory. Keys beyond it share one window per event:
/// their events stay within the rate, and the newest of all of them is held. A machine of 4,096 ports that all
/// toggle stays below the limit.
pub const LIMITED_KEYS_MAX: usize = 8192;

/// Decides which events pass at once and which are held.
#[derive(Debug)]
pub struct Limiter<E> {
    windows: BTreeMap<EventKind, BTreeMap<Arc<str>, Window<E>>>,
    /// The windows by closing time; those of the same time in the order in which they opened.
    closing: BTreeSet<(Instant, u64, EventKind, Arc<str>)>,
    opened: u64,
    merged: u64,
    keys_max: usize,
}

#[derive(Debug)]
struct Window<E> {
    interval: Duration,
    held: Option<E>,
}

/// The decision about an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<'a, E> {
    /// The event passes.
    Pass,
    /// The event has to be put here, in place of a held one.
    Hold(&'a mut Option<E>),
}

/// The state of an open window, for a limiter that continues in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWindow<E> {
    /// The event.
    pub kind: EventKind,
    /// The key.
    pub key: Arc<str>,
    /// The closing time.
    pub closes_at: Instant,
    /// The length of the window.
    pub interval: Duration,
    /// The held event.
    pub held: Option<E>,
}

impl<E> Default for Limiter<E> {
    fn default() -> Self {
        Self::with_keys_max(LIMITED_KEYS_MAX)
    }
}

impl<E> Limiter<E> {
    /// Creates a limiter that distinguishes at most `keys_max` keys at a time.
    #[must_use]
    pub fn with_keys_max(keys_max: usize) -> Self {
        Self { windows: BTreeMap::new(), closing: BTreeSet::new(), opened: 0, merged: 0, keys_max }
    }

    /// Returns `event` if it passes at once, or holds it until the window of its key closes.
    ///
    /// A previously held event of the same key is dropped: of similar events, only the newest is worth the wait.
    pub fn offer(
        &mut self,
        kind: EventKind,
        key: &str,
        interval: Duration,
        event: E,
        now: Instant,
    ) -> Option<E> {
        match self.admit(kind, key, interval, now) {
            Admission::Pass => Some(event),
            Admission::Hold(slot) => {
                *slot = Some(event);
                None
            }
        }
    }

    /// Decides like [`offer`](Self::offer) about an event that is not yet created.
    ///
    /// The caller stores the event in the returned place; a held event there may be overwritten.
    pub fn admit(
        &mut self,
        kind: EventKind,
        key: &str,
        interval: Duration,
        now: Instant,
    ) -> Admission<'_, E> {
        let key = if self.closing.len() < self.keys_max || self.is_open(kind, key) { key } else { "" };
        if !self.is_open(kind, key) {
            let key: Arc<str> = key.into();
            let window = Window { interval, held: None };
            self.windows.entry(kind).or_default().insert(Arc::clone(&key), window);
            self.close_later(kind, key, now + interval);
            return Admission::Pass;
        }
        let windows = self.windows.get_mut(&kind).expect("it has an open window");
        let window = windows.get_mut(key).expect("open, as checked above");
        if window.held.is_some() {
            self.merged += 1;
        }
        Admission::Hold(&mut window.held)
    }

    /// Calls `pass` with every held event whose window closes by `now`, in the order in which they close.
    ///
    /// The window of an event that passes opens again until one interval after `now`, even if `now` is late.
    pub fn expire(&mut self, now: Instant, mut pass: impl FnMut(E)) {
        let later = (now, u64::MAX, EventKind::AcpiDeviceOst, Arc::from(""));
        let open = self.closing.split_off(&later);
        for (_, _, kind, key) in std::mem::replace(&mut self.closing, open) {
            let Some(windows) = self.windows.get_mut(&kind) else { continue };
            let Some(window) = windows.get_mut(&key) else { continue };
            match window.held.take() {
                Some(event) => {
                    pass(event);
                    let closes_at = now + window.interval;
                    self.close_later(kind, key, closes_at);
                }
                None => {
                    windows.remove(&key);
                }
            }
        }
    }

    /// Calls `pass` with all held events, in the order in which their windows would have closed, and removes all
    /// keys.
    ///
    /// For the end of a machine: QEMU loses its held events then.
    pub fn flush(&mut self, mut pass: impl FnMut(E)) {
        let mut windows = std::mem::take(&mut self.windows);
        for (_, _, kind, key) in std::mem::take(&mut self.closing) {
            let window = windows.get_mut(&kind).and_then(|windows| windows.remove(&key));
            if let Some(event) = window.and_then(|window| window.held) {
                pass(event);
            }
        }
    }

    /// Removes all open windows and returns them, in the order in which they close.
    pub fn take_windows(&mut self) -> Vec<OpenWindow<E>> {
        let mut windows = std::mem::take(&mut self.windows);
        let closing = std::mem::take(&mut self.closing).into_iter();
        let open = closing.filter_map(|(closes_at, _, kind, key)| {
            let Window { interval, held } = windows.get_mut(&kind)?.remove(&key)?;
            Some(OpenWindow { kind, key, closes_at, interval, held })
        });
        open.collect()
    }

    /// Opens a window that [`take_windows`](Self::take_windows) returned, in place of one of its key.
    pub fn reopen(&mut self, window: OpenWindow<E>) {
        let OpenWindow { kind, key, closes_at, interval, held } = window;
        self.closing.retain(|(_, _, other, other_key)| (*other, other_key) != (kind, &key));
        self.windows.entry(kind).or_default().insert(Arc::clone(&key), Window { interval, held });
        self.close_later(kind, key, closes_at);
    }

    /// Returns when to call [`expire`](Self::expire) next; `None` while no window is open.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.closing.first().map(|(closes_at, ..)| *closes_at)
    }

    /// Returns the number of events that were replaced by a newer one and never passed.
    #[must_use]
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Returns the number of open windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.closing.len()
    }

    /// Returns whether no window is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.closing.is_empty()
    }

    fn is_open(&self, kind: EventKind, key: &str) -> bool {
        self.windows.get(&kind).is_some_and(|windows| windows.contains_key(key))
    }

    fn close_later(&mut self, kind: EventKind, key: Arc<str>, closes_at: Instant) {
        self.opened += 1;
        self.closing.insert((closes_at, self.opened, kind, key));
    }
}

#[cfg(test)]
#[path = "limiter/tests.rs"]
mod tests;

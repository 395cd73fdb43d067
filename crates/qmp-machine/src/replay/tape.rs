//! The tape of a session: when each event is due, at the speed of the replay.

use std::time::{Duration, Instant};

use super::session::Session;

/// Maximum bytes queued for a client before the tape waits, too.
pub(super) const OUTPUT_MAX_BYTES: usize = 256 << 10;

/// The position in the tape of a session.
#[derive(Default)]
pub(super) struct Tape {
    /// Index of the next event.
    next: usize,
    /// Session time that was already played when the client connected.
    played: Duration,
    /// When the client had negotiated.
    started: Option<Instant>,
}

impl Tape {
    /// Appends the events that are due; the first call starts the tape.
    pub(super) fn play(&mut self, session: &Session, speed: f64, output: &mut Vec<u8>) {
        self.started.get_or_insert_with(Instant::now);
        while let Some(event) = session.events.get(self.next) {
            if output.len() >= OUTPUT_MAX_BYTES || !self.time_until(event.at, speed).is_zero() {
                return;
            }
            output.extend_from_slice(&event.bytes);
            self.next += 1;
        }
    }

    /// Returns whether all events were sent.
    pub(super) fn is_at_end(&self, session: &Session) -> bool {
        self.next == session.events.len()
    }

    /// Returns whether all events were sent and the recorded connection had ended.
    pub(super) fn is_over(&self, session: &Session, speed: f64) -> bool {
        let is_past = |at| self.time_until(at, speed).is_zero();
        self.is_at_end(session) && session.end_at.is_none_or(is_past)
    }

    /// Returns the time until the next event is due.
    pub(super) fn timeout(&self, session: &Session, speed: f64) -> Option<Duration> {
        self.started?;
        let next = session.events.get(self.next).map(|event| event.at).or(session.end_at)?;
        Some(self.time_until(next, speed))
    }

    /// Pauses at the time of the last sent event after the client disconnected.
    pub(super) fn pause(&mut self, session: &Session) {
        self.played = self.next.checked_sub(1).map(|last| session.events[last].at).unwrap_or_default();
        self.started = None;
    }

    fn time_until(&self, at: Duration, speed: f64) -> Duration {
        if speed == 0.0 {
            return Duration::ZERO;
        }
        let due = at.saturating_sub(self.played).as_secs_f64() / speed;
        // A time this far in the future is never reached.
        let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
        due.saturating_sub(self.started.map(|started| started.elapsed()).unwrap_or_default())
    }
}

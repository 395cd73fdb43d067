//! The tape of a session: which event is due when, at the speed of the replay.

use std::time::{Duration, Instant};

use super::recording::Session;

/// Bytes that may wait for a client before the tape waits, too.
pub(super) const OUTPUT_MAX_BYTES: usize = 256 << 10;

/// Where the tape of a session is.
#[derive(Default)]
pub(super) struct Tape {
    /// The next event.
    next: usize,
    /// How much of the session's time was over when the client came.
    before: Duration,
    /// When the client had negotiated.
    begun: Option<Instant>,
}

impl Tape {
    /// Appends what is due; begins with the first call.
    pub(super) fn play(&mut self, session: &Session, speed: f64, output: &mut Vec<u8>) {
        self.begun.get_or_insert_with(Instant::now);
        while let Some(event) = session.events.get(self.next) {
            if output.len() >= OUTPUT_MAX_BYTES || !self.left_until(event.at, speed).is_zero() {
                return;
            }
            output.extend_from_slice(&event.bytes);
            self.next += 1;
        }
    }

    /// Whether all events were said.
    pub(super) fn is_at_end(&self, session: &Session) -> bool {
        self.next == session.events.len()
    }

    /// Whether all events were said and the recorded connection was over.
    pub(super) fn is_over(&self, session: &Session, speed: f64) -> bool {
        let is_past = |at| self.left_until(at, speed).is_zero();
        self.is_at_end(session) && session.end_at.is_none_or(is_past)
    }

    /// How long nothing is due.
    pub(super) fn timeout(&self, session: &Session, speed: f64) -> Option<Duration> {
        self.begun?;
        let next = session.events.get(self.next).map(|event| event.at).or(session.end_at)?;
        Some(self.left_until(next, speed))
    }

    /// The client left: time stands still where the last event stood.
    pub(super) fn pause(&mut self, session: &Session) {
        self.before = self.next.checked_sub(1).map(|last| session.events[last].at).unwrap_or_default();
        self.begun = None;
    }

    fn left_until(&self, at: Duration, speed: f64) -> Duration {
        if speed == 0.0 {
            return Duration::ZERO;
        }
        let due = at.saturating_sub(self.before).as_secs_f64() / speed;
        // What is that far away does not come.
        let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
        due.saturating_sub(self.begun.map(|begun| begun.elapsed()).unwrap_or_default())
    }
}

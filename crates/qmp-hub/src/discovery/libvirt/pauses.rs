//! The pauses between two sessions with a daemon.

use std::time::Duration;

/// The first pause after a session ended or could not be opened. A daemon that restarts needs some of them.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long a session lasts before the pauses begin anew: the pauses grow while a daemon ends every session at once.
const SESSION_MIN: Duration = Duration::from_secs(2);

/// The pauses, each twice as long as the one before.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(RETRY_FIRST)
    }
}

impl Pauses {
    /// A session ended that lasted so long.
    pub(super) fn session_ended(&mut self, lasted: Duration) {
        if lasted >= SESSION_MIN {
            self.0 = RETRY_FIRST;
        }
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = RETRY_MAX.min(pause * 2);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_session_lasts() {
        let mut pauses = Pauses::default();
        let mut after = |lasted: Duration| {
            pauses.session_ended(lasted);
            pauses.next().as_millis()
        };
        let grown: Vec<u128> = (0..7).map(|_| after(Duration::from_millis(30))).collect();
        assert_eq!(grown, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(after(SESSION_MIN), 250);
        assert_eq!(after(Duration::ZERO), 500);
    }
}

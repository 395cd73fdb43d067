//! A limit for log lines that any peer can cause.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How often a log line may be written that an unauthenticated peer can cause, such as of a wrong token. A peer that tries
/// tokens for a day causes 8,640 lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Lets a line pass now and then, and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<LimitState>);

#[derive(Debug, Default)]
struct LimitState {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// The suffix of a line that may pass: empty, or with the number of lines left out; `None` if this line is left out.
    pub fn pass(&self, now: Instant) -> Option<String> {
        let mut past = lock(&self.0);
        if past.last.is_some_and(|last| now.saturating_duration_since(last) < LINE_EVERY) {
            past.left_out += 1;
            return None;
        }
        past.last = Some(now);
        Some(match std::mem::take(&mut past.left_out) {
            0 => String::new(),
            left_out => format!(" (and {left_out} times more since the last such line)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_and_a_number() {
        let (limit, began) = (LogLimit::default(), Instant::now());
        //  ms       what passes
        let cases = [
            (0, Some("")),
            (1, None),
            (9_999, None),
            (10_000, Some(" (and 2 times more since the last such line)")),
            (20_001, Some("")),
        ];
        for (at_ms, expected) in cases {
            let passed = limit.pass(began + Duration::from_millis(at_ms));
            assert_eq!(passed.as_deref(), expected, "{at_ms}");
        }
    }
}

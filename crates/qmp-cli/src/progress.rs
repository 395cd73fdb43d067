//! One line about long work, on the standard error and only if that is a terminal.
//!
//! The line appears when the work takes longer than half a second, and disappears with it. Lines of the log and notes that are
//! printed meanwhile replace it; its next change draws it below them.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use qmp_host::lock;

use crate::render::escape;
use crate::terminal::Terminal;

/// Shorter work shows nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// The line changes no more often.
const CHANGES_EVERY: Duration = Duration::from_millis(100);

/// Returns to the begin of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// The most characters of a line: a longer one would wrap on a terminal of 80 columns, and could not be cleared.
const LINE_MAX: usize = 78;

/// Whether a line is on the terminal.
static IS_SHOWN: Mutex<bool> = Mutex::new(false);

/// Clears the line, before other text is printed.
pub fn clear() {
    let mut is_shown = lock(&IS_SHOWN);
    if std::mem::take(&mut *is_shown) {
        let _ = io::stderr().write_all(CLEAR.as_bytes());
    }
}

/// The progress of some work. Clears its line when it is dropped.
#[derive(Debug)]
pub struct Progress {
    what: String,
    is_enabled: bool,
    begin: Instant,
    changed: Option<Instant>,
}

impl Progress {
    /// The progress of `what`, such as "reading web1.qmp".
    pub fn new(terminal: &Terminal, what: impl Into<String>) -> Self {
        let is_enabled = terminal.stderr_is_terminal();
        Self { what: what.into(), is_enabled, begin: Instant::now(), changed: None }
    }

    /// Shows how much is done; `all` is 0 if that is unknown.
    pub fn done(&mut self, done: u64, all: u64, unit: &str) {
        let now = Instant::now();
        let is_due = self.changed.is_none_or(|changed| now - changed >= CHANGES_EVERY);
        if !self.is_enabled || now - self.begin < SHOWN_AFTER || !is_due {
            return;
        }
        self.changed = Some(now);
        let text = line(&self.what, (done, all, unit), now - self.begin);
        *lock(&IS_SHOWN) = true;
        let _ = io::stderr().write_all(format!("{CLEAR}{text}").as_bytes());
    }

    /// Waits for work whose length is unknown.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(SHOWN_AFTER, &mut work).await {
                Ok(result) => return result,
                Err(_) => self.done(0, 0, ""),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.changed.is_some() {
            clear();
        }
    }
}

/// `reading web1.qmp: 45 %, 1,234 of 2,742 records`, or with an unknown end the number, or the time alone.
fn line(what: &str, (done, all, unit): (u64, u64, &str), taken: Duration) -> String {
    let mut text = escape::text(what).into_owned();
    let _ = match (done, all) {
        (0, 0) => write!(text, ": {} s", taken.as_secs()),
        (done, 0) => write!(text, ": {} {unit}", grouped(done)),
        (done, all) => {
            let percent = u128::from(done.min(all)) * 100 / u128::from(all);
            write!(text, ": {percent} %, {} of {} {unit}", grouped(done), grouped(all))
        }
    };
    match text.char_indices().nth(LINE_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_what_is_known() {
        let cases = [
            ((0, 0, ""), "reading: 7 s"),
            ((1_234, 0, "records"), "reading: 1,234 records"),
            ((500, 1_000_000, "records"), "reading: 0 %, 500 of 1,000,000 records"),
            ((u64::MAX, 10, "records"), "reading: 100 %, 18,446,744,073,709,551,615 of 10 records"),
        ];
        for (numbers, expected) in cases {
            assert_eq!(line("reading", numbers, Duration::from_millis(7_900)), expected);
        }
        let long = line(&"\u{1b}ä".repeat(500), (1, 2, "records"), Duration::ZERO);
        assert!(long.chars().count() == LINE_MAX && !long.contains('\u{1b}'), "{long}");
    }
}

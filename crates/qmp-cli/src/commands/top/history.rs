//! The last span of one VM in a fixed number of buckets: how many records, and the state of the VM.

use std::collections::VecDeque;

use qmp_wire::UnixMicros;

/// Buckets of a history.
pub(super) const BUCKETS: usize = 30;

/// What is known of a VM in one bucket, from the least to the most important: of several, the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    /// Before the first known record.
    #[default]
    Before,
    /// QEMU did not run.
    Off,
    /// QEMU ran, in an unknown state.
    Unknown,
    /// The VM ran.
    Running,
    /// The VM was stopped: paused, suspended, migrating.
    Stopped,
    /// The monitor was not attached, and nothing is known.
    Gap,
    /// The VM was in a state that needs an operator.
    Trouble,
}

impl Cell {
    /// The class of a run state of the hub.
    pub(super) fn of_run_state(run_state: &str) -> Self {
        match run_state {
            "running" => Self::Running,
            "io-error" | "internal-error" | "guest-panicked" | "watchdog" | "gone" => Self::Trouble,
            "ended" => Self::Off,
            "unknown" | "" => Self::Unknown,
            _ => Self::Stopped,
        }
    }
}

/// The last span of one VM.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The width of a bucket, in microseconds.
    width: i64,
    /// The index of the newest bucket, in widths since the Unix epoch.
    newest: i64,
    counts: VecDeque<u32>,
    cells: VecDeque<Cell>,
}

impl History {
    /// An empty history of `span` microseconds that ends now.
    pub(super) fn new(span: i64, now: UnixMicros) -> Self {
        let width = (span / i64::try_from(BUCKETS).unwrap_or(1)).max(1);
        Self {
            width,
            newest: now.0.div_euclid(width),
            counts: [0; BUCKETS].into(),
            cells: [Cell::Before; BUCKETS].into(),
        }
    }

    /// Counts records at a time. A time before the span is ignored, a time after it counts in the newest bucket.
    pub(super) fn count(&mut self, at: UnixMicros, records: u32) {
        if let Some(bucket) = self.bucket(at) {
            self.counts[bucket] = self.counts[bucket].saturating_add(records);
        }
    }

    /// Notes the state in a span of time; the most important state of a bucket is kept.
    pub(super) fn note(&mut self, from: UnixMicros, to: UnixMicros, cell: Cell) {
        let begin = UnixMicros(self.newest.saturating_sub(BUCKETS as i64 - 1).saturating_mul(self.width));
        if to < begin || to < from {
            return;
        }
        let (Some(first), Some(last)) = (self.bucket(from.max(begin)), self.bucket(to)) else { return };
        for known in self.cells.range_mut(first..=last) {
            *known = (*known).max(cell);
        }
    }

    /// Moves the end of the span to `now`; the buckets since the last end have the state `cell`.
    pub(super) fn advance(&mut self, now: UnixMicros, cell: Cell) {
        let newest = now.0.div_euclid(self.width);
        let steps = newest.saturating_sub(self.newest);
        for _ in 0..steps.clamp(0, BUCKETS as i64) {
            self.counts.pop_front();
            self.counts.push_back(0);
            self.cells.pop_front();
            self.cells.push_back(cell);
        }
        self.newest = self.newest.max(newest);
        if let Some(last) = self.cells.back_mut() {
            *last = (*last).max(cell);
        }
    }

    /// The counts, joined to `columns` columns.
    pub(super) fn counts(&self, columns: usize) -> Vec<u32> {
        joined(&self.counts, columns, |counts| counts.iter().fold(0, |sum, count| count.saturating_add(sum)))
    }

    /// The states, joined to `columns` columns.
    pub(super) fn cells(&self, columns: usize) -> Vec<Cell> {
        joined(&self.cells, columns, |cells| cells.iter().copied().max().unwrap_or_default())
    }

    /// All records of the span.
    pub(super) fn total(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| count.saturating_add(sum))
    }

    /// The position of the bucket of a time.
    fn bucket(&self, at: UnixMicros) -> Option<usize> {
        let back = self.newest.saturating_sub(at.0.div_euclid(self.width)).max(0);
        BUCKETS.checked_sub(1 + usize::try_from(back).ok()?)
    }
}

/// Joins neighbours so that `columns` values remain; fewer values are not widened.
fn joined<T: Copy, U>(values: &VecDeque<T>, columns: usize, join: impl Fn(&[T]) -> U) -> Vec<U> {
    let values: Vec<T> = values.iter().copied().collect();
    let columns = columns.clamp(1, values.len());
    (0..columns)
        .map(|column| {
            let (from, to) = (column * values.len() / columns, (column + 1) * values.len() / columns);
            join(&values[from..to])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// A history of 30 buckets of one second that ends at second 100.
    fn history() -> History {
        History::new(30 * SECOND, UnixMicros(100 * SECOND))
    }

    #[test]
    fn records_count_in_the_bucket_of_their_time() {
        let mut history = history();
        history.count(UnixMicros(100 * SECOND), 2);
        history.count(UnixMicros(71 * SECOND), 3);
        history.count(UnixMicros(70 * SECOND), 100);
        history.count(UnixMicros(200 * SECOND), 1);
        let counts = history.counts(BUCKETS);
        assert_eq!((counts[0], counts[29], history.total()), (3, 3, 6));
        assert_eq!(history.counts(2), [3, 3]);
    }

    #[test]
    fn buckets_move_with_the_time() {
        let mut history = history();
        history.count(UnixMicros(100 * SECOND), 2);
        history.advance(UnixMicros(103 * SECOND), Cell::Running);
        assert_eq!(history.counts(BUCKETS)[26], 2);
        assert_eq!(history.cells(BUCKETS)[26..], [Cell::Before, Cell::Running, Cell::Running, Cell::Running]);
        history.advance(UnixMicros(1_000 * SECOND), Cell::Gap);
        assert_eq!((history.total(), history.cells(1)), (0, vec![Cell::Gap]));
        history.advance(UnixMicros(900 * SECOND), Cell::Running);
        assert_eq!(history.cells(1), [Cell::Gap], "a clock that steps back moves nothing");
    }

    #[test]
    fn most_important_state_of_a_column_is_shown() {
        let mut history = history();
        history.note(UnixMicros(0), UnixMicros(100 * SECOND), Cell::Running);
        history.note(UnixMicros(75 * SECOND), UnixMicros(76 * SECOND), Cell::Trouble);
        history.note(UnixMicros(95 * SECOND), UnixMicros(i64::MAX), Cell::Gap);
        assert_eq!(history.cells(3), [Cell::Trouble, Cell::Running, Cell::Gap]);
    }
}

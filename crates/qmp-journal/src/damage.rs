//! What of a journal cannot be read: passed over by every reader, and reported once.

use std::sync::{Mutex, PoisonError};

use qmp_wire::Offset;
use rusqlite::ErrorCode;

use super::error::JournalError;
use super::limits::DAMAGED_SPANS_MAX;

/// Records that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSpan {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// What is wrong with the first one that was met.
    pub what: Box<str>,
}

/// What the readers of one file met.
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<Vec<DamagedSpan>>);

impl DamageLog {
    /// Notes that `first..=last` cannot be read. Said in the log unless it is known, or next to what is.
    pub(super) fn note(&self, first: u64, last: u64, what: &str) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let touches = |span: &&mut DamagedSpan| first <= span.last.0 + 1 && last + 1 >= span.first.0;
        if let Some(span) = spans.iter_mut().find(touches) {
            span.first = span.first.min(Offset(first));
            span.last = span.last.max(Offset(last));
        } else if spans.len() < DAMAGED_SPANS_MAX {
            tracing::error!(first, last, "records of the journal cannot be read and are passed over: {what}");
            spans.push(DamagedSpan { first: Offset(first), last: Offset(last), what: what.into() });
        }
    }

    /// What was noted, in the order of the journal.
    pub(super) fn spans(&self) -> Vec<DamagedSpan> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        spans.sort_unstable_by_key(|span| span.first);
        spans
    }
}

impl JournalError {
    /// Whether the file's content is what is wrong, so that trying again does not help.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Storage { source, .. } => is_damage(source),
            _ => false,
        }
    }
}

/// Whether SQLite, or the conversion of a column, found the content wrong.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error.sqlite_error_code() {
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        None => matches!(
            error,
            E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::QueryReturnedNoRows
                | E::Utf8Error(..)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_next_to_each_other_are_one_and_their_number_is_bounded() {
        let log = DamageLog::default();
        for (first, last) in [(5, 5), (6, 7), (4, 4), (5, 6), (9, 9)] {
            log.note(first, last, "it");
        }
        let spans = |log: &DamageLog| -> Vec<(u64, u64)> {
            log.spans().into_iter().map(|span| (span.first.0, span.last.0)).collect()
        };
        assert_eq!(spans(&log), [(4, 7), (9, 9)]);
        (10..10_000).for_each(|number| log.note(number * 2, number * 2, "it"));
        assert_eq!(spans(&log).len(), DAMAGED_SPANS_MAX);
    }
}

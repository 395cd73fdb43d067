//! What of a journal cannot be read: passed over by every reader, and reported once.

use std::fmt;
use std::mem::discriminant;
use std::sync::{Mutex, PoisonError};

use qmp_wire::Offset;
use rusqlite::ErrorCode;

use super::error::JournalError;
use super::limits::DAMAGED_SPANS_MAX;

/// Records of which something is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSpan {
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
    /// What is damaged.
    pub damage: Damage,
}

/// What is damaged in a span of records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The records cannot be read; the text says what is wrong with the first one that was met.
    Unreadable(Box<str>),
    /// There are no such records: neither retention nor a noted loss accounts for it.
    Missing,
    /// The index cannot be used, so the records are read through: none of them is lost by it.
    Index(Box<str>),
}

impl DamagedSpan {
    /// Whether readers get fewer records for it.
    #[must_use]
    pub fn loses_records(&self) -> bool {
        !matches!(self.damage, Damage::Index(_))
    }
}

impl fmt::Display for DamagedSpan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first.0, self.last.0);
        match &self.damage {
            Damage::Unreadable(what) => write!(formatter, "records {first} to {last} cannot be read: {what}"),
            Damage::Missing => write!(formatter, "records {first} to {last} are missing"),
            Damage::Index(what) => {
                write!(formatter, "the index of records {first} to {last} cannot be used: {what}")
            }
        }
    }
}

/// What the readers of one file met.
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<Vec<DamagedSpan>>);

impl DamageLog {
    /// Notes damage of `first..=last`. The log gets it unless it is known, or next to what is.
    pub(super) fn note(&self, first: u64, last: u64, damage: Damage) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let touches = |span: &&mut DamagedSpan| {
            first <= span.last.0.saturating_add(1)
                && last.saturating_add(1) >= span.first.0
                && discriminant(&span.damage) == discriminant(&damage)
        };
        if let Some(span) = spans.iter_mut().find(touches) {
            span.first = span.first.min(Offset(first));
            span.last = span.last.max(Offset(last));
        } else if spans.len() < DAMAGED_SPANS_MAX {
            let span = DamagedSpan { first: Offset(first), last: Offset(last), damage };
            match span.loses_records() {
                true => tracing::error!("the journal is damaged, and readers go on behind it: {span}"),
                false => tracing::error!("the journal is damaged, and its records are read through: {span}"),
            }
            spans.push(span);
        }
    }

    /// Notes that `first..=last` cannot be read.
    pub(super) fn unreadable(&self, first: u64, last: u64, what: &str) {
        self.note(first, last, Damage::Unreadable(what.into()));
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
            log.unreadable(first, last, "it");
        }
        let spans = |log: &DamageLog| -> Vec<(u64, u64)> {
            log.spans().into_iter().map(|span| (span.first.0, span.last.0)).collect()
        };
        assert_eq!(spans(&log), [(4, 7), (9, 9)]);
        log.note(10, 10, Damage::Missing);
        assert_eq!(spans(&log), [(4, 7), (9, 9), (10, 10)], "what is wrong with them differs");
        log.unreadable(9, u64::MAX, "it");
        assert_eq!(spans(&log), [(4, 7), (9, u64::MAX), (10, 10)]);
        (10..10_000).for_each(|number| log.note(number * 2, number * 2, Damage::Index("it".into())));
        assert_eq!(spans(&log).len(), DAMAGED_SPANS_MAX);
    }
}

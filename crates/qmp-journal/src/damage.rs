//! Damaged parts of a journal: every reader skips them, and each is reported once.

use std::fmt;
use std::mem::discriminant;
use std::sync::Mutex;

use qmp_host::lock;
use qmp_wire::Offset;
use rusqlite::ErrorCode;

use super::error::JournalError;
use super::limits::DAMAGED_SPANS_MAX;

/// A span of records that are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSpan {
    /// The first record.
    pub first: Offset,
    /// The last record.
    pub last: Offset,
    /// The damage.
    pub damage: Damage,
}

/// The damage of a span of records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The records cannot be read; the text is the error of the first one.
    Unreadable(Box<str>),
    /// The records are missing: neither retention nor a recorded loss explains it.
    Missing,
    /// The index cannot be used, so the records are scanned: readers still get all of them.
    Index(Box<str>),
}

impl DamagedSpan {
    /// Whether readers get fewer records because of the damage.
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

/// The damage that the readers of one file found.
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<Vec<DamagedSpan>>);

impl DamageLog {
    /// Adds damage of `first..=last`. Damage that is known, or adjoins known damage, is not logged again.
    pub(super) fn note(&self, first: u64, last: u64, damage: Damage) {
        let mut spans = lock(&self.0);
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
                true => tracing::error!("the journal is damaged, and readers continue after it: {span}"),
                false => tracing::error!("the journal is damaged, and its records are scanned: {span}"),
            }
            spans.push(span);
        }
    }

    /// Adds that `first..=last` cannot be read.
    pub(super) fn unreadable(&self, first: u64, last: u64, what: &str) {
        self.note(first, last, Damage::Unreadable(what.into()));
    }

    /// Adds that `first..=last` was not found, or could not be read.
    pub(super) fn note_missing(&self, first: u64, last: u64, error: Option<&rusqlite::Error>) {
        let damage = error.map_or(Damage::Missing, |error| Damage::Unreadable(error.to_string().into()));
        self.note(first, last, damage);
    }

    /// The damaged spans, in the order of the journal.
    pub(super) fn spans(&self) -> Vec<DamagedSpan> {
        let mut spans = lock(&self.0).clone();
        spans.sort_unstable_by_key(|span| span.first);
        spans
    }
}

impl JournalError {
    /// Whether the error is in the content of the file, so that a retry does not help.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Storage { source, .. } => is_damage(source),
            _ => false,
        }
    }
}

/// Whether SQLite, or the conversion of a column, found the content invalid.
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
    fn adjoining_spans_are_joined_and_their_number_is_bounded() {
        let log = DamageLog::default();
        for (first, last) in [(5, 5), (6, 7), (4, 4), (5, 6), (9, 9)] {
            log.unreadable(first, last, "it");
        }
        let spans = |log: &DamageLog| -> Vec<(u64, u64)> {
            log.spans().into_iter().map(|span| (span.first.0, span.last.0)).collect()
        };
        assert_eq!(spans(&log), [(4, 7), (9, 9)]);
        log.note(10, 10, Damage::Missing);
        assert_eq!(spans(&log), [(4, 7), (9, 9), (10, 10)], "their damage differs");
        log.unreadable(9, u64::MAX, "it");
        assert_eq!(spans(&log), [(4, 7), (9, u64::MAX), (10, 10)]);
        (10..10_000).for_each(|number| log.note(number * 2, number * 2, Damage::Index("it".into())));
        assert_eq!(spans(&log).len(), DAMAGED_SPANS_MAX);
    }
}

//! The window of an answer, and the records of the journal that it was read from.

use qmp_journal::{JournalError, Reader, SummaryRead};
use qmp_wire::UnixMicros;
use serde::Serialize;

use crate::window::Window;

/// The window of an answer, and how far the journal was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The begin of the window.
    pub since: i64,
    /// The end of the window.
    pub until: i64,
    /// The length of a bucket.
    pub bucket: i64,
    /// The number of buckets.
    pub buckets: u32,
    /// The journal's own name.
    pub journal: Option<Box<str>>,
    /// The first offset that is kept.
    pub first: u64,
    /// The last offset in a sealed segment.
    pub sealed: u64,
    /// The last offset.
    pub head: u64,
    /// Whether the time ended before the window.
    pub partial: bool,
    /// The last record that was counted, if the time ended: ask for those after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_to: Option<u64>,
    /// Whether no further record can belong to the window, and all states and findings are known that reach into it.
    #[serde(skip)]
    pub is_closed: bool,
}

impl Coverage {
    pub(crate) fn of(
        reader: &Reader,
        window: &Window,
        read: &SummaryRead,
        now: UnixMicros,
    ) -> Result<Self, JournalError> {
        let SummaryRead { first, sealed, head, read_to, is_sealed, has_all_summaries } = *read;
        Ok(Self {
            since: window.since,
            until: window.until,
            bucket: window.bucket,
            buckets: window.buckets,
            journal: reader.identity()?,
            first: first.0,
            sealed: sealed.0,
            head: head.0,
            partial: read_to.is_some(),
            read_to: read_to.map(|read_to| read_to.0),
            is_closed: is_sealed && has_all_summaries && read_to.is_none() && window.is_settled(now),
        })
    }
}

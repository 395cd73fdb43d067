//! The records that `qmp log` requests.

use qmp_journal::Query as JournalQuery;
use qmp_wire::{Offset, UnixMicros};

use crate::exit::Failure;
use crate::filter::RecordArgs;
use crate::hub::Query as HubQuery;

/// The records that are requested.
#[derive(Clone, Debug)]
pub(in crate::commands) struct LogRequest {
    pub(in crate::commands) records: RecordArgs,
    pub(in crate::commands) since: Option<UnixMicros>,
    pub(in crate::commands) until: Option<UnixMicros>,
    pub(in crate::commands) after: Offset,
    /// The option that gave `after`.
    pub(in crate::commands) after_option: &'static str,
    pub(in crate::commands) last: Option<usize>,
    pub(in crate::commands) follow: bool,
}

impl LogRequest {
    /// The query of a journal's file.
    pub(in crate::commands) fn journal_query(&self) -> Result<JournalQuery, Failure> {
        self.records.query(self.since, self.until)
    }

    /// The query of a hub, without `after`, `last` and `follow`, which the caller adds.
    pub(in crate::commands) fn hub_query(&self) -> HubQuery {
        let mut query = HubQuery::default();
        query.add_records(&self.records, self.since, self.until);
        query
    }
}

//! The records that `qmp log` requests.

use qmp_journal::{Query as JournalQuery, RecordKind};
use qmp_wire::{Offset, UnixMicros};

use crate::exit::Failure;
use crate::filter::{EventArgs, VmArgs};
use crate::hub::Query as HubQuery;
use crate::time::write;

/// The records that are requested.
#[derive(Clone, Debug)]
pub(in crate::commands) struct LogRequest {
    pub(in crate::commands) vms: VmArgs,
    pub(in crate::commands) events: EventArgs,
    pub(in crate::commands) kind: Vec<RecordKind>,
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
        let events = self.events.query().map_err(Failure::usage)?;
        let JournalQuery { vm, host, .. } = self.vms.query()?;
        Ok(JournalQuery { vm, host, kind: self.kind.clone(), since: self.since, until: self.until, ..events })
    }

    /// The query of a hub, without `after`, `last` and `follow`, which the caller adds.
    pub(in crate::commands) fn hub_query(&self) -> HubQuery {
        let mut query = HubQuery::default();
        query.add_vms(&self.vms);
        self.events.event.iter().for_each(|pattern| query.add("event", pattern));
        self.events.wheres.iter().for_each(|place| query.add("where", place));
        self.kind.iter().for_each(|kind| query.add("kind", kind.name()));
        if let Some(since) = self.since {
            query.add("since", write::rfc3339(since));
        }
        if let Some(until) = self.until {
            query.add("until", write::rfc3339(until));
        }
        query
    }
}

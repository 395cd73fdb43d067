//! The records that `qmp log` requests.

use qmp_journal::{Query as JournalQuery, RecordKind};
use qmp_wire::{Offset, UnixMicros};

use crate::exit::Failure;
use crate::filter::{EventArgs, VmArgs};
use crate::hub::Query as HubQuery;
use crate::time::write;

/// The records that are requested.
#[derive(Clone, Debug)]
pub(super) struct LogRequest {
    pub(super) vms: VmArgs,
    pub(super) events: EventArgs,
    pub(super) kind: Vec<RecordKind>,
    pub(super) since: Option<UnixMicros>,
    pub(super) until: Option<UnixMicros>,
    pub(super) after: Offset,
    /// The option that gave `after`.
    pub(super) after_option: &'static str,
    pub(super) last: Option<usize>,
    pub(super) follow: bool,
}

impl LogRequest {
    /// The query of a journal's file.
    pub(super) fn journal_query(&self) -> Result<JournalQuery, Failure> {
        let events = self.events.query().map_err(Failure::usage)?;
        let JournalQuery { vm, host, .. } = self.vms.query()?;
        Ok(JournalQuery { vm, host, kind: self.kind.clone(), since: self.since, until: self.until, ..events })
    }

    /// The query of a hub, without `after`, `last` and `follow`, which the caller adds.
    pub(super) fn hub_query(&self) -> HubQuery {
        let mut query = HubQuery::default();
        self.vms.add_to(&mut query);
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

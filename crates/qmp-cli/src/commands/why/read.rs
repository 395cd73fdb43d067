//! Reads records of one VM, from a file or through the hub.

use std::ops::ControlFlow;

use qmp_journal::{Globs, Query, RecordKind};
use qmp_wire::{Offset, Record, UnixMicros};

use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::Query as HubQuery;

pub(super) fn of_vm(vm: &str) -> Result<Query, Failure> {
    Ok(Query { vm: Globs::parse([vm]).map_err(Failure::usage)?, ..Query::default() })
}

/// Passes the records of a VM to `take`, up to the present head or until `take` breaks.
pub(super) async fn each(
    source: &Source,
    vm: &str,
    kind: Option<RecordKind>,
    after: Offset,
    take: &mut (dyn FnMut(Record<'_>) -> ControlFlow<()> + Send),
) -> Result<(), Failure> {
    let in_file = Query { kind: kind.into_iter().collect(), ..of_vm(vm)? };
    let mut at_hub = HubQuery::default();
    at_hub.add("vm", vm);
    kind.iter().for_each(|kind| at_hub.add("kind", kind.name()));
    source.each((in_file, at_hub), after, take).await
}

/// Whether a record was received at `moment` or before.
pub(super) fn received_by(record: &Record<'_>, moment: Option<UnixMicros>) -> bool {
    moment.is_none_or(|moment| record.received <= moment)
}

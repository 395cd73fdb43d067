//! Reads records of one VM, from a file or through the hub.

use std::ops::ControlFlow;

use qmp_journal::{Globs, Query, RecordKind};
use qmp_wire::{Offset, Record, UnixMicros};

use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::{HubError, Query as HubQuery};

/// Records that are read from the file at a time.
const BATCH_MAX_RECORDS: usize = 1_024;

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
    match source {
        Source::File(reader) => {
            let query = Query { kind: kind.into_iter().collect(), ..of_vm(vm)? };
            let mut cursor = reader.cursor(query, after);
            loop {
                let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
                if batch.is_empty() {
                    return Ok(());
                }
                for record in batch {
                    if take(record).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Source::Hub(client) => {
            let mut query = HubQuery::default();
            query.add("vm", vm);
            kind.iter().for_each(|kind| query.add("kind", kind.name()));
            query.add("after", after.0);
            let mut lines = client.records(&query).await?;
            while let Some(line) = lines.next().await? {
                let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
                if take(record).is_break() {
                    return Ok(());
                }
            }
            Ok(())
        }
    }
}

/// Whether a record was received at `moment` or before.
pub(super) fn received_by(record: &Record<'_>, moment: Option<UnixMicros>) -> bool {
    moment.is_none_or(|moment| record.received <= moment)
}

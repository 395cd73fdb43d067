//! Reading a window: by summaries, or record by record where a condition on the data has to hold.

use std::time::Instant;

use qmp_journal::{
    CountKey, JournalError, Query, Reader, RecordKind, SummaryRead, SummaryRequest, SummaryVisitor,
    VmSelection,
};
use qmp_wire::{Body, Offset, Record, UnixMicros};

use crate::selection::{Ids, Selection};
use crate::window::{Scope, Window};
use crate::words::DIGEST;

/// Offsets that are searched for matches of a condition before the time is checked: some 100 ms.
const SEARCHED_RECORDS: u64 = 32_768;

/// Records of one batch.
const BATCH_RECORDS: usize = 1_000;

/// The content requested of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestedContent<'w> {
    /// Whether the counts of all VMs together are wanted.
    pub(crate) together: bool,
    pub(crate) counts: VmSelection<'w>,
    pub(crate) changes: VmSelection<'w>,
}

/// Reads the window and passes what is wanted to `visitor`.
pub(crate) fn read<V: SummaryVisitor>(
    reader: &Reader,
    scope: &Scope,
    window: &Window,
    selection: &Selection,
    wanted: RequestedContent<'_>,
    visitor: &mut V,
) -> Result<SummaryRead, JournalError> {
    let has_condition = !scope.query.where_.is_empty();
    let RequestedContent { together, counts, changes } = wanted;
    let request = SummaryRequest {
        digest: DIGEST,
        since: UnixMicros(window.since),
        until: UnixMicros(window.until),
        after: scope.after,
        is_exact: window.is_exact && !has_condition,
        together: together && !has_condition,
        counts: if has_condition { VmSelection::None } else { counts },
        changes,
        deadline: scope.deadline,
    };
    let mut read = reader.read_summaries(&request, visitor)?;
    if has_condition {
        read.read_to = search(reader, scope, window, selection, wanted, visitor)?;
    }
    Ok(read)
}

/// Passes the records that match, one by one. Returns the last one that was read if the time ended before the window.
fn search<V: SummaryVisitor>(
    reader: &Reader,
    scope: &Scope,
    window: &Window,
    selection: &Selection,
    wanted: RequestedContent<'_>,
    visitor: &mut V,
) -> Result<Option<Offset>, JournalError> {
    let (since, until) = (UnixMicros(window.since), UnixMicros(window.until));
    let (first, last) = reader.offsets(since, until)?;
    let query = Query { since: Some(since), until: Some(until), ..scope.query.clone() };
    let begin = Offset(first.0.saturating_sub(1)).max(scope.after);
    let mut cursor = reader.cursor(query, begin);
    let ids = selection.ids();
    visitor.segment(Offset(begin.0.saturating_add(1)), last.max(Offset(begin.0.saturating_add(1))));
    while cursor.position() < last {
        let upto = Offset(cursor.position().0.saturating_add(SEARCHED_RECORDS)).min(last);
        loop {
            let records = cursor.next_batch_upto(BATCH_RECORDS, upto)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let (Some(key), Some(offset)) = (count_key(record, &ids), record.offset) else { continue };
                if wanted.together {
                    visitor.record(CountKey { vm: 0, ..key }, record.received, offset);
                }
                if wanted.counts.has(key.vm) {
                    visitor.record(key, record.received, offset);
                }
            }
        }
        cursor.advance_to(upto);
        if cursor.position() < last && scope.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(cursor.position()));
        }
    }
    Ok(None)
}

/// The key by which a summary counts a record.
fn count_key(record: &Record<'_>, ids: &Ids<'_>) -> Option<CountKey> {
    let name = match &record.body {
        Body::Event { name, .. } => (false, name.as_ref()),
        body => (true, RecordKind::of(body).name()),
    };
    let mut changes = Vec::new();
    let class = DIGEST.digest(record.received, &record.body, &mut changes);
    Some(CountKey { vm: *ids.vms.get(record.vm.as_ref())?, name: *ids.others.get(&name)?, class })
}

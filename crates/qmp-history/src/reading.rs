//! Reading a window: by summaries, or record by record where a condition on the data has to hold.

use std::time::Instant;

use qmp_journal::{
    JournalError, Query, Reader, RecordCount, RecordKind, SummaryRead, SummaryRequest, SummaryVisitor,
    VmSelection,
};
use qmp_wire::{Body, Offset, Record, UnixMicros};

use crate::selection::Selection;
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
                let Some(vm) = ids.vms.get(record.vm.as_ref()) else { continue };
                if let Some(count) = count(record, *vm, &ids.others) {
                    if wanted.together {
                        visitor.count(RecordCount { vm: 0, ..count });
                    }
                    if is_wanted(wanted.counts, *vm) {
                        visitor.count(count);
                    }
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

fn is_wanted(selection: VmSelection<'_>, vm: u32) -> bool {
    match selection {
        VmSelection::None => false,
        VmSelection::These(vms) => vms.contains(&vm),
        VmSelection::Every => true,
    }
}

/// A record as a summary counts it.
fn count(
    record: &Record<'_>,
    vm: u32,
    others: &std::collections::HashMap<(bool, &str), u32>,
) -> Option<RecordCount> {
    let key = match &record.body {
        Body::Event { name, .. } => (false, name.as_ref()),
        body => (true, RecordKind::of(body).name()),
    };
    let mut changes = Vec::new();
    let class = DIGEST.digest(record.received, &record.body, &mut changes);
    let name = *others.get(&key)?;
    Some(RecordCount { vm, name, class, at: record.received, records: 1, offset: record.offset })
}

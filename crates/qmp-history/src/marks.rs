//! Marks: the single events of lanes, where they are few.

use qmp_journal::{Globs, JournalError, Query, Reader, RecordKind};
use qmp_wire::{Body, Offset, UnixMicros};

use crate::window::{Scope, Window};

/// Offset, time and name of an event.
pub type Mark = (u64, i64, Box<str>);

/// Reads the events of these VMs in these segments: one list a VM.
pub(crate) fn read(
    reader: &Reader,
    scope: &Scope,
    window: &Window,
    lanes: &[(Box<str>, u32)],
    segments: &[(Offset, Offset, u64)],
    max: usize,
) -> Result<Vec<Vec<Mark>>, JournalError> {
    let mut marks = vec![Vec::new(); lanes.len()];
    let kinds = &scope.query.kind;
    if !kinds.is_empty() && !kinds.contains(&RecordKind::Event) {
        return Ok(marks);
    }
    let query = Query {
        vm: Globs::of_vms(lanes.iter().map(|(vm, _)| &**vm)),
        host: Globs::default(),
        event: scope.query.event.clone(),
        kind: vec![RecordKind::Event],
        since: Some(UnixMicros(window.since)),
        until: Some(UnixMicros(window.until)),
        where_: scope.query.where_.clone(),
    };
    let with_records = segments.iter().filter(|(.., records)| *records > 0);
    for (first, last, _) in with_records {
        let begin = Offset(first.0.saturating_sub(1)).max(scope.after);
        let mut cursor = reader.cursor(query.clone(), begin);
        loop {
            let records = cursor.next_batch_upto(max.max(1), *last)?;
            if records.is_empty() {
                break;
            }
            for record in records {
                // Lanes are in the order of their VMs only if they are sorted so.
                let lane = lanes.iter().position(|(vm, _)| **vm == *record.vm);
                if let (Some(lane), Some(offset), Body::Event { name, .. }) =
                    (lane, record.offset, &record.body)
                {
                    marks[lane].push((offset.0, record.received.0, name.as_ref().into()));
                }
            }
        }
    }
    Ok(marks)
}

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
        vm: literally(lanes.iter().map(|(vm, _)| &**vm)),
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

/// Patterns that match these names and nothing else.
pub(crate) fn literally<'n>(names: impl Iterator<Item = &'n str>) -> Globs {
    let escaped = names.map(|name| {
        let mut pattern = String::with_capacity(name.len());
        for character in name.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern
    });
    Globs::parse(escaped).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_pattern_matches_its_name_alone() {
        for name in ["web1", "a*b", "[x]", "{a,b}", "c\\d", "!", "db/ü \"x\"", "?"] {
            let globs = literally([name].into_iter());
            assert!(globs.matches(name), "{name}");
            assert!(!globs.matches("axb") && !globs.matches("x") && !globs.matches("a"), "{name}");
        }
    }
}

//! One record, with what caused it, what it caused, and its neighbours.

use qmp_events::{EventKind, Release, describe};
use qmp_journal::{Globs, JournalError, Query, Reader, RecordKind};
use qmp_wire::{Body, Epoch, Offset, Record, Seq};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Records that caused a finding and are shown, at most: findings name fewer.
const CAUSES_SHOWN_MAX: usize = 64;

/// Findings of a VM after a record that are searched for those that the record caused. They follow within hours, and a VM
/// has thirty of a kind in five minutes at most.
const CAUSED_SEARCHED_MAX: usize = 1_000;

/// One record.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// The record.
    pub record: Box<RawValue>,
    /// The catalogue's description of the event, for the release of the VM if that is known.
    pub meaning: Option<Value>,
    /// The records from which a finding was concluded.
    pub causes: Vec<Box<RawValue>>,
    /// The findings that were concluded from it.
    pub caused: Vec<Box<RawValue>>,
    /// The records before it.
    pub before: Neighbours,
    /// The records after it.
    pub after: Neighbours,
}

/// The nearest records, by offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// Of the same VM.
    pub vm: Option<u64>,
    /// Of the same event, or of the same kind for other records.
    pub event: Option<u64>,
}

/// Reads all that belongs to a record.
///
/// # Errors
///
/// Errors of reading the journal.
pub fn detail(reader: &Reader, record: &Record<'_>) -> Result<Detail, JournalError> {
    let offset = record.offset.unwrap_or_default();
    let of_vm = Query { vm: Globs::of_vms([record.vm.as_ref()]), ..Query::default() };
    let of_event = match &record.body {
        Body::Event { name, .. } => Query { event: Globs::of_names([name.as_ref()]), ..Query::default() },
        body => Query { kind: vec![RecordKind::of(body)], ..Query::default() },
    };
    let before = |query: &Query| reader.last_before(query, offset).map(offset_of);
    let after = |query: &Query| first_after(reader, query, offset);
    Ok(Detail {
        record: json(record),
        meaning: meaning(reader, record)?,
        causes: causes(reader, record)?,
        caused: caused(reader, record, &of_vm)?,
        before: Neighbours { vm: before(&of_vm)?, event: before(&of_event)? },
        after: Neighbours { vm: after(&of_vm)?, event: after(&of_event)? },
    })
}

fn offset_of(record: Option<Record<'_>>) -> Option<u64> {
    record.and_then(|record| record.offset).map(|offset| offset.0)
}

fn first_after(reader: &Reader, query: &Query, offset: Offset) -> Result<Option<u64>, JournalError> {
    let records = reader.cursor(query.clone(), offset).next_batch(1)?;
    Ok(offset_of(records.into_iter().next()))
}

fn json(record: &Record<'_>) -> Box<RawValue> {
    let mut text = Vec::new();
    record.write_json(&mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The description of an event for the release of the VM; for none if that is not known.
fn meaning(reader: &Reader, record: &Record<'_>) -> Result<Option<Value>, JournalError> {
    let Body::Event { name, .. } = &record.body else { return Ok(None) };
    let Some(kind) = EventKind::from_name(name) else { return Ok(None) };
    let attached = reader.find(&record.vm, record.epoch, Seq(0))?;
    let release = attached.as_ref().and_then(release);
    let desc = kind.desc();
    Ok(Some(describe::event_json(desc, release.filter(|release| desc.exists_in(*release)))))
}

/// The release of the QEMU to which the VM was attached.
fn release(attached: &Record<'_>) -> Option<Release> {
    let Body::Attached { snapshot } = &attached.body else { return None };
    let snapshot: Value = serde_json::from_str(snapshot).ok()?;
    let version =
        snapshot.pointer("/greeting/version/qemu").or_else(|| snapshot.pointer("/query-version/qemu"))?;
    let number = |member: &str| u32::try_from(version.get(member)?.as_u64()?).ok();
    Some(Release::from_version(number("major")?, number("minor")?, number("micro")?))
}

fn causes(reader: &Reader, record: &Record<'_>) -> Result<Vec<Box<RawValue>>, JournalError> {
    let Body::Finding { causes, .. } = &record.body else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (epoch, seq) in causes.iter().take(CAUSES_SHOWN_MAX) {
        found.extend(reader.find(&record.vm, *epoch, *seq)?.as_ref().map(json));
    }
    Ok(found)
}

/// The findings of the VM that name the record.
fn caused(reader: &Reader, record: &Record<'_>, of_vm: &Query) -> Result<Vec<Box<RawValue>>, JournalError> {
    let query = Query { kind: vec![RecordKind::Finding], ..of_vm.clone() };
    let mut cursor = reader.cursor(query, record.offset.unwrap_or_default());
    let id: (Epoch, Seq) = (record.epoch, record.seq);
    let names = |finding: &&Record<'_>| match &finding.body {
        Body::Finding { causes, .. } => causes.contains(&id),
        _ => false,
    };
    let findings = cursor.next_batch(CAUSED_SEARCHED_MAX)?;
    Ok(findings.iter().filter(names).map(json).collect())
}

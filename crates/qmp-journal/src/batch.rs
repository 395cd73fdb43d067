//! Drafts: records on their way into the journal, in one flat batch.
//!
//! A batch has one buffer with the texts of all its drafts, one after another, and one entry of fixed size for each
//! draft. Filling, handing over and clearing a batch allocates nothing once the buffers have grown to the usual size.

use std::borrow::Cow;
use std::ops::Range;

use qmp_wire::{Body, EventName, Record, Timestamp, UnixMicros};

use super::body::{self, RecordKind};
use super::checkpoint::Checkpoint;
use super::feed::Positions;

/// A record without offset, epoch and sequence number; the journal assigns them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// The name by which the journal keys the VM. A VM of another host gets numbers of
    /// [`ADDED_SEQ_FIRST`](qmp_wire::ADDED_SEQ_FIRST) and above: its host's hub assigns those below.
    pub vm: &'a str,
    /// When the record was received, on this host's clock.
    pub received: UnixMicros,
    /// The content. [`Body::Attached`] opens the VM's next epoch.
    pub body: Body<'a>,
}

/// Drafts in the order in which they are to be recorded.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    entries: Vec<Entry>,
    /// Epoch and number of each entry that has them already.
    identities: Vec<(u32, u64)>,
    /// Written when all drafts before them are committed.
    checkpoints: Vec<Checkpoint>,
    /// Written in the transaction of the last draft.
    positions: Positions,
    /// The entries of batches with positions that were moved to the end of this one.
    groups: Vec<Group>,
}

/// Entries that are committed in one transaction, with the positions that include them.
#[derive(Clone, Debug)]
struct Group {
    /// The first entry and the one after the last.
    entries: Range<usize>,
    positions: Positions,
}

/// The part of a batch that goes into one transaction.
#[derive(Debug)]
pub(crate) struct Portion<'a> {
    pub(crate) records: usize,
    pub(crate) positions: Vec<&'a Positions>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: RecordKind,
    received: UnixMicros,
    timestamp: Option<Timestamp>,
    vm_bytes: usize,
    event_bytes: usize,
    /// 0 for an event whose name is complete in `event`.
    sent_name_bytes: usize,
    data_bytes: Option<usize>,
    /// Whether its epoch and number are in `identities`.
    is_foreign: bool,
}

/// One draft of a batch, as the columns of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) vm: &'a str,
    /// Epoch and number; `None` if the journal assigns them.
    pub(crate) identity: Option<(u32, u64)>,
    pub(crate) kind: RecordKind,
    pub(crate) received: UnixMicros,
    pub(crate) event: Option<&'a str>,
    pub(crate) sent_name: Option<&'a str>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) data: Option<Cow<'a, str>>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a draft at the end.
    pub fn push(&mut self, draft: &Draft<'_>) {
        self.push_parts(draft.vm, draft.received, &draft.body, None);
    }

    /// Adds a record with its epoch and number at the end.
    pub(super) fn push_foreign(&mut self, record: &Record<'_>) {
        let identity = Some((record.epoch.0, record.seq.0));
        self.push_parts(&record.vm, record.received, &record.body, identity);
    }

    fn push_parts(&mut self, vm: &str, received: UnixMicros, body: &Body<'_>, identity: Option<(u32, u64)>) {
        self.text.push_str(vm);
        let (kind, timestamp) = (RecordKind::of(body), body::timestamp(body));
        let (event_bytes, sent_name_bytes) = match body {
            Body::Event { name, sent_name, .. } => self.push_name(name, sent_name.as_deref()),
            _ => (0, 0),
        };
        let before_data = self.text.len();
        let has_data = body::write_data(body, &mut self.text);
        let data_bytes = has_data.then_some(self.text.len() - before_data);
        self.identities.extend(identity);
        self.entries.push(Entry {
            kind,
            received,
            timestamp,
            vm_bytes: vm.len(),
            event_bytes,
            sent_name_bytes,
            data_bytes,
            is_foreign: identity.is_some(),
        });
    }

    /// Adds the name of an event, shortened if it is too long; returns the bytes of the name and of the name as sent.
    fn push_name(&mut self, name: &str, sent_name: Option<&str>) -> (usize, usize) {
        let EventName { name, sent } = EventName::from_text(name.into());
        self.text.push_str(&name);
        let sent = sent_name.or(sent.as_deref()).unwrap_or_default();
        self.text.push_str(sent);
        (name.len(), sent.len())
    }

    /// Adds a checkpoint, which is written after the drafts of this batch and of all batches before.
    pub fn push_checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.push(checkpoint);
    }

    /// The positions that are written in the transaction of the last draft.
    pub(super) fn positions_mut(&mut self) -> &mut Positions {
        &mut self.positions
    }

    /// Removes all drafts and keeps the buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.identities.clear();
        self.checkpoints.clear();
        self.positions = Positions::default();
        self.groups.clear();
    }

    /// The number of drafts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the batch has no draft.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the batch has neither a draft nor a checkpoint nor a position.
    pub(super) fn has_nothing(&self) -> bool {
        self.entries.is_empty()
            && self.checkpoints.is_empty()
            && self.positions.is_empty()
            && self.groups.is_empty()
    }

    /// The checkpoints, in order.
    pub(super) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The memory of the batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let checkpoints: usize = self.checkpoints.iter().map(Checkpoint::bytes).sum();
        let groups = self.groups.iter().map(|group| size_of::<Group>() + group.positions.bytes());
        self.text.len()
            + self.entries.len() * size_of::<Entry>()
            + self.identities.len() * size_of::<(u32, u64)>()
            + checkpoints
            + self.positions.bytes()
            + groups.sum::<usize>()
    }

    /// Moves all drafts of `other` to the end of this one; `other` keeps its buffers.
    ///
    /// The drafts of `other` are committed together if it has positions.
    pub(crate) fn take_from(&mut self, other: &mut Self) {
        let first = self.entries.len();
        self.text.push_str(&other.text);
        self.entries.append(&mut other.entries);
        self.identities.append(&mut other.identities);
        self.checkpoints.append(&mut other.checkpoints);
        if !other.positions.is_empty() {
            let (entries, positions) = (first..self.entries.len(), std::mem::take(&mut other.positions));
            self.groups.push(Group { entries, positions });
        }
        other.text.clear();
    }

    /// The parts of the batch for one transaction each, of at most `max_records` unless a batch with positions was larger.
    pub(crate) fn portions(&self, max_records: usize) -> impl Iterator<Item = Portion<'_>> {
        let (mut begin, mut groups) = (0, self.groups.as_slice());
        std::iter::from_fn(move || {
            if begin == self.entries.len() && groups.is_empty() {
                return None;
            }
            let full = begin.saturating_add(max_records).min(self.entries.len());
            let divided = groups.iter().find(|group| group.entries.start < full && full < group.entries.end);
            let end = match divided {
                Some(group) if group.entries.start > begin => group.entries.start,
                Some(group) => group.entries.end,
                None => full,
            };
            let (complete, later) = groups.split_at(groups.partition_point(|group| group.entries.end <= end));
            groups = later;
            let positions = complete.iter().map(|group| &group.positions).collect();
            let records = end - std::mem::replace(&mut begin, end);
            Some(Portion { records, positions })
        })
    }

    /// Frees buffer memory beyond `keep_bytes`, which only a burst needs.
    pub(crate) fn shrink(&mut self, keep_bytes: usize) {
        self.text.shrink_to(keep_bytes);
        self.entries.shrink_to(keep_bytes / size_of::<Entry>());
        self.identities.shrink_to(keep_bytes / size_of::<Entry>());
    }

    /// The drafts, in order.
    pub(crate) fn items(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        let (mut rest, mut identities) = (self.text.as_str(), self.identities.iter().copied());
        self.entries.iter().map(move |entry| {
            let mut cut = |bytes| {
                let (head, tail) = rest.split_at(bytes);
                rest = tail;
                head
            };
            let (vm, event) = (cut(entry.vm_bytes), cut(entry.event_bytes));
            let sent_name = cut(entry.sent_name_bytes);
            Item {
                vm,
                identity: if entry.is_foreign { identities.next() } else { None },
                kind: entry.kind,
                received: entry.received,
                event: (entry.kind == RecordKind::Event).then_some(event),
                sent_name: (!sent_name.is_empty()).then_some(sent_name),
                timestamp: entry.timestamp,
                data: entry.data_bytes.map(|bytes| Cow::Borrowed(cut(bytes))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamPosition;

    #[test]
    fn pushed_drafts_come_back_in_order_after_batches_are_joined() {
        let timestamp = Timestamp::from_wire(7, 8).expect("in range");
        let cases: [(&str, &str, Option<&str>); 5] = [
            // vm           event       data
            ("web1", "STOP", None),
            ("", "", Some("")),
            ("a b/ü\0", "X", Some("{\"a\": 1}\r\n ")),
            ("web1", "RESUME", Some("not JSON")),
            ("web1", "STOP", None),
        ];
        let mut first = Batch::new();
        let mut second = Batch::new();
        for (index, (vm, event, data)) in cases.into_iter().enumerate() {
            let body =
                Body::Event { name: event.into(), sent_name: None, timestamp, data: data.map(Cow::Borrowed) };
            let half = if index < 2 { &mut first } else { &mut second };
            half.push(&Draft { vm, received: UnixMicros(-1), body });
        }
        first.take_from(&mut second);
        assert!(second.is_empty() && second.bytes() == 0);
        let items: Vec<_> = first.items().map(|item| (item.vm, item.event, item.data)).collect();
        let expected: Vec<_> =
            cases.into_iter().map(|(vm, event, data)| (vm, Some(event), data.map(Cow::Borrowed))).collect();
        assert_eq!(items, expected);
    }

    #[test]
    fn batch_with_positions_is_never_divided() {
        //  sizes of batches, those below 0 with positions    records and number of positions of each portion of 4
        type Case = (&'static [i32], &'static [(usize, usize)]);
        let cases: [Case; 8] = [
            (&[], &[]),
            (&[3, 2], &[(4, 0), (1, 0)]),
            (&[-3, -2], &[(3, 1), (2, 1)]),
            (&[-1, -3, 5], &[(4, 2), (4, 0), (1, 0)]),
            (&[-9], &[(9, 1)]),
            (&[1, -9, -1, 2], &[(1, 0), (9, 1), (3, 1)]),
            (&[-4, 4], &[(4, 1), (4, 0)]),
            (&[9, -4], &[(4, 0), (4, 0), (1, 0), (4, 1)]),
        ];
        for (sizes, expected) in cases {
            let mut queued = Batch::new();
            for size in sizes {
                let mut batch = Batch::new();
                let body = Body::Event { name: "X".into(), sent_name: None, timestamp: None, data: None };
                (0..size.abs()).for_each(|_| {
                    batch.push(&Draft { vm: "web1", received: UnixMicros(1), body: body.clone() });
                });
                if *size < 0 {
                    batch.positions_mut().set_stream(StreamPosition { stream: "qmp".into(), sequence: 1 });
                }
                queued.take_from(&mut batch);
            }
            let portions = queued.portions(4).map(|portion| (portion.records, portion.positions.len()));
            assert_eq!(portions.collect::<Vec<_>>(), expected, "{sizes:?}");
        }
        let mut positions = Batch::new();
        positions.positions_mut().set_stream(StreamPosition { stream: "qmp".into(), sequence: 1 });
        let mut queued = Batch::new();
        queued.take_from(&mut positions);
        assert!(!queued.has_nothing());
        assert_eq!(queued.portions(4).map(|portion| portion.positions.len()).collect::<Vec<_>>(), [1]);
    }
}

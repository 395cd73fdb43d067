//! Drafts: records on their way into the journal, in one flat batch.
//!
//! A batch has one buffer with the texts of all its drafts, one after another, and one entry of fixed size for each
//! draft. Filling, handing over and clearing a batch allocates nothing once the buffers have grown to the usual size.

use std::borrow::Cow;

use qmp_wire::{Body, EventName, Timestamp, UnixMicros};

use super::body::{self, RecordKind};
use super::checkpoint::Checkpoint;

/// A record without offset, epoch and sequence number; the journal assigns them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// The VM's name.
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
    /// Written when all drafts before them are committed.
    checkpoints: Vec<Checkpoint>,
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
}

/// One draft of a batch, as the columns of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) vm: &'a str,
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
        let before = self.text.len();
        self.text.push_str(draft.vm);
        let vm_bytes = self.text.len() - before;
        let (kind, timestamp) = (RecordKind::of(&draft.body), body::timestamp(&draft.body));
        let (event_bytes, sent_name_bytes) = match &draft.body {
            Body::Event { name, sent_name, .. } => self.push_name(name, sent_name.as_deref()),
            _ => (0, 0),
        };
        let before_data = self.text.len();
        let has_data = body::write_data(&draft.body, &mut self.text);
        let data_bytes = has_data.then_some(self.text.len() - before_data);
        let received = draft.received;
        self.entries.push(Entry {
            kind,
            received,
            timestamp,
            vm_bytes,
            event_bytes,
            sent_name_bytes,
            data_bytes,
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

    /// Removes all drafts and keeps the buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.checkpoints.clear();
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

    /// Whether the batch has neither a draft nor a checkpoint.
    pub(super) fn has_nothing(&self) -> bool {
        self.entries.is_empty() && self.checkpoints.is_empty()
    }

    /// The checkpoints, in order.
    pub(super) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The memory of the batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let checkpoints: usize = self.checkpoints.iter().map(Checkpoint::bytes).sum();
        self.text.len() + self.entries.len() * size_of::<Entry>() + checkpoints
    }

    /// Moves all drafts of `other` to the end of this one; `other` keeps its buffers.
    pub(crate) fn take_from(&mut self, other: &mut Self) {
        self.text.push_str(&other.text);
        self.entries.append(&mut other.entries);
        self.checkpoints.append(&mut other.checkpoints);
        other.text.clear();
    }

    /// Frees buffer memory beyond `keep_bytes`, which only a burst needs.
    pub(crate) fn shrink(&mut self, keep_bytes: usize) {
        self.text.shrink_to(keep_bytes);
        self.entries.shrink_to(keep_bytes / size_of::<Entry>());
    }

    /// The drafts, in order.
    pub(crate) fn items(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        let mut rest = self.text.as_str();
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
}

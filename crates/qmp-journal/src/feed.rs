//! Positions of what other hosts' hubs publish, up to which a journal has it.

use std::collections::HashMap;

use qmp_wire::{Offset, UnixMicros};

/// How far this journal has the records of another one, a foreign journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The foreign journal's own name.
    pub journal: Box<str>,
    /// The host of its records, the first part of their VMs' qualified names.
    pub host: Box<str>,
    /// The last record of it, by its offset there.
    pub offset: Offset,
    /// When that record was received from it, on this host's clock.
    pub received: UnixMicros,
}

/// How far a stream was read that carries records of foreign journals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// The name of the stream.
    pub stream: Box<str>,
    /// The last message of it, by its sequence number there.
    pub sequence: u64,
}

/// Positions that are committed together with the records before them.
#[derive(Clone, Debug, Default)]
pub(super) struct Positions {
    /// By the name of the journal.
    feeds: HashMap<Box<str>, Feed>,
    /// By the name of the stream.
    streams: HashMap<Box<str>, u64>,
}

impl Positions {
    /// Sets the position of a foreign journal, in place of the one set before.
    pub(super) fn set_feed(&mut self, feed: Feed) {
        self.feeds.insert(feed.journal.clone(), feed);
    }

    /// Sets the position of a stream, in place of the one set before.
    pub(super) fn set_stream(&mut self, position: StreamPosition) {
        self.streams.insert(position.stream, position.sequence);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.streams.is_empty()
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.values()
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = (&str, u64)> {
        self.streams.iter().map(|(stream, sequence)| (&**stream, *sequence))
    }

    /// The memory of the positions, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let feed = |feed: &Feed| size_of::<Feed>() + 2 * feed.journal.len() + feed.host.len();
        let streams = self.streams.keys().map(|stream| size_of::<StreamPosition>() + stream.len());
        self.feeds.values().map(feed).sum::<usize>() + streams.sum::<usize>()
    }
}

//! What a source has read and not committed: records in the order of their journals, and the positions after them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use qmp_fleet::{Hole, ReceivedMessage, Receiver, ReceiverConfig, ReceiverOutput, StreamMessage};
use qmp_journal::{Appender, Feed, ForeignBatch, ForeignError, Globs, StreamPosition};
use qmp_wire::{Epoch, Offset, QualifiedName, Record, Seq, UnixMicros};

use super::host_names::{SharedHosts, without_suffix};

/// Records that are committed at once.
const BATCH_MAX_RECORDS: usize = 1_024;

/// Bytes of messages that are committed at once: a small part of the journal's queue.
const BATCH_MAX_BYTES: usize = 4 << 20;

/// How long the fault of a message is shown: `refused` counts it for ever.
const FAULT_SHOWN: Duration = Duration::from_secs(3_600);

/// The shortest time between two faults in the log; `refused` counts all.
const FAULT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The longest text of a fault, in characters.
const FAULT_MAX_CHARS: usize = 300;

/// Records, and positions that are committed with them.
pub(super) struct Intake {
    receiver: Receiver<Box<ReceivedMessage>>,
    hosts: SharedHosts,
    patterns: Option<Globs>,
    /// The name of the stream in the journal.
    stream: Box<str>,
    records: Vec<ReceivedRecord>,
    /// Of so many of them it is known whether records before them are missing.
    checked: usize,
    bytes: usize,
    /// The ends of the journals that were read.
    feeds: HashMap<Box<str>, FeedEnd>,
    /// Everything up to this message of the stream is delivered or discarded.
    position: u64,
    /// Whether the position has advanced since the last commit.
    is_advanced: bool,
    /// The journals whose ends have advanced since the last commit.
    changed: HashSet<Box<str>>,
    requests: Vec<RepeatRequest>,
    /// Journals of which messages were repeated.
    repeated: Vec<Box<str>>,
    pub(super) counts: IntakeCounts,
    /// The last fault of a message, and when it was seen.
    fault: Option<(Box<str>, Instant)>,
    /// When a fault was logged.
    logged_at: Option<Instant>,
}

/// A record that the journal lacks.
struct ReceivedRecord {
    record: Record<'static>,
    /// Whether its rule publishes every record of the journal.
    is_of_all: bool,
}

/// The last record of a journal that is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedEnd {
    /// The name by which this journal knows the host.
    pub(super) host: Box<str>,
    pub(super) offset: Offset,
}

/// A request to the hub of a host to publish again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepeatRequest {
    pub(super) journal: Box<str>,
    pub(super) host: Box<str>,
    pub(super) after: Offset,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IntakeCounts {
    pub(super) lost: u64,
    pub(super) refused: u64,
}

impl Intake {
    /// Continues after the committed ends of the journals, and after the message `position`.
    pub(super) fn new(
        feeds: &[Feed],
        hosts: SharedHosts,
        patterns: Option<Globs>,
        stream: &str,
        position: u64,
    ) -> Self {
        let mut receiver = Receiver::new(ReceiverConfig::default());
        feeds.iter().for_each(|feed| receiver.resume(&feed.journal, feed.offset));
        let end =
            |feed: &Feed| (feed.journal.clone(), FeedEnd { host: feed.host.clone(), offset: feed.offset });
        Self {
            receiver,
            hosts,
            patterns,
            stream: stream.into(),
            records: Vec::new(),
            checked: 0,
            bytes: 0,
            feeds: feeds.iter().map(end).collect(),
            position,
            is_advanced: false,
            changed: HashSet::new(),
            requests: Vec::new(),
            repeated: Vec::new(),
            counts: IntakeCounts::default(),
            fault: None,
            logged_at: None,
        }
    }

    /// Takes a message.
    pub(super) fn take(&mut self, message: &StreamMessage, now: Instant) {
        match message.decode() {
            // Another fleet hub keeps these records, and confirms them.
            Ok(received) if !self.is_selected(&received.host) => {}
            // A user of one host must not end the chain of another.
            Ok(received) if self.hosts.is_of_other(&received.journal, &received.host) => {
                self.refuse(&format!(
                    "{} publishes records of the journal {}, which is that of another host: let its hub start with a new \
                     journal, or call the host as before",
                    received.host, received.journal
                ));
            }
            Ok(received) => {
                let (journal, link) = (received.journal.clone(), received.link);
                self.hosts.name(&journal, &received.host);
                let before = self.receiver.repeated();
                self.receiver.receive(&journal, link, message.payload.len(), Box::new(received), now);
                if self.receiver.repeated() > before && !self.repeated.contains(&journal) {
                    self.repeated.push(journal);
                }
                self.bytes += message.payload.len();
                self.drain();
            }
            Err(error) => self.refuse(&format!("a message of the stream is no record: {error}")),
        }
        // After a restart, messages that wait for the end of a hole are read again.
        if self.receiver.holes().next().is_none() {
            self.position = message.sequence;
            self.is_advanced = true;
        }
    }

    /// Takes the passage of time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.receiver.handle_timeout(now);
        self.drain();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.receiver.next_timeout()
    }

    /// Whether the records are to be committed before more are taken.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= BATCH_MAX_RECORDS || self.bytes >= BATCH_MAX_BYTES
    }

    /// Whether there is something to commit.
    pub(super) fn is_changed(&self) -> bool {
        self.is_advanced || !self.changed.is_empty()
    }

    /// The records that the journal lacks, with the positions. It is the same until [`committed`](Self::committed).
    pub(super) fn batch(&mut self, appender: &Appender, now: UnixMicros) -> ForeignBatch {
        let mut batch = ForeignBatch::new();
        let mut faults = Vec::new();
        self.check_numbers(appender);
        for ReceivedRecord { record, .. } in &self.records {
            let has_it =
                appender.last_foreign(&record.vm).is_some_and(|last| last >= (record.epoch, record.seq));
            let pushed = if has_it { Err(taken(record)) } else { push(&mut batch, record) };
            faults.extend(pushed.err());
        }
        for journal in &self.changed {
            let Some(FeedEnd { host, offset }) = self.feeds.get(journal) else { continue };
            let (journal, host) = (journal.clone(), host.clone());
            batch.set_feed(Feed { journal, host, offset: *offset, received: now });
        }
        batch.set_stream_position(StreamPosition { stream: self.stream.clone(), sequence: self.position });
        faults.iter().for_each(|fault| self.refuse(fault));
        batch
    }

    /// Counts what the hub of a host did not publish although its rule selects everything: retention has removed it, or it was given
    /// up. The chain of the journal has no hole there.
    fn check_numbers(&mut self, appender: &Appender) {
        let mut last: HashMap<&str, (Epoch, Seq)> = HashMap::new();
        for (index, ReceivedRecord { record, is_of_all }) in self.records.iter().enumerate() {
            let vm = &*record.vm;
            let before = last.insert(vm, (record.epoch, record.seq)).or_else(|| appender.last_foreign(vm));
            if index < self.checked || !is_of_all {
                continue;
            }
            if let Some(before) = before.filter(|before| is_missing(*before, (record.epoch, record.seq))) {
                self.counts.lost += 1;
                tracing::error!(
                    vm,
                    epoch = before.0.0,
                    seq = before.1.0,
                    "the hub of a host did not publish the records after this one: retention has removed them"
                );
            }
        }
        self.checked = self.records.len();
    }

    /// Clears what is committed. Returns the receipt of its last record, and the journals whose hubs lack a confirmation.
    pub(super) fn committed(&mut self) -> (Option<UnixMicros>, HashSet<Box<str>>) {
        (self.bytes, self.is_advanced) = (0, false);
        let received = self.records.last().map(|taken| taken.record.received);
        self.records.clear();
        self.checked = 0;
        self.changed.extend(self.repeated.drain(..));
        (received, std::mem::take(&mut self.changed))
    }

    /// The ends of the journals.
    pub(super) fn feeds(&self) -> &HashMap<Box<str>, FeedEnd> {
        &self.feeds
    }

    /// Returns the requests to publish again. They follow the commit of the records before.
    pub(super) fn take_requests(&mut self) -> Vec<RepeatRequest> {
        std::mem::take(&mut self.requests)
    }

    /// The position up to which the stream is delivered or discarded.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// The number of journals with a hole, and of repeated messages.
    pub(super) fn holes_and_repetitions(&self) -> (u64, u64) {
        (self.receiver.holes().count() as u64, self.receiver.repeated())
    }

    fn drain(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Message(message) => self.deliver(*message),
                ReceiverOutput::Hole(Hole { journal, after, upto }) => {
                    tracing::warn!(
                        journal = &*journal,
                        after = after.0,
                        upto = upto.0,
                        "records of a host are missing"
                    );
                }
                ReceiverOutput::Ask { journal, after } => {
                    // A message of the journal has named the host.
                    let Some(host) = self.hosts.of(&journal) else { continue };
                    self.requests.push(RepeatRequest { journal, host, after });
                }
                ReceiverOutput::Lost(Hole { journal, after, upto }) => {
                    self.counts.lost += 1;
                    if let Some(host) = self.hosts.of(&journal) {
                        self.feeds.insert(journal.clone(), FeedEnd { host, offset: upto });
                        self.changed.insert(journal.clone());
                    }
                    tracing::error!(
                        journal = &*journal,
                        after = after.0,
                        upto = upto.0,
                        "records of a host are lost: its hub did not publish them again"
                    );
                }
            }
        }
    }

    fn deliver(&mut self, message: ReceivedMessage) {
        let ReceivedMessage { journal, link, host, mut record, is_of_all } = message;
        let name = self.hosts.name(&journal, &host);
        if *name != *host
            && without_suffix(&name) == &*host
            && let (_, vm) = QualifiedName::divide(&record.vm)
            && let Some(vm) = QualifiedName::join(&name, vm)
        {
            record.vm = vm.into();
        }
        self.changed.insert(journal.clone());
        self.feeds.insert(journal, FeedEnd { host: name, offset: link.offset });
        self.records.push(ReceivedRecord { record, is_of_all });
    }

    /// The last fault of a message, for as long as it is of interest.
    pub(super) fn fault(&self, now: Instant) -> Option<&str> {
        self.fault.as_ref().filter(|(_, at)| now < *at + FAULT_SHOWN).map(|(fault, _)| &**fault)
    }

    /// Whether the records of a host are taken.
    pub(super) fn is_selected(&self, host: &str) -> bool {
        self.patterns.as_ref().is_none_or(|patterns| patterns.matches(host))
    }

    fn refuse(&mut self, fault: &str) {
        self.counts.refused += 1;
        // What a message says may be as long as the message, and each may say something else.
        let fault: String = fault.chars().take(FAULT_MAX_CHARS).collect();
        let now = Instant::now();
        if self.logged_at.is_none_or(|at| now >= at + FAULT_LOG_INTERVAL) {
            tracing::error!(refused = self.counts.refused, "discarded: {fault}");
            self.logged_at = Some(now);
        }
        self.fault = Some((fault.into(), now));
    }
}

/// Whether there were records of the VM between these two.
fn is_missing((epoch, seq): (Epoch, Seq), next: (Epoch, Seq)) -> bool {
    let is_next = match next.0 == epoch {
        true => next.1.0 == seq.0 + 1,
        false => next == (Epoch(epoch.0.saturating_add(1)), Seq(0)),
    };
    next > (epoch, seq) && !is_next
}

fn push(batch: &mut ForeignBatch, record: &Record<'_>) -> Result<(), String> {
    match batch.push(record) {
        Ok(()) => Ok(()),
        Err(ForeignError::Repeated { .. }) => Err(taken(record)),
        Err(error) => Err(error.to_string()),
    }
}

/// The chain of its journal says that the record is a new one, and its numbers are those of another.
fn taken(record: &Record<'_>) -> String {
    format!(
        "records of {} have numbers that earlier records have: is this stream also read by another name, or was the journal of \
         the host replaced by an older copy? Then let its hub start with a new journal",
        record.vm
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_recognized() {
        let cases = [
            ((1, 0), (1, 1), false),
            ((1, 0), (1, 2), true),
            ((1, 9), (2, 0), false),
            ((1, 9), (2, 1), true),
            ((1, 9), (3, 0), true),
            ((2, 9), (2, 9), false),
            ((2, 9), (1, 0), false),
        ];
        let id = |(epoch, seq)| (Epoch(epoch), Seq(seq));
        for (before, next, expected) in cases {
            assert_eq!(is_missing(id(before), id(next)), expected, "{before:?} {next:?}");
        }
    }
}

//! `x-replay`: the VM's events again, from the journal.

use std::sync::Arc;

use bytes::Bytes;
use qmp_host::blocking;
use qmp_host::reader_memory::{ChargedText, MemoryShort, READER_WAIT_MAX, ReaderMemory, Texts};
use qmp_journal::{Cursor, Globs, JournalError, LargeRecord, PrunedRange, Query, Reader, RecordKind};
use qmp_wire::dialect::{Object, Value};
use qmp_wire::server::{Refusal, RequestId};
use qmp_wire::{Offset, RawEvent};

use super::encode;
use super::own_events::REPLAY;

/// Records read at once; their lines are in memory together.
const REPLAY_BATCH_RECORDS: usize = 256;

/// Memory of the records that are read at once, in bytes; the record that exceeds it is the last.
const REPLAY_BATCH_BYTES: usize = 64 << 10;

/// Memory that is taken before records are read, in bytes: the records, their lines, and a last one that is almost large.
const REPLAY_READ_BYTES: usize = 4 * REPLAY_BATCH_BYTES;

/// How much longer than its data the line of a large event may be, in bytes: its name and its timestamp.
const LARGE_LINE_BESIDES_BYTES: usize = 4 << 10;

/// The reader of replays, and their memory.
#[derive(Clone, Debug)]
pub(super) struct Replays {
    pub(super) reader: Reader,
    pub(super) memory: ReaderMemory,
    /// Large events that are being repeated.
    pub(super) texts: Arc<Texts<LargeLines>>,
}

/// A large event, and whether its line is pretty.
pub(super) type LargeLines = (Offset, bool);

/// Errors that end a replay.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Memory(#[from] MemoryShort),
}

/// A replay of events for one client.
#[derive(Debug)]
pub(super) struct Replay {
    replays: Replays,
    pub(super) request: RequestId,
    /// `None` during a read, and at the end.
    cursor: Option<Cursor>,
    after: Offset,
    upto: Offset,
    events: u64,
    /// Records, of all VMs, that were pruned from the journal before they could be repeated.
    removed: u64,
    vm: Box<str>,
    pretty: bool,
}

/// The offset after which a client requests the events, in a journal that ends at `head`.
pub(super) fn after(arguments: &Object, head: Offset) -> Result<Offset, Refusal> {
    if let Some(name) = qmp_wire::dialect::first_of(arguments, |name| name != "after") {
        return Err(Refusal::generic(format!("Parameter '{name}' is unexpected")));
    }
    match arguments.get("after") {
        None => Err(Refusal::generic("Parameter 'after' is missing")),
        Some(Value::Int(after)) if *after >= 0 => match Offset(after.unsigned_abs()) {
            after if after <= head => Ok(after),
            // Committed records stay, so this offset is from another journal.
            after => Err(Refusal::generic(format!(
                "Parameter 'after' is {}, and this journal ends at {}: that is an offset of another one; give one of \
                 this journal, or 0 for all of it",
                after.0, head.0
            ))),
        },
        Some(Value::Int(_)) => Err(Refusal::generic("Parameter 'after' expects an offset of the journal")),
        Some(_) => Err(Refusal::generic("Invalid parameter type for 'after', expected: integer")),
    }
}

impl Replay {
    /// Begins a replay. Returns its first event.
    pub(super) fn begin(
        replays: &Replays,
        vm: &str,
        request: RequestId,
        (after, upto): (Offset, Offset),
        pretty: bool,
    ) -> (Self, Vec<u8>) {
        let query = Query { vm: Globs::of_vms([vm]), kind: vec![RecordKind::Event], ..Query::default() };
        let cursor = Some(replays.reader.cursor(query, after));
        let replays = replays.clone();
        let replay =
            Self { replays, request, cursor, after, upto, events: 0, removed: 0, vm: vm.into(), pretty };
        let mut lines = Vec::new();
        let data = format!("{{\"state\": \"begin\", \"after\": {}}}", after.0);
        write(&encode::own(REPLAY, &data), pretty, &mut lines);
        (replay, lines)
    }

    /// The next events; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Bytes, ReplayError> {
        while let Some(mut cursor) = self.cursor.take() {
            let memory = self.replays.memory.take(REPLAY_READ_BYTES).await?;
            let upto = self.upto;
            let (mut cursor, read) = blocking(move || {
                let read = cursor.next_small_batch(REPLAY_BATCH_RECORDS, REPLAY_BATCH_BYTES, upto);
                (cursor, read)
            })
            .await;
            let (records, large) = read?;
            self.removed += cursor.take_removed().map_or(0, PrunedRange::records);
            let is_over = records.is_empty() && large.is_none();
            let mut lines = Vec::new();
            let events = records.iter().filter(|record| *record.vm == *self.vm);
            for event in events.filter_map(|record| record.body.as_event()) {
                write(&event, self.pretty, &mut lines);
                self.events += 1;
            }
            if let Some(large) = large.filter(|_| records.is_empty()) {
                cursor.advance_to(large.offset);
                self.cursor = Some(cursor);
                drop(memory);
                if let Some(line) = self.large(large).await? {
                    self.events += 1;
                    return Ok(line);
                }
                continue;
            }
            self.cursor = (!is_over).then_some(cursor);
            if !lines.is_empty() {
                return Ok(Bytes::from_owner(memory.of(lines.into_boxed_slice())));
            }
        }
        Ok(Bytes::new())
    }

    /// The line of a large event, which all replays of it share.
    async fn large(&self, large: LargeRecord) -> Result<Option<Bytes>, ReplayError> {
        let made =
            self.replays.texts.get((large.offset, self.pretty), async || self.write_large(large).await);
        let line = tokio::time::timeout(READER_WAIT_MAX, made).await;
        let line = line.map_err(|_| self.replays.memory.short())??;
        Ok(line.map(Bytes::from_owner))
    }

    async fn write_large(&self, large: LargeRecord) -> Result<Option<ChargedText<Vec<u8>>>, ReplayError> {
        // The record, and its line.
        let memory = self.replays.memory.take(2 * large.data_bytes + LARGE_LINE_BESIDES_BYTES).await?;
        let short = self.replays.memory.short();
        let (reader, vm, pretty) = (self.replays.reader.clone(), self.vm.clone(), self.pretty);
        blocking(move || {
            let record = reader.large(&Query::default(), large)?.filter(|record| *record.vm == *vm);
            let Some(event) = record.as_ref().and_then(|record| record.body.as_event()) else {
                return Ok(None);
            };
            let mut line = Vec::new();
            if line.try_reserve_exact(large.data_bytes + LARGE_LINE_BESIDES_BYTES).is_err() {
                return Err(short.into());
            }
            write(&event, pretty, &mut line);
            Ok(Some(memory.of(line)))
        })
        .await
    }

    /// The last event, and the value of the reply.
    pub(super) fn end(&self) -> (Vec<u8>, Value) {
        let upto = self.upto.max(self.after);
        let mut lines = Vec::new();
        let mut data = format!("{{\"state\": \"end\", \"upto\": {}, \"events\": {}", upto.0, self.events);
        if self.removed > 0 {
            data += &format!(", \"removed\": {}", self.removed);
        }
        data.push('}');
        write(&encode::own(REPLAY, &data), self.pretty, &mut lines);
        let number = |number: u64| i64::try_from(number).map_or(Value::Uint(number), Value::Int);
        let mut members = vec![("upto", number(upto.0)), ("events", number(self.events))];
        if self.removed > 0 {
            members.push(("removed", number(self.removed)));
        }
        (lines, Value::Object(members.into_iter().collect()))
    }
}

fn write(event: &RawEvent<'_>, pretty: bool, lines: &mut Vec<u8>) {
    if pretty {
        encode::pretty_event(event, lines);
    } else {
        encode::event(event, lines);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use qmp_host::reader_memory::READER_MEMORY_MAX_BYTES;
    use qmp_wire::{Body, UnixMicros};

    use super::*;
    use qmp_journal::{Batch, Draft, Journal, JournalOptions};

    #[tokio::test]
    async fn replays_of_a_large_event_share_its_line() {
        let home = tempfile::tempdir().expect("a directory");
        let journal =
            Journal::open(&home.path().join("journal.db"), JournalOptions::default()).expect("opens");
        let upto = commit(&journal, &[3, 1 << 20, 3]).await;
        let memory = ReaderMemory::new(READER_MEMORY_MAX_BYTES);
        let replays = Replays { reader: journal.reader(), memory: memory.clone(), texts: Arc::default() };
        let mut clients = Vec::new();
        for n in 0..10 {
            let request = request();
            let (mut replay, _) = Replay::begin(&replays, "vm1", request, (Offset(0), upto), false);
            assert!(replay.next().await.expect("readable").len() < 200, "{n}: the one before it");
            let large = replay.next().await.expect("readable");
            assert!(large.len() > 1 << 20 && large.ends_with(b"\"}}\r\n"), "{n}");
            clients.push((replay, large));
        }
        assert!((1 << 20..(1 << 20) + 1_000).contains(&memory.used()), "{}", memory.used());
        let (mut replay, large) = clients.pop().expect("one");
        drop((clients, large));
        assert_eq!(memory.used(), 0);
        assert!(!replay.next().await.expect("readable").is_empty());
        assert!(replay.next().await.expect("readable").is_empty());
        assert_eq!(replay.events, 3);
    }

    async fn commit(journal: &Journal, data_bytes: &[usize]) -> Offset {
        let mut batch = Batch::new();
        for bytes in data_bytes {
            let data = Some(format!(r#"{{"text": "{}"}}"#, "z".repeat(*bytes)).into());
            let body = Body::Event { name: "N".into(), sent_name: None, timestamp: None, data };
            batch.push(&Draft { vm: "vm1", received: UnixMicros(1), body });
        }
        let appender = journal.appender();
        let ticket = appender.append(&mut batch).expect("there is room");
        appender.committed(ticket).await.expect("is committed")
    }

    /// That of some client.
    pub(in crate::relay) fn request() -> RequestId {
        let profile = qmp_wire::server::Profile {
            version: (7, 2, 0),
            package: "".into(),
            out_of_band: false,
            pretty: false,
        };
        let mut server = qmp_wire::server::Server::new(Arc::new(profile));
        server.handle_input(br#"{"execute": "qmp_capabilities"}{"execute": "x-replay"}"#);
        server.poll_request().expect("a request").0
    }
}

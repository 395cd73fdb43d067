//! `x-replay`: the VM's events again, from the journal.

use qmp_host::blocking;
use qmp_journal::{Cursor, Globs, JournalError, Kind, Query, Reader, Removed};
use qmp_wire::dialect::{Object, Value};
use qmp_wire::server::{Refusal, RequestId};
use qmp_wire::{Offset, RawEvent};

use super::{REPLAY, encode};

/// Records read at once: as many lines are held in memory.
const REPLAY_BATCH_RECORDS: usize = 256;

/// Events on their way to a client for the second time.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) request: RequestId,
    /// Taken while it reads.
    cursor: Option<Cursor>,
    after: Offset,
    upto: Offset,
    events: u64,
    /// Records, of all VMs, that were removed from the journal before they could be repeated.
    removed: u64,
    vm: Box<str>,
    pretty: bool,
}

/// The offset behind which a client wants to hear everything, in a journal that ends at `head`.
pub(super) fn after(arguments: &Object, head: Offset) -> Result<Offset, Refusal> {
    if let Some(name) = qmp_wire::dialect::first_of(arguments, |name| name != "after") {
        return Err(Refusal::generic(format!("Parameter '{name}' is unexpected")));
    }
    match arguments.get("after") {
        None => Err(Refusal::generic("Parameter 'after' is missing")),
        Some(Value::Int(after)) if *after >= 0 => match Offset(after.unsigned_abs()) {
            after if after <= head => Ok(after),
            // What was committed stays, so it is of another journal, whose offsets mean nothing in this one.
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
    /// Begins, and gives the event that says so.
    pub(super) fn begin(
        reader: &Reader,
        vm: &str,
        request: RequestId,
        (after, upto): (Offset, Offset),
        pretty: bool,
    ) -> (Self, Vec<u8>) {
        // A name holds no character that means something in a pattern; if it did, others are passed over below.
        let vm_globs = Globs::parse([vm]).unwrap_or_default();
        let query = Query { vm: vm_globs, kind: vec![Kind::Event], ..Query::default() };
        let cursor = Some(reader.cursor(query, after));
        let replay = Self { request, cursor, after, upto, events: 0, removed: 0, vm: vm.into(), pretty };
        let mut lines = Vec::new();
        let data = format!("{{\"state\": \"begin\", \"after\": {}}}", after.0);
        replay.write(&encode::own(REPLAY, &data), &mut lines);
        (replay, lines)
    }

    /// The next events; at the end, none.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, JournalError> {
        let mut lines = Vec::new();
        while lines.is_empty()
            && let Some(mut cursor) = self.cursor.take()
        {
            let (mut cursor, records) = blocking(move || {
                let records = cursor.next_batch(REPLAY_BATCH_RECORDS);
                (cursor, records)
            })
            .await;
            let records = records?;
            self.removed += cursor.take_removed().map_or(0, Removed::records);
            let mut is_over = records.is_empty();
            for record in records {
                if record.offset.is_some_and(|offset| offset > self.upto) {
                    is_over = true;
                    break;
                }
                if let Some(event) = record.body.as_event()
                    && *record.vm == *self.vm
                {
                    self.write(&event, &mut lines);
                    self.events += 1;
                }
            }
            self.cursor = (!is_over).then_some(cursor);
        }
        Ok(lines)
    }

    /// The event that ends it, and the value of the reply.
    pub(super) fn end(&self) -> (Vec<u8>, Value) {
        let upto = self.upto.max(self.after);
        let mut lines = Vec::new();
        let mut data = format!("{{\"state\": \"end\", \"upto\": {}, \"events\": {}", upto.0, self.events);
        if self.removed > 0 {
            data += &format!(", \"removed\": {}", self.removed);
        }
        data.push('}');
        self.write(&encode::own(REPLAY, &data), &mut lines);
        let number = |number: u64| i64::try_from(number).map_or(Value::Uint(number), Value::Int);
        let mut members = vec![("upto", number(upto.0)), ("events", number(self.events))];
        if self.removed > 0 {
            members.push(("removed", number(self.removed)));
        }
        (lines, Value::Object(members.into_iter().collect()))
    }

    fn write(&self, event: &RawEvent<'_>, lines: &mut Vec<u8>) {
        if self.pretty {
            encode::pretty_event(event, lines);
        } else {
            encode::event(event, lines);
        }
    }
}

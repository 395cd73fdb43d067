//! Delivers the items of the queue: encodes each event once, and writes it to every client from the same buffer.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use qmp_wire::dialect::Value;

use super::event_loop::EventLoop;
use crate::{
    connection::{ClientDisconnect, ConnectionKey},
    counters::add,
    event::NamedEvent,
    outgoing::EVENTS_DROPPED,
    queue::{Batch, CommandReply, lock_patiently},
    slow_reader::SlowReader,
    text::{Stamp, write_tail},
    validation::Validation,
};

impl EventLoop {
    /// Takes all items of the queue and delivers them; returns `false` if there were none.
    pub(super) fn deliver_queue(&mut self) -> bool {
        self.deliver_batch(false)
    }

    /// Like [`deliver_queue`](Self::deliver_queue), at the end of a turn: if the queue was empty, threads that
    /// queue an item after this wake the loop.
    pub(super) fn deliver_queue_or_sleep(&mut self) -> bool {
        self.deliver_batch(self.to_serve.is_empty())
    }

    fn deliver_batch(&mut self, may_sleep: bool) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let now = self.parts.shared.clock.monotonic();
        {
            let mut queue = lock_patiently(&self.parts.shared.queue);
            let released = queue.take(now, &mut batch, may_sleep && self.orders.is_empty());
            if released > 0 {
                add(&self.parts.shared.counters.emitted, released);
            }
            self.parts.shared.waiting.store(0, Relaxed);
        }
        let was_empty = batch.is_empty() && self.orders.is_empty();
        if !batch.is_empty() {
            self.deliver(&mut batch);
        }
        self.batch = batch;
        self.execute_orders();
        !was_empty
    }

    fn deliver(&mut self, batch: &mut Batch) {
        if self.parts.shared.policy.validation == Validation::Count {
            self.count_invalid(batch);
        }
        let replies = std::mem::take(&mut batch.replies);
        self.orders.extend(batch.orders.drain(..));
        let lines = Lines { compact: batch, spread: (self.pretty_audience > 0).then(|| spread(batch)) };
        let mut from = 0;
        for reply in replies {
            self.deliver_events(&lines, from, reply.after);
            from = reply.after;
            self.send_reply(reply);
        }
        self.deliver_events(&lines, from, batch.ends.len());
        if batch.overrun > 0 {
            self.report_overrun(batch.overrun);
        }
    }

    /// Counts the events of a batch that are invalid for their release.
    fn count_invalid(&self, batch: &Batch) {
        let mut start = 0;
        for end in &batch.ends {
            self.parts.shared.is_valid(&batch.lines[start..*end]);
            start = *end;
        }
    }

    /// Writes the events numbered `from` to `to` of the batch to every client in command mode.
    fn deliver_events(&mut self, lines: &Lines<'_>, from: usize, to: usize) {
        if from == to || self.audience.is_empty() {
            return;
        }
        let compact = lines.range(false, from, to);
        let spread = lines.range(true, from, to);
        let count = u64::try_from(to - from).unwrap_or(u64::MAX);
        add(&self.parts.shared.counters.delivered, count * self.audience.len() as u64);
        let (mut disconnected, mut slow) = (Vec::new(), Vec::new());
        for slot in &self.audience {
            let Some(connection) = &mut self.connections[*slot as usize] else { continue };
            let (lines, ends, start) = if connection.service.profile.pretty { spread } else { compact };
            let written = connection.write_events(lines, ends, start);
            if written.is_err() || connection.watch(connection.is_read()).is_err() {
                disconnected.push(connection.key);
            } else if connection.outgoing.exceeds(self.parts.output_max_bytes) {
                slow.push(connection.key);
            }
        }
        for key in disconnected {
            self.close(key);
        }
        for key in slow {
            self.apply_slow_reader(key, 0);
        }
    }

    /// Reports events lost between the machine and the queue: a loss for every client.
    fn report_overrun(&mut self, lost: u64) {
        for slot in self.audience.clone() {
            let Some(connection) = &self.connections[slot as usize] else { continue };
            let key = connection.key;
            self.apply_slow_reader(key, lost);
        }
    }

    /// Applies the policy for lost events to a connection: `lost` ones already, or some of the waiting ones.
    fn apply_slow_reader(&mut self, key: ConnectionKey, lost: u64) {
        let counters = Arc::clone(&self.parts.shared);
        let Some(service) = self.connection(key).map(|connection| connection.service.clone()) else { return };
        if service.slow_reader == SlowReader::Close {
            add(&counters.counters.closed_slow, 1);
            return self.close(key);
        }
        let (wall, pretty) = (counters.clock.wall(), service.profile.pretty);
        let keep_bytes = self.parts.output_max_bytes / 2;
        let marker = |count: u64| {
            let mut line = Vec::new();
            Stamp::default().write(wall, &mut line);
            let data = [("count", count)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
            write_tail(&NamedEvent { name: EVENTS_DROPPED, data }, &[], &mut line);
            if pretty { spread_line(&line) } else { line }
        };
        let Some(connection) = self.connection(key) else { return };
        if lost > 0 {
            connection.outgoing.push_lost(lost, marker);
        } else {
            let dropped = connection.outgoing.drop_oldest(keep_bytes, marker);
            add(&counters.counters.dropped, dropped);
        }
        self.finish(key);
    }

    /// Replies to a command that was handed over, if its client is still connected.
    fn send_reply(&mut self, reply: CommandReply) {
        let Some(connection) = self.connection(reply.connection) else {
            add(&self.parts.shared.counters.replies_discarded, 1);
            return;
        };
        match reply.result {
            Ok(text) => connection.server.reply_text(reply.request, &text),
            Err(refusal) => connection.server.reply(reply.request, Err(refusal)),
        }
        connection.collect();
        let key = connection.key;
        match connection.flush() {
            Ok(()) => self.to_serve.push(key),
            Err(ClientDisconnect) => self.close(key),
        }
    }

    /// Adds a connection to the audience of events.
    pub(super) fn admit(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if connection.server.in_command_mode() && !connection.listens {
            connection.listens = true;
            let is_pretty = connection.service.profile.pretty;
            self.pretty_audience += usize::from(is_pretty);
            self.audience.push(key.slot);
            self.parts.shared.audience.store(self.audience.len(), Relaxed);
        }
    }
}

/// The events of a batch in each form that a connection needs.
struct Lines<'a> {
    compact: &'a Batch,
    /// Each message over many lines, and its end; only if a connection needs that.
    spread: Option<(Vec<u8>, Vec<usize>)>,
}

impl Lines<'_> {
    /// Returns the events numbered `from` to `to`: their bytes, the end of each, and the position of the first in
    /// the batch.
    fn range(&self, pretty: bool, from: usize, to: usize) -> (&[u8], &[usize], usize) {
        let (lines, ends) = match &self.spread {
            Some((lines, ends)) if pretty => (lines, ends),
            _ => (&self.compact.lines, &self.compact.ends),
        };
        let start = if from == 0 { 0 } else { ends[from - 1] };
        (&lines[start..ends[to - 1]], &ends[from..to], start)
    }
}

/// Spreads each message of a batch over many lines.
fn spread(batch: &Batch) -> (Vec<u8>, Vec<usize>) {
    let (mut lines, mut ends, mut start) = (Vec::new(), Vec::with_capacity(batch.ends.len()), 0);
    for end in &batch.ends {
        lines.extend(spread_line(&batch.lines[start..*end]));
        start = *end;
        ends.push(lines.len());
    }
    (lines, ends)
}

fn spread_line(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    Value::read(line).print(true, &mut text);
    let mut lines = Vec::with_capacity(text.len() + 64);
    for line in text.split(|byte| *byte == b'\n') {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

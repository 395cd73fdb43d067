//! The line of one VM: its greeting, its clients, and replies that wait for the events before them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};

use bytes::Bytes;
use qmp_client::PendingReply;
use qmp_host::lock;
use qmp_host::reader_memory::ReaderMemory;
use qmp_journal::CommitOffset;
use qmp_wire::dialect::Value;
use qmp_wire::{Body, DetachReason, Offset, RawEvent, Record};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::encode;
use super::greeted::{Greetings, VmGreeting};
use super::held::HeldReplies;
use super::outbox::{Item, Outbox};
use super::own_events::{EVENTS_LATE, EVENTS_MISSED};

/// The lines of all VMs that have a relay.
#[derive(Debug)]
pub(super) struct Lines {
    memory: ReaderMemory,
    by_vm: RwLock<HashMap<Box<str>, Arc<Line>>>,
    greetings: Arc<Greetings>,
}

/// The line of one VM.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) vm: Box<str>,
    /// The last append before the line began. Records up to there, also those of an earlier VM of the same name, are not
    /// handed out by this line, and the feed may yield them late.
    begins_after: CommitOffset,
    state: Mutex<LineState>,
    greeted: watch::Sender<Option<Arc<VmGreeting>>>,
    greetings: Arc<Greetings>,
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
struct LineState {
    memory: ReaderMemory,
    /// How many records the attachment appended, and how many of them the feed handed out.
    recorded: u64,
    fed: u64,
    held: HeldReplies,
    clients: Vec<Arc<Outbox>>,
    position: Offset,
    /// The records before the line are committed.
    begun: bool,
    /// The feed handed out a record that shows whether the VM is attached.
    heard: bool,
    /// The journal lost events after this offset, and the VM's state is being queried.
    missed_after: Option<Offset>,
    /// The attachment appends no more: the records that it appended are handed out, and then the line ends.
    closing: bool,
}

/// Events that wait to be handed out together.
#[derive(Debug, Default)]
struct LineBuffers {
    compact: Vec<u8>,
    pretty: Vec<u8>,
}

impl Lines {
    pub(super) fn new(memory: ReaderMemory) -> Self {
        Self { memory, by_vm: RwLock::default(), greetings: Arc::default() }
    }

    /// Opens a line for that VM, which has none. The caller calls [`Line::begin`].
    pub(super) fn open(&self, vm: &str, begins_after: CommitOffset) -> Arc<Line> {
        let line = Arc::new(Line::new(vm, begins_after, Arc::clone(&self.greetings), self.memory.clone()));
        self.write().insert(vm.into(), Arc::clone(&line));
        line
    }

    pub(super) fn get(&self, vm: &str) -> Option<Arc<Line>> {
        self.by_vm.read().unwrap_or_else(PoisonError::into_inner).get(vm).cloned()
    }

    /// Removes that line, unless its VM has another one already.
    pub(super) fn remove(&self, line: &Arc<Line>) {
        let mut lines = self.write();
        if lines.get(&line.vm).is_some_and(|other| Arc::ptr_eq(other, line)) {
            lines.remove(&line.vm);
        }
    }

    /// Ends all lines: no more records will be handed out.
    pub(super) fn end(&self) {
        for line in self.write().values() {
            line.end();
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Box<str>, Arc<Line>>> {
        self.by_vm.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn new(vm: &str, begins_after: CommitOffset, greetings: Arc<Greetings>, memory: ReaderMemory) -> Self {
        let (greeted, ended) = (watch::Sender::default(), watch::Sender::default());
        let state = Mutex::new(LineState::new(memory));
        Self { vm: vm.into(), begins_after, state, greeted, greetings, ended }
    }

    /// Begins to hand out: the records before the line are committed. `greeting` is that of an attached VM.
    pub(super) fn begin(&self, greeting: Option<&str>) {
        let mut state = self.lock();
        state.begun = true;
        state.position = state.position.max(self.begins_after.get().copied().unwrap_or_default());
        if let Some(greeting) = greeting.filter(|_| !state.heard) {
            let greeted = VmGreeting::of(Value::read_printed(greeting.as_bytes()));
            self.greeted.send_replace(Some(self.greetings.shared(greeted)));
        }
        state.release_due();
        self.end_if_all_said(&mut state);
    }

    /// Counts records that the attachment appended for this VM.
    pub(crate) fn recorded(&self, records: u64) {
        self.lock().recorded += records;
    }

    /// Keeps a reply until all records that were appended before it are handed out, at most for
    /// [`REPLY_JOURNAL_MAX`](super::REPLY_JOURNAL_MAX), or until the line ends.
    ///
    /// Called by the attachment only, which appends no record during the call.
    pub(crate) fn hold(self: &Arc<Self>, reply: PendingReply) {
        let mut state = self.lock();
        if state.begun && state.fed >= state.recorded {
            // Under the lock, so that no event overtakes it.
            reply.release();
        } else if *self.ended.borrow() {
            reply.release_early();
        } else {
            let before = state.recorded;
            if let Some(due) = state.held.hold(before, reply) {
                tokio::spawn(release_overdue(Arc::downgrade(self), due));
            }
        }
    }

    /// Watches the greeting of the VM; `None` while it is detached.
    pub(super) fn greeted(&self) -> watch::Receiver<Option<Arc<VmGreeting>>> {
        self.greeted.subscribe()
    }

    /// Adds a client, which gets the events from here on; `None` if the VM is detached.
    pub(super) fn join(&self, outbox: &Arc<Outbox>) -> Option<(Arc<VmGreeting>, Offset)> {
        let mut state = self.lock();
        let greeted = self.greeted.borrow().clone()?;
        state.clients.push(Arc::clone(outbox));
        Some((greeted, state.position))
    }

    pub(super) fn leave(&self, outbox: &Arc<Outbox>) {
        outbox.leave();
        self.lock().clients.retain(|client| !Arc::ptr_eq(client, outbox));
    }

    /// Removes the clients of a relay that ends, and closes their connections.
    pub(super) fn part(&self, outboxes: &[Arc<Outbox>]) {
        let stays = |client: &Arc<Outbox>| !outboxes.iter().any(|outbox| Arc::ptr_eq(outbox, client));
        self.lock().clients.retain(stays);
        // Also for a client that is about to join.
        outboxes.iter().for_each(|outbox| outbox.put(Item::End { why: "the relay ends" }));
    }

    /// Hands out records of this VM, and the replies between them.
    pub(super) fn feed(&self, records: &[Record<'static>]) {
        // Until that append is committed, no record after it can be in the feed.
        let Some(begins_after) = self.begins_after.get() else { return };
        let earlier = |record: &Record<'_>| record.offset.is_some_and(|offset| offset <= *begins_after);
        let records = &records[records.partition_point(earlier)..];
        let mut state = self.lock();
        let mut batched = LineBuffers::default();
        for record in records {
            if state.has_due() {
                state.hand_out(&mut batched);
                state.release_due();
            }
            let offset = record.offset.unwrap_or(state.position);
            match &record.body {
                body @ Body::Event { .. } if !state.clients.is_empty() => {
                    batched.add(body.as_event(), &state.clients);
                }
                Body::Attached { snapshot } => {
                    state.hand_out(&mut batched);
                    self.attached(&mut state, snapshot, offset);
                }
                Body::Detached { reason, .. } => {
                    state.hand_out(&mut batched);
                    self.detached(&mut state, reason);
                }
                _ => {}
            }
            state.position = offset;
            state.fed += 1;
        }
        state.hand_out(&mut batched);
        state.release_due();
        self.end_if_all_said(&mut state);
    }

    /// Ends the line when all records of the attachment, which appends no more, are handed out. Clients are closed then.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.end_if_all_said(&mut state);
    }

    /// Ends the line at once: replies that wait are released early, and clients are closed.
    pub(super) fn end(&self) {
        self.end_with(&mut self.lock());
    }

    /// Waits until the line ends.
    pub(super) async fn ended(&self) {
        // The sender lives as long as the line.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn end_if_all_said(&self, state: &mut LineState) {
        if state.closing && state.begun && state.fed >= state.recorded {
            self.end_with(state);
        }
    }

    fn end_with(&self, state: &mut LineState) {
        self.ended.send_replace(true);
        state.held.release_all();
        state.close_clients("the hub has left the VM");
        self.greeted.send_replace(None);
    }

    fn attached(&self, state: &mut LineState, snapshot: &str, offset: Offset) {
        state.heard = true;
        let greeted = VmGreeting::of_snapshot(snapshot);
        if let Some(after) = state.missed_after.take() {
            // Another QEMU may be at the socket by now, and its clients must read its greeting.
            if self.greeted.borrow().as_deref() != Some(&greeted) {
                state.close_clients("another VM is at its socket");
            }
            let mut batched = LineBuffers::default();
            let data = format!("{{\"after\": {}, \"upto\": {}}}", after.0, offset.0);
            batched.add(Some(encode::own(EVENTS_MISSED, &data)), &state.clients);
            state.position = offset;
            state.hand_out(&mut batched);
        }
        self.greeted.send_replace(Some(self.greetings.shared(greeted)));
    }

    fn detached(&self, state: &mut LineState, reason: &DetachReason) {
        state.heard = true;
        if *reason == DetachReason::Overrun {
            state.missed_after = Some(state.position);
            return;
        }
        state.missed_after = None;
        state.close_clients(match reason {
            DetachReason::PeerClosed => "the VM closed the connection",
            _ => "the connection to the VM has ended",
        });
        self.greeted.send_replace(None);
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        lock(&self.state)
    }
}

impl LineState {
    fn new(memory: ReaderMemory) -> Self {
        Self {
            memory,
            recorded: 0,
            fed: 0,
            held: HeldReplies::default(),
            clients: Vec::new(),
            position: Offset::default(),
            begun: false,
            heard: false,
            missed_after: None,
            closing: false,
        }
    }

    fn has_due(&self) -> bool {
        self.begun && self.held.is_due(self.fed)
    }

    fn release_due(&mut self) {
        if self.begun && self.held.release_due(self.fed) {
            self.tell_late();
        }
    }

    /// Reports to the clients whose replies were released early that the events before these replies have been sent.
    fn tell_late(&self) {
        for client in &self.clients {
            let replies = client.deliver_early();
            if replies > 0 {
                let mut batched = LineBuffers::default();
                let data = format!("{{\"replies\": {replies}}}");
                batched.add(Some(encode::own(EVENTS_LATE, &data)), std::slice::from_ref(client));
                let lines = if client.pretty { batched.pretty } else { batched.compact };
                client.put(Item::Events { lines: lines.into(), upto: self.position });
            }
        }
    }

    fn hand_out(&mut self, batched: &mut LineBuffers) {
        let LineBuffers { compact, pretty } = std::mem::take(batched);
        let upto = self.position;
        let (compact, pretty) = (self.charged(compact), self.charged(pretty));
        for client in &self.clients {
            match if client.pretty { &pretty } else { &compact } {
                Some(lines) if lines.is_empty() => {}
                Some(lines) => client.put(Item::Events { lines: lines.clone(), upto }),
                None => client.overflow(),
            }
        }
    }

    /// Counts lines in the memory of all readers; `None` if there is no room.
    fn charged(&self, lines: Vec<u8>) -> Option<Bytes> {
        if lines.is_empty() {
            return Some(Bytes::new());
        }
        let memory = self.memory.try_take(lines.len()).ok()?;
        Some(Bytes::from_owner(memory.of(lines)))
    }

    fn close_clients(&mut self, why: &'static str) {
        for client in self.clients.drain(..) {
            client.put(Item::End { why });
        }
    }
}

impl LineBuffers {
    /// Encodes an event in the forms that the clients use.
    fn add(&mut self, event: Option<RawEvent<'_>>, clients: &[Arc<Outbox>]) {
        let Some(event) = event else { return };
        if clients.iter().any(|client| !client.pretty) {
            encode::event(&event, &mut self.compact);
        }
        if clients.iter().any(|client| client.pretty) {
            encode::pretty_event(&event, &mut self.pretty);
        }
    }
}

/// Releases overdue replies of a line early, until no reply waits there.
async fn release_overdue(line: Weak<Line>, mut due: Instant) {
    loop {
        sleep_until(due).await;
        let next = line.upgrade().and_then(|line| line.lock().held.release_overdue());
        match next {
            Some(next) => due = next,
            None => return,
        }
    }
}

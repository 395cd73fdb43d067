//! The task of one rule: reads, selects, delivers, and updates its position.

mod attempt;
mod position;
mod source;
mod queue;
mod report;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use qmp_host::Backoff;
use qmp_host::blocking;
use qmp_host::clock::{self, SteadyClock};
use qmp_journal::{JournalError, Query, Reader};
use qmp_wire::{Offset, Record, UnixMicros};
use tokio::sync::watch;

use super::backlog::Backlog;
use super::delivery::{Delivery, DeliveryOrigin, Sink, SinkEvent};
use super::delivery_limit::{Gate, HeldRecords};
use super::positions::Positions;
use super::reported_states::ReportedStates;
use super::rule::RuleConfig;
use super::status::{SinkState, Status};
use source::{RecordSource, SINK_BATCH_RECORDS};

/// How long a rule pauses between two reads of the journal. Under load each read then returns several records; the
/// delay is too short to matter to a receiver.
const SINK_REST: Duration = Duration::from_millis(5);

/// The first pause after a failed delivery; each further one is twice as long.
const SINK_RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest pause between two attempts, unless the receiver asks for more: a receiver that is available again gets
/// the missed records within a minute.
const SINK_RETRY_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a receiver may ask for (`Retry-After`).
const SINK_RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The pause before a rule reads again after an error of the journal.
const SINK_READ_RETRY_DELAY: Duration = Duration::from_secs(1);

/// An order to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Run without end.
    Run,
    /// Deliver the records in the journal, and end; do not wait for an unavailable receiver.
    Drain,
    /// End after the delivery in progress.
    Stop,
}

/// A running rule.
pub(super) struct Runner {
    rule: RuleConfig,
    reader: Reader,
    sink: Box<dyn Sink>,
    positions: Positions,
    status: Arc<Status>,
    orders: watch::Receiver<Order>,
    gate: Gate,
    /// The clock of the gate.
    clock: SteadyClock,
    /// The newest record that the gate holds back.
    held: Option<Record<'static>>,
    backoff: Backoff,
    /// The states that the receiver knows, and not their end.
    reported: ReportedStates,
    backlog: Backlog,
    /// The records that are read and not handled, of a rule without a limit.
    queue: Vec<Delivery>,
    /// `reported` after the delivery of the queue.
    reported_by_queue: ReportedStates,
    /// Whether there are more records in the journal, as far as the last batch shows.
    is_behind: bool,
    /// How often the first record that is not handled was refused.
    refusals: u32,
    /// The offset up to which the records were read.
    read_to: Offset,
    /// The offset up to which all records are handled.
    position: Offset,
    /// The offset after which the receiver lacks records, and why.
    repeat: Option<(Offset, String)>,
}

/// `Break` ends the task.
type Flow = ControlFlow<()>;

impl Runner {
    pub(super) fn new(
        rule: RuleConfig,
        origin: DeliveryOrigin,
        reader: Reader,
        positions: Positions,
        status: Arc<Status>,
        orders: watch::Receiver<Order>,
    ) -> Self {
        let known = positions.get(&rule.name).unwrap_or_default();
        let held = HeldRecords { records: known.held_back, newest: Offset(known.held_back_newest) };
        let gate = Gate::new(rule.at_most, known.passed, held);
        let seed = clock::now().0.unsigned_abs();
        let mut sink = rule.action.open(Arc::new(origin));
        if let Some(state) = &known.sink {
            sink.restore(state);
        }
        Self {
            sink,
            rule,
            reader,
            positions,
            status,
            orders,
            gate,
            clock: SteadyClock::new(),
            held: None,
            backoff: Backoff::new(SINK_RETRY_FIRST, SINK_RETRY_MAX, seed),
            reported: known.reported,
            backlog: Backlog::default(),
            queue: Vec::new(),
            reported_by_queue: ReportedStates::default(),
            is_behind: false,
            refusals: 0,
            read_to: Offset(known.offset),
            position: Offset(known.offset),
            repeat: None,
        }
    }

    /// Delivers until it is ordered to end.
    pub(super) async fn run(mut self) {
        self.restore_held().await;
        let mut source = self.source(self.position);
        loop {
            if *self.orders.borrow() == Order::Stop || self.release().await.is_break() {
                return;
            }
            if let Some((after, reason)) = self.repeat.take() {
                self.go_back(after, &reason);
                source = self.source(after);
            }
            let flow = if self.queue.is_empty() || source.has_batch() {
                self.read(&mut source).await
            } else {
                if self.reads_ahead() {
                    source.begin();
                }
                self.deliver_queue().await
            };
            if flow.is_break() {
                return;
            }
        }
    }

    fn source(&self, after: Offset) -> RecordSource {
        RecordSource::new(self.reader.clone(), self.reader.cursor(self.rule.selection.query(), after))
    }

    /// Takes the next batch; at the head, waits for more.
    async fn read(&mut self, source: &mut RecordSource) -> Flow {
        let (read, position, missed) = source.next().await;
        self.add_missed(missed.removed, "were removed from it");
        self.add_missed(missed.lost, "cannot be read");
        match read {
            Ok(records) if !records.is_empty() => self.take(records, position).await,
            Ok(_) if self.queue.is_empty() => self.rest(source, position).await,
            Err(JournalError::Ended(_)) if self.queue.is_empty() => Flow::Break(()),
            Err(error) if self.queue.is_empty() => self.read_failed(&error).await,
            // The queue is delivered first.
            Ok(_) | Err(_) => {
                self.is_behind = false;
                Flow::Continue(())
            }
        }
    }

    /// Reads the record that was held back when the hub ended.
    async fn restore_held(&mut self) {
        let held = self.gate.held();
        if held.records == 0 {
            return;
        }
        self.status.held_back_waiting.store(held.records, Relaxed);
        let mut cursor = self.reader.cursor(Query::default(), Offset(held.newest.0.saturating_sub(1)));
        let read = blocking(move || cursor.next_batch(1)).await;
        self.held = read.ok().and_then(|records| records.into_iter().next());
        if self.held.as_ref().and_then(|record| record.offset) != Some(held.newest) {
            // The record was pruned; the next delivery reports the number of held-back records.
            self.held = None;
        }
    }

    /// Waits for more records, or for the gate to open, after everything up to `position` was read and delivered.
    async fn rest(&mut self, source: &mut RecordSource, position: Offset) -> Flow {
        self.moved_to(position);
        if *self.orders.borrow() != Order::Run {
            return Flow::Break(());
        }
        let opens = self.opens_in();
        self.report_problem();
        tokio::select! {
            more = source.wait() => if more.is_err() { return Flow::Break(()) },
            () = tokio::time::sleep(opens.unwrap_or_default()), if opens.is_some() => return Flow::Continue(()),
            event = self.sink.wait() => {
                if let SinkEvent::Repeat { after, reason } = event {
                    self.repeat = Some((after, reason));
                }
                return Flow::Continue(());
            }
            changed = self.orders.changed() => if changed.is_err() { return Flow::Break(()) },
        }
        tokio::select! {
            () = tokio::time::sleep(SINK_REST) => {}
            _ = self.orders.changed() => {}
        }
        Flow::Continue(())
    }

    /// Reports that the journal cannot be read, and pauses.
    async fn read_failed(&mut self, error: &JournalError) -> Flow {
        self.status.failed(&error.to_string());
        if self.status.enter(SinkState::Blind) {
            tracing::error!("rule {}: cannot read the journal: {error}", self.rule.name);
        }
        self.pause(SINK_READ_RETRY_DELAY).await
    }

    /// Handles records that the query found; everything up to `upto` was read.
    async fn take(&mut self, records: Vec<Record<'static>>, upto: Offset) -> Flow {
        if self.rule.states.is_some() {
            let selection = &self.rule.selection;
            let alerts = records.iter().filter(|record| selection.matches(record));
            self.positions.take_alerts(&self.rule.name, alerts);
        }
        let selected = records.iter().filter(|record| self.rule.selection.matches(record)).count() as u64;
        self.read_to = upto;
        self.is_behind = records.len() == SINK_BATCH_RECORDS;
        self.backlog.read(selected, upto);
        if self.is_behind {
            self.backlog.count_beside(&self.reader, &self.rule, upto);
        }
        self.status.waiting.store(self.queue.len() as u64 + selected + self.backlog.records(), Relaxed);
        if self.rule.at_most.is_none() {
            self.enqueue(records);
            self.queue_delivered();
            return Flow::Continue(());
        }
        for record in records {
            if *self.orders.borrow() == Order::Stop {
                return Flow::Break(());
            }
            self.release().await?;
            self.offer(record).await?;
        }
        if self.repeat.is_none() {
            self.moved_to(upto);
        }
        Flow::Continue(())
    }

    /// Whether a record that the query found is selected, and not silenced; counts those that are. A silence does not withhold
    /// the end of a state that was reported.
    fn is_delivered(&self, record: &Record<'_>, reported: &ReportedStates) -> bool {
        if !self.rule.selection.matches(record) {
            return false;
        }
        let is_silenced = self.positions.with_silences(|silences| silences.withhold(&self.rule, record))
            && !reported.are_ended_by(record);
        self.status.silenced.fetch_add(u64::from(is_silenced), Relaxed);
        !is_silenced
    }

    /// Takes a record that the receiver gets, if a silence may withhold the end of its state.
    fn report(&self, reported: &mut ReportedStates, record: &Record<'_>) {
        if self.rule.reports_ends() {
            reported.take(record);
        }
    }

    /// Delivers one record, or holds it back.
    async fn offer(&mut self, record: Record<'static>) -> Flow {
        if !self.is_delivered(&record, &self.reported) {
            return Flow::Continue(());
        }
        let now = self.clock.now();
        if self.gate.opens_at(now) > now {
            let offset = offset(&record);
            self.gate.hold(offset);
            self.held = Some(record);
            self.status.held_back.fetch_add(1, Relaxed);
            self.status.held_back_waiting.fetch_add(1, Relaxed);
            self.handled(offset);
            return Flow::Continue(());
        }
        // Only a count can be left here, of records whose newest was pruned.
        let held_back = self.gate.held().records;
        self.gate.release(now);
        self.deliver(&[Delivery { record, held_back }]).await?;
        self.status.held_back_waiting.store(0, Relaxed);
        Flow::Continue(())
    }

    /// Delivers the newest held-back record, if the gate is open.
    async fn release(&mut self) -> Flow {
        let now = self.clock.now();
        if self.held.is_none() || self.gate.opens_at(now) > now {
            return Flow::Continue(());
        }
        let Some(record) = self.held.take() else { return Flow::Continue(()) };
        let before = self.gate.clone();
        let held_back = self.gate.release(now);
        let delivery = [Delivery { record, held_back }];
        if self.deliver(&delivery).await.is_break() {
            // No receiver got the count: the record is held back as before.
            self.gate = before;
            return Flow::Break(());
        }
        self.status.held_back_waiting.store(0, Relaxed);
        Flow::Continue(())
    }

    /// The time until the gate opens for the held-back record.
    fn opens_in(&mut self) -> Option<Duration> {
        self.held.as_ref()?;
        let now = self.clock.now();
        let UnixMicros(opens) = self.gate.opens_at(now);
        Some(Duration::from_micros(opens.saturating_sub(now.0).unsigned_abs()))
    }

    /// Delivers all, and retries each as often as needed; ends early if the receiver lacks earlier records.
    async fn deliver(&mut self, mut deliveries: &[Delivery]) -> Flow {
        while !deliveries.is_empty() && self.repeat.is_none() {
            let handled = self.attempt(deliveries).await?;
            deliveries = &deliveries[handled..];
            if *self.orders.borrow() == Order::Stop {
                return Flow::Break(());
            }
        }
        Flow::Continue(())
    }

    /// Pauses; an order to end cuts the pause short.
    async fn pause(&mut self, pause: Duration) -> Flow {
        tokio::select! {
            () = tokio::time::sleep(pause) => Flow::Continue(()),
            _ = self.orders.wait_for(|order| *order != Order::Run) => Flow::Break(()),
        }
    }
}

/// The offset of a record, which comes from a journal.
fn offset(record: &Record<'_>) -> Offset {
    record.offset.unwrap_or_default()
}

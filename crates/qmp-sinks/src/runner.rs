//! The task of one rule: reads, selects, delivers, and notes where it stands.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use qmp_host::Backoff;
use qmp_host::blocking;
use qmp_host::clock::{self, SteadyClock};
use qmp_journal::{Cursor, JournalError, Query, Reader};
use qmp_wire::{Offset, Record, UnixMicros};
use tokio::sync::watch;

use super::at_most::{Gate, Held};
use super::delivery::{Delivery, Failure, Origin, Sink};
use super::positions::{Position, Positions};
use super::rule::RuleConfig;
use super::status::{SinkState, Status};

/// Records that a rule takes from the journal at once.
const SINK_BATCH_RECORDS: usize = 1_024;

/// How long a rule rests between two looks at the journal. Under load each look then finds more than one record; a
/// receiver does not notice so little.
const SINK_REST: Duration = Duration::from_millis(5);

/// The first pause after a failed delivery; each further one is twice as long.
const SINK_RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest pause between two attempts, unless the receiver asks for more: a receiver that is back hears of what it
/// missed within a minute.
const SINK_RETRY_MAX: Duration = Duration::from_secs(60);

/// How long a receiver may ask to be left alone (`Retry-After`).
const SINK_RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long the rule waits before it reads again after an error of the journal.
const SINK_READ_RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a rule is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on for ever.
    Go,
    /// Deliver what is there, and end; do not wait for a receiver that is away.
    Drain,
    /// End after the delivery under way.
    Leave,
}

/// One rule at work.
pub(super) struct Runner {
    rule: RuleConfig,
    reader: Reader,
    sink: Box<dyn Sink>,
    positions: Positions,
    status: Arc<Status>,
    orders: watch::Receiver<Order>,
    gate: Gate,
    /// The gate's.
    clock: SteadyClock,
    /// The record that the gate holds.
    held: Option<Record<'static>>,
    backoff: Backoff,
    /// Everything up to here is dealt with.
    position: Offset,
}

/// Ends the task.
type Flow = ControlFlow<()>;

impl Runner {
    pub(super) fn new(
        rule: RuleConfig,
        origin: Origin,
        reader: Reader,
        positions: Positions,
        status: Arc<Status>,
        orders: watch::Receiver<Order>,
    ) -> Self {
        let known = positions.get(&rule.name).unwrap_or_default();
        let held = Held { records: known.held_back, newest: Offset(known.held_back_newest) };
        let gate = Gate::new(rule.at_most, known.passed, held);
        let seed = clock::now().0.unsigned_abs();
        Self {
            sink: rule.action.open(Arc::new(origin)),
            rule,
            reader,
            positions,
            status,
            orders,
            gate,
            clock: SteadyClock::new(),
            held: None,
            backoff: Backoff::new(SINK_RETRY_FIRST, SINK_RETRY_MAX, seed),
            position: Offset(known.offset),
        }
    }

    /// Delivers until it is told to end.
    pub(super) async fn run(mut self) {
        self.recall().await;
        let mut cursor = self.reader.cursor(self.rule.selection.query(), self.position).under_way();
        loop {
            if *self.orders.borrow() == Order::Leave || self.release().await.is_break() {
                return;
            }
            let before = cursor.position();
            let work = move || {
                let records = cursor.next_batch(SINK_BATCH_RECORDS);
                (cursor, records)
            };
            let (back, read) = blocking(work).await;
            cursor = back;
            let removed = cursor.take_removed();
            self.missed(
                removed.map_or(0, |removed| removed.upto.0 - removed.after.0),
                "were removed from it",
            );
            self.missed(self.reader.lost_records(before, cursor.position()), "cannot be read");
            let flow = match read {
                Ok(records) if records.is_empty() => self.rest(&mut cursor).await,
                Ok(records) => self.take(records, cursor.position()).await,
                Err(JournalError::Ended(_)) => return,
                Err(error) => self.blind(&error).await,
            };
            if flow.is_break() {
                return;
            }
        }
    }

    /// Fetches the record that was held back when the hub ended.
    async fn recall(&mut self) {
        let held = self.gate.held();
        if held.records == 0 {
            return;
        }
        self.status.held_back_waiting.store(held.records, Relaxed);
        let mut cursor = self.reader.cursor(Query::default(), Offset(held.newest.0.saturating_sub(1)));
        let read = blocking(move || cursor.next_batch(1)).await;
        self.held = read.ok().and_then(|records| records.into_iter().next());
        if self.held.as_ref().and_then(|record| record.offset) != Some(held.newest) {
            // It is gone from the journal; the number of those that were held back goes with the next delivery.
            self.held = None;
        }
    }

    /// Everything was read: waits for more, or for the gate to open.
    async fn rest(&mut self, cursor: &mut Cursor) -> Flow {
        self.moved_to(cursor.position());
        if *self.orders.borrow() != Order::Go {
            return Flow::Break(());
        }
        let opens = self.opens_in();
        tokio::select! {
            more = cursor.wait() => if more.is_err() { return Flow::Break(()) },
            () = tokio::time::sleep(opens.unwrap_or_default()), if opens.is_some() => return Flow::Continue(()),
            changed = self.orders.changed() => if changed.is_err() { return Flow::Break(()) },
        }
        tokio::select! {
            () = tokio::time::sleep(SINK_REST) => {}
            _ = self.orders.changed() => {}
        }
        Flow::Continue(())
    }

    /// The journal cannot be read.
    async fn blind(&mut self, error: &JournalError) -> Flow {
        self.status.failed(&error.to_string());
        if self.status.enter(SinkState::Blind) {
            tracing::error!("rule {}: cannot read the journal: {error}", self.rule.name);
        }
        self.pause(SINK_READ_RETRY_DELAY).await
    }

    /// Deals with records that the query found; all up to `upto` was read.
    async fn take(&mut self, records: Vec<Record<'static>>, upto: Offset) -> Flow {
        if self.rule.at_most.is_some() {
            for record in records {
                if *self.orders.borrow() == Order::Leave {
                    return Flow::Break(());
                }
                self.release().await?;
                self.offer(record).await?;
            }
        } else {
            let mut wanted: Vec<Delivery> = Vec::with_capacity(records.len());
            let records = records.into_iter().filter(|record| self.rule.selection.matches(record));
            wanted.extend(records.map(|record| Delivery { record, held_back: 0 }));
            self.deliver(&wanted).await?;
        }
        self.moved_to(upto);
        Flow::Continue(())
    }

    /// Lets one record pass, or holds it back.
    async fn offer(&mut self, record: Record<'static>) -> Flow {
        if !self.rule.selection.matches(&record) {
            return Flow::Continue(());
        }
        let now = self.clock.now();
        if self.gate.opens_at(now) > now {
            let offset = offset(&record);
            self.gate.hold(offset);
            self.held = Some(record);
            self.status.held_back.fetch_add(1, Relaxed);
            self.status.held_back_waiting.fetch_add(1, Relaxed);
            self.arrived(offset);
            return Flow::Continue(());
        }
        // Only those remain of which the newest is gone from the journal.
        let held_back = self.gate.held().records;
        self.gate.release(now);
        self.deliver(&[Delivery { record, held_back }]).await?;
        self.status.held_back_waiting.store(0, Relaxed);
        Flow::Continue(())
    }

    /// Delivers what was held back, if the gate is open.
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
            // Nobody was told: it is held back as before.
            self.gate = before;
            return Flow::Break(());
        }
        self.status.held_back_waiting.store(0, Relaxed);
        Flow::Continue(())
    }

    /// In how long the gate opens for what it holds.
    fn opens_in(&mut self) -> Option<Duration> {
        self.held.as_ref()?;
        let now = self.clock.now();
        let UnixMicros(opens) = self.gate.opens_at(now);
        Some(Duration::from_micros(opens.saturating_sub(now.0).unsigned_abs()))
    }

    /// Delivers all, each as often as it takes.
    async fn deliver(&mut self, mut deliveries: &[Delivery]) -> Flow {
        let mut refusals = 0;
        while let Some(first) = deliveries.first() {
            let outcome = self.sink.deliver(deliveries).await;
            let (arrived, rest) = deliveries.split_at(outcome.delivered.min(deliveries.len()));
            if let Some(last) = arrived.last() {
                refusals = 0;
                self.status.delivered.fetch_add(arrived.len() as u64, Relaxed);
                self.arrived(offset(&last.record));
                self.well();
            }
            deliveries = rest;
            let Some(failure) = outcome.failure else {
                if *self.orders.borrow() == Order::Leave {
                    return Flow::Break(());
                }
                continue;
            };
            let first = deliveries.first().unwrap_or(first);
            let pause = match failure {
                Failure::Refused { error } => {
                    refusals += 1;
                    if refusals >= self.rule.action.attempts() {
                        refusals = 0;
                        self.give_up(&first.record, &error);
                        deliveries = deliveries.get(1..).unwrap_or_default();
                        continue;
                    }
                    self.ill(&error);
                    self.backoff.next_delay()
                }
                Failure::Away { error, after } => {
                    self.ill(&error);
                    let asked = after.unwrap_or_default().min(SINK_RETRY_AFTER_MAX);
                    self.backoff.next_delay().max(asked)
                }
            };
            self.pause(pause).await?;
        }
        Flow::Continue(())
    }

    fn give_up(&mut self, record: &Record<'_>, error: &str) {
        self.status.gave_up(record, error);
        let Offset(at) = offset(record);
        tracing::error!("rule {}: record {at} of {} is given up: {error}", self.rule.name, record.vm);
        self.arrived(Offset(at));
        self.backoff.reset();
        self.status.enter(SinkState::Delivering);
    }

    /// The receiver is there.
    fn well(&mut self) {
        self.backoff.reset();
        if self.status.enter(SinkState::Delivering) {
            tracing::info!("rule {}: delivers again", self.rule.name);
        }
    }

    fn ill(&self, error: &str) {
        self.status.failed(error);
        if self.status.enter(SinkState::Retrying) {
            tracing::warn!("rule {}: {error}; it is tried again until it succeeds", self.rule.name);
        } else {
            tracing::debug!("rule {}: {error}", self.rule.name);
        }
    }

    /// Waits. Whoever is told to end does not wait for a receiver.
    async fn pause(&mut self, pause: Duration) -> Flow {
        tokio::select! {
            () = tokio::time::sleep(pause) => Flow::Continue(()),
            _ = self.orders.wait_for(|order| *order != Order::Go) => Flow::Break(()),
        }
    }

    /// The record at `offset` is dealt with.
    fn arrived(&mut self, offset: Offset) {
        // One that was held back is older than what was read since.
        self.position = self.position.max(offset);
        self.status.offset.store(self.position.0, Relaxed);
        let held = self.gate.held();
        let ahead_us = self.clock.offset_us(clock::now());
        self.positions.set(
            &self.rule.name,
            Position {
                offset: self.position.0,
                held_back: held.records,
                held_back_newest: held.newest.0,
                // The next hub knows only the host's clock.
                passed: self.gate.passed().map(|at| at.saturating_add(ahead_us)).collect(),
            },
        );
    }

    /// Everything up to `offset` was read, and nothing of the rest is wanted.
    fn moved_to(&mut self, offset: Offset) {
        self.position = offset;
        self.status.offset.store(offset.0, Relaxed);
        self.positions.pass_over(&self.rule.name, offset.0);
        if self.status.enter(SinkState::Delivering) {
            tracing::info!("rule {}: reads the journal again", self.rule.name);
        }
    }

    fn missed(&self, records: u64, why: &str) {
        if records > 0 {
            self.status.missed.fetch_add(records, Relaxed);
            tracing::error!("rule {}: missed {records} records of the journal: they {why}", self.rule.name);
        }
    }
}

/// Where a record stands in the journal, out of which all of them come.
fn offset(record: &Record<'_>) -> Offset {
    record.offset.unwrap_or_default()
}

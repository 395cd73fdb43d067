//! A sink that keeps records in flight: the rule reads ahead of it.

mod support;

use std::sync::{Arc, Mutex};

use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_sinks::{Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink};
use qmp_testing::poll_until;
use qmp_wire::{Body, Offset, UnixMicros};
use support::start;

/// Records that a rule reads at once.
const BATCH: usize = 1_024;
const RECORDS: u64 = 4 * BATCH as u64 + 10;
const IN_FLIGHT: usize = BATCH / 2;

/// Delivers none of the records in flight before it has more, and asks for a repetition once.
#[derive(Clone, Debug, Default)]
struct InFlight(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    delivered: u64,
    has_repeated: bool,
    most: usize,
    faults: Vec<String>,
}

impl RuleAction for InFlight {
    fn open(&self, _origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn target(&self) -> String {
        "a test".into()
    }
}

impl Sink for InFlight {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        let outcome = self.0.lock().expect("no panic").deliver(deliveries);
        Box::pin(async {
            tokio::task::yield_now().await;
            outcome
        })
    }

    fn in_flight_max(&self) -> usize {
        IN_FLIGHT
    }
}

impl State {
    fn deliver(&mut self, deliveries: &[Delivery]) -> DeliveryOutcome {
        self.most = self.most.max(deliveries.len());
        let offsets: Vec<u64> =
            deliveries.iter().map(|delivery| delivery.record.offset.unwrap_or_default().0).collect();
        let expected = self.delivered + 1..=self.delivered + offsets.len() as u64;
        if !offsets.iter().copied().eq(expected) {
            self.faults.push(format!("after {}: {:?}", self.delivered, offsets.first()));
        }
        let count = if offsets.last() == Some(&RECORDS) {
            offsets.len()
        } else {
            offsets.len().saturating_sub(BATCH)
        };
        self.delivered += count as u64;
        if self.delivered > BATCH as u64 && !self.has_repeated {
            self.has_repeated = true;
            self.delivered = 7;
            return DeliveryOutcome::repeat(count, Offset(7), "a hole");
        }
        DeliveryOutcome::done(count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sink_with_records_in_flight_gets_more_in_order_and_in_bounded_number() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let mut batch = Batch::new();
    for index in 0..RECORDS {
        let body = if index == 0 {
            Body::Attached { snapshot: "{}".into() }
        } else {
            Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None }
        };
        batch.push(&Draft { vm: "web1", received: UnixMicros(1), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.watch_head().wait_for(|head| head.0 == RECORDS).await.expect("commits");
    let sink = InFlight::default();
    let rules = start(Arc::new(sink.clone()), &journal, &path).await;
    let status = poll_until("all records", async || {
        rules.statuses().into_iter().find(|status| status.offset == RECORDS && status.lag_records == 0)
    });
    let status = status.await;
    assert!(status.delivered > RECORDS && status.failures == 0, "{status:?}");
    rules.stop().await;
    let state = std::mem::take(&mut *sink.0.lock().expect("no panic"));
    assert_eq!((state.delivered, state.faults), (RECORDS, Vec::new()));
    assert!(state.has_repeated && state.most <= IN_FLIGHT + 2 * BATCH, "{}", state.most);
    journal.close().expect("closes");
}

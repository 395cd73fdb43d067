//! A sink that takes its rule back, keeps a state over restarts, and has a problem.

mod support;

use std::sync::{Arc, Mutex};

use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_sinks::{
    Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Rules, Sink, SinkEvent,
    SinkEventFuture, SinkStatus,
};
use qmp_testing::poll_until;
use qmp_wire::{Body, Offset, UnixMicros};
use serde_json::{Value, json};
use support::start;
use tokio::sync::Notify;

/// What a test arranges for its sink, and what the sink did.
#[derive(Debug, Default)]
struct Script {
    /// The offsets of the deliveries, in order, and the states that were restored.
    done: Mutex<Vec<String>>,
    /// The next delivery ends after so many records, and asks for the records after this offset.
    in_delivery: Mutex<Option<(usize, u64)>>,
    /// The event of the idle sink.
    idle: Mutex<Option<SinkEvent>>,
    idle_changed: Notify,
    problem: Mutex<Option<String>>,
}

#[derive(Clone, Debug)]
struct Scripted(Arc<Script>);

impl RuleAction for Scripted {
    fn open(&self, _origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn target(&self) -> String {
        "a test".into()
    }
}

impl Sink for Scripted {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        let stop = self.0.in_delivery.lock().expect("no panic").take();
        let count = stop.map_or(deliveries.len(), |(count, _)| count);
        for delivery in &deliveries[..count] {
            self.did(delivery.record.offset.expect("an offset").0.to_string());
        }
        let outcome = match stop {
            Some((count, after)) => DeliveryOutcome::repeat(count, Offset(after), "a hole"),
            None => DeliveryOutcome::done(count),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn wait(&mut self) -> SinkEventFuture<'_> {
        Box::pin(async {
            loop {
                let changed = self.0.idle_changed.notified();
                if let Some(event) = self.0.idle.lock().expect("no panic").take() {
                    return event;
                }
                changed.await;
            }
        })
    }

    fn problem(&self) -> Option<String> {
        self.0.problem.lock().expect("no panic").clone()
    }

    fn state(&self) -> Option<Value> {
        Some(json!({ "done": self.0.done.lock().expect("no panic").len() }))
    }

    fn restore(&mut self, state: &Value) {
        self.did(format!("restored {}", state["done"]));
    }
}

impl Scripted {
    fn did(&self, what: String) {
        self.0.done.lock().expect("no panic").push(what);
    }

    fn done(&self) -> String {
        self.0.done.lock().expect("no panic").join(" ")
    }

    async fn wait_for(&self, expected: &str) {
        let look = async || (self.done() == expected).then_some(());
        poll_until(expected, look).await;
    }

    fn notify(&self, event: SinkEvent) {
        *self.0.idle.lock().expect("no panic") = Some(event);
        self.0.idle_changed.notify_waiters();
    }
}

/// Appends records of one epoch, which `begins` with the first of them.
fn append(journal: &Journal, count: usize, begins: bool) {
    let mut batch = Batch::new();
    for index in 0..count {
        let body = if begins && index == 0 {
            Body::Attached { snapshot: "{}".into() }
        } else {
            Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None }
        };
        batch.push(&Draft { vm: "web1", received: UnixMicros(1), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
}

async fn status(rules: &Rules, is_reached: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    poll_until("the status", async || rules.statuses().into_iter().find(&is_reached)).await
}

#[tokio::test]
async fn rule_goes_back_from_a_delivery_and_while_it_is_idle() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, 4, true);
    let sink = Scripted(Arc::default());
    *sink.0.in_delivery.lock().expect("no panic") = Some((3, 1));
    let rules = start(Arc::new(sink.clone()), &journal, &path).await;
    let first = poll_until("records", async || {
        let done = sink.done();
        done.ends_with('4').then_some(done)
    });
    assert_eq!(first.await, "1 2 3 2 3 4");

    sink.notify(SinkEvent::Repeat { after: Offset(2), reason: "a hole".into() });
    sink.wait_for("1 2 3 2 3 4 3 4").await;
    append(&journal, 1, false);
    sink.wait_for("1 2 3 2 3 4 3 4 5").await;
    let status = status(&rules, |status| status.offset == 5).await;
    assert_eq!((status.delivered, status.failures, status.lag_records), (9, 0, 0));
    rules.stop().await;
    journal.close().expect("closes");
}

#[tokio::test]
async fn state_of_sink_outlives_the_hub_with_its_position() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let sink = Scripted(Arc::default());
    // The second hub closes the epoch of the first one: the record 3.
    for (records, expected) in [(2, "1 2"), (0, "1 2 restored 2 3")] {
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        append(&journal, records, true);
        let rules = start(Arc::new(sink.clone()), &journal, &path).await;
        sink.wait_for(expected).await;
        rules.stop().await;
        journal.close().expect("closes");
    }
}

#[tokio::test]
async fn problem_of_an_idle_sink_is_in_the_status() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, 1, true);
    let sink = Scripted(Arc::default());
    let rules = start(Arc::new(sink.clone()), &journal, &path).await;
    sink.wait_for("1").await;
    for problem in [Some("one replica"), None] {
        *sink.0.problem.lock().expect("no panic") = problem.map(str::to_owned);
        sink.notify(SinkEvent::Problem);
        status(&rules, |status| status.problem.as_deref() == problem).await;
    }
    rules.stop().await;
    journal.close().expect("closes");
}

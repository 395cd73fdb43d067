//! A program that has its messages, and does nothing but publish them by the `JetStream` context of `async-nats`.

use std::time::{Duration, Instant};

use async_nats::jetstream::context::ContextBuilder;
use async_nats::{HeaderMap, HeaderName};
use qmp_fleet::{Message, PUBLISH_WINDOW, RECORD_SUBJECTS};
use qmp_testing::NatsServer;
use tokio::sync::mpsc;

use crate::host::{HOST, delete_stream};
use crate::records;

/// The time in which the bare client publishes so many messages, each with its acknowledgement.
pub(crate) async fn publish(server: &NatsServer, count: u64) -> Duration {
    let client = async_nats::connect(server.url()).await.expect("connects");
    let context =
        ContextBuilder::new().max_ack_inflight(PUBLISH_WINDOW).backpressure_on_inflight(true).build(client);
    let config = async_nats::jetstream::stream::Config {
        name: "bare".into(),
        subjects: vec![RECORD_SUBJECTS.into()],
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    context.create_stream(config).await.expect("creates");
    let messages: Vec<_> = (1..=count).map(|offset| encoded(records::message(HOST, offset))).collect();
    let begun = Instant::now();
    // The window stays full: a task of its own waits for the acknowledgements.
    let (sent, mut unacknowledged) =
        mpsc::channel::<async_nats::jetstream::context::PublishAckFuture>(PUBLISH_WINDOW);
    let acknowledged = tokio::spawn(async move {
        while let Some(acknowledgement) = unacknowledged.recv().await {
            acknowledgement.await.expect("an acknowledgement");
        }
    });
    // The connection ends with the last handle.
    let handle = context.clone();
    let publisher = tokio::spawn(async move {
        for (subject, headers, payload) in messages {
            let publish = context.publish_with_headers(subject, headers, payload.into());
            sent.send(publish.await.expect("publishes")).await.expect("the task runs");
        }
    });
    publisher.await.expect("publishes");
    acknowledged.await.expect("acknowledges");
    let time = begun.elapsed();
    drop(handle);
    delete_stream(server, "bare").await;
    time
}

fn encoded(message: Message) -> (String, HeaderMap, Vec<u8>) {
    let Message { subject, headers, payload } = message;
    let headers = headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.into()));
    (subject, headers.collect(), payload)
}

//! The sink `nats` compared with bare `async-nats` in one run: acknowledged records a second.
//!
//! `cargo bench -p qmp-daemon --bench nats [-- RECORDS]`: RECORDS in each round, 200,000 by default, in three rounds in
//! turn for each release of nats-server on this machine; prints medians. The bare client sends the same messages with
//! the same window to a stream of the same kind. The sink reads a journal, writes the messages, and takes the
//! acknowledgements; the ratio within one run is the result, and the target is 0.9.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::ContextBuilder;
use async_nats::{HeaderMap, HeaderName};
use qmp_daemon::ConfigFile;
use qmp_fleet::{CloudEventAttributes, Link, Message, PUBLISH_WINDOW};
use qmp_journal::{Batch, Draft, Journal, JournalOptions, Overrun};
use qmp_sinks::Rules;
use qmp_testing::NatsServer;
use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};

const ROUNDS: usize = 3;
const MIDNIGHT: i64 = 1_767_312_000_000_000;
const DATA: &str = r#"{"device": "virtio0", "node-name": "b", "operation": "write", "action": "report", "reason": "Input/output error"}"#;

fn main() {
    let records =
        std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(200_000_u64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for program in NatsServer::programs() {
        let (mut sink, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let home = tempfile::tempdir().expect("a directory");
            let server = NatsServer::start(program, &home.path().join("nats"), "");
            let journal = home.path().join("journal.db");
            fill(&journal, records);
            sink.push(runtime.block_on(publish_by_rule(&journal, &server, records)));
            bare.push(runtime.block_on(publish_bare(&server, records)));
        }
        let rate = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            records as f64 / times[times.len() / 2].as_secs_f64()
        };
        let (sink, bare) = (rate(&mut sink), rate(&mut bare));
        println!("{}: sink {sink:.0}/s, bare {bare:.0}/s, ratio {:.2}", program.display(), sink / bare);
    }
}

fn body() -> Body<'static> {
    Body::Event { name: "BLOCK_IO_ERROR".into(), sent_name: None, timestamp: None, data: Some(DATA.into()) }
}

fn received(index: u64) -> UnixMicros {
    UnixMicros(MIDNIGHT + index.cast_signed())
}

fn fill(path: &Path, records: u64) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let (appender, mut batch) = (journal.appender(), Batch::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    batch.push(&Draft { vm: "busy", received: received(0), body: Body::Attached { snapshot: "{}".into() } });
    for index in 0..records {
        batch.push(&Draft { vm: "busy", received: received(index), body: body() });
        if batch.len() >= 10_000 {
            while let Err(Overrun) = appender.append(&mut batch) {
                runtime.block_on(appender.room()).expect("the journal is open");
            }
        }
    }
    while let Err(Overrun) = appender.append(&mut batch) {
        runtime.block_on(appender.room()).expect("the journal is open");
    }
    journal.close().expect("closes");
}

/// The time in which a rule delivers the events of the journal.
async fn publish_by_rule(path: &Path, server: &NatsServer, records: u64) -> Duration {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let text = format!(
        "[[rule]]\nname = 'fleet'\nevent = 'BLOCK_IO_ERROR'\nfrom = 'start'\nstream = 'sink'\nnats = '{}'",
        server.url()
    );
    let rules = ConfigFile::parse(&text, Path::new("hub.toml")).expect("a rule").rules().to_vec();
    let begun = Instant::now();
    let rules = Rules::start(rules, None, &journal, path).await.expect("starts");
    while rules.statuses()[0].delivered < records {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let time = begun.elapsed();
    assert_eq!(rules.statuses()[0].failures, 0, "{:?}", rules.statuses());
    rules.stop().await;
    journal.close().expect("closes");
    delete(server, "sink").await;
    time
}

/// The time in which the bare client publishes the same messages.
async fn publish_bare(server: &NatsServer, records: u64) -> Duration {
    let client = async_nats::connect(server.url()).await.expect("connects");
    let context =
        ContextBuilder::new().max_ack_inflight(PUBLISH_WINDOW).backpressure_on_inflight(true).build(client);
    let config = async_nats::jetstream::stream::Config {
        name: "bare".into(),
        subjects: vec![qmp_fleet::RECORD_SUBJECTS.into()],
        ..Default::default()
    };
    context.create_stream(config).await.expect("creates");
    let messages: Vec<(String, HeaderMap, Vec<u8>)> = (1..=records).map(message).collect();
    let begun = Instant::now();
    let mut acknowledgements = Vec::with_capacity(messages.len());
    for (subject, headers, payload) in messages {
        let sent = context.publish_with_headers(subject, headers, payload.into()).await.expect("publishes");
        acknowledgements.push(sent);
        if acknowledgements.len() == PUBLISH_WINDOW {
            for acknowledgement in acknowledgements.drain(..PUBLISH_WINDOW / 2) {
                acknowledgement.await.expect("an acknowledgement");
            }
        }
    }
    for acknowledgement in acknowledgements {
        acknowledgement.await.expect("an acknowledgement");
    }
    let time = begun.elapsed();
    delete(server, "bare").await;
    time
}

fn message(offset: u64) -> (String, HeaderMap, Vec<u8>) {
    let link = Link { previous: Offset(offset - 1), offset: Offset(offset) };
    let record = Record {
        offset: Some(Offset(offset)),
        vm: "busy".into(),
        epoch: Epoch(1),
        seq: Seq(offset),
        received: received(offset),
        body: body(),
    };
    let attributes = CloudEventAttributes {
        id: format!("{}:busy:1:{offset}:{}", "0".repeat(32), record.received.0),
        source: "/host/node1/vm/busy".into(),
        ty: "org.qemu.qmp.BLOCK_IO_ERROR".into(),
    };
    let Message { subject, headers, payload } =
        Message::new(&record, "node1", &"0".repeat(32), link, &attributes);
    let headers = headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.into()));
    (subject, headers.collect(), payload)
}

async fn delete(server: &NatsServer, stream: &str) {
    let client = async_nats::connect(server.url()).await.expect("connects");
    async_nats::jetstream::new(client).delete_stream(stream).await.expect("deletes");
}

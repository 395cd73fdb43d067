//! The records: the events of one VM.

use std::path::Path;

use qmp_fleet::{CloudEventAttributes, Link, Message};
use qmp_journal::{Appender, Batch, Draft, Journal, JournalOptions, Overrun};
use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};

const MIDNIGHT: i64 = 1_767_312_000_000_000;
const DATA: &str = r#"{"device": "virtio0", "node-name": "b", "operation": "write", "action": "report", "reason": "Input/output error"}"#;

pub(crate) fn body() -> Body<'static> {
    Body::Event { name: "BLOCK_IO_ERROR".into(), sent_name: None, timestamp: None, data: Some(DATA.into()) }
}

pub(crate) fn received(index: u64) -> UnixMicros {
    UnixMicros(MIDNIGHT + index.cast_signed())
}

/// Opens a journal with the beginning of an epoch and so many events.
pub(crate) async fn journal(path: &Path, events: u64) -> Journal {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let (appender, mut batch) = (journal.appender(), Batch::new());
    let attached = Body::Attached { snapshot: "{}".into() };
    batch.push(&Draft { vm: "busy", received: received(0), body: attached });
    for index in 1..=events {
        batch.push(&Draft { vm: "busy", received: received(index), body: body() });
        if batch.len() >= 10_000 || index == events {
            append(&appender, &mut batch).await;
        }
    }
    append(&appender, &mut batch).await;
    let mut head = journal.watch_head();
    head.wait_for(|head| head.0 > events).await.expect("commits");
    journal
}

pub(crate) async fn append(appender: &Appender, batch: &mut Batch) {
    while let Err(Overrun) = appender.append(batch) {
        appender.room().await.expect("the journal is open");
    }
}

/// The message of the event `offset` as a rule writes it.
pub(crate) fn message(host: &str, offset: u64) -> Message {
    let journal = "0".repeat(32);
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
        id: format!("{journal}:busy:1:{offset}:{}", record.received.0),
        source: format!("/host/{host}/vm/busy"),
        ty: "org.qemu.qmp.BLOCK_IO_ERROR".into(),
    };
    Message::new(&record, host, &journal, link, &attributes)
}

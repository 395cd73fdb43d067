//! Live records from monitors' sockets, from a hub, or from a stream of `JetStream`, in one channel.
//!
//! Records directly from a socket have no offset, and their epochs are counted from 1 when the program starts. Otherwise they
//! are as in a journal: an epoch opens with the state of the VM, and its end has a reason.

use qmp_client::{Address, ConnectError, FollowConfig, FollowEvent};
use qmp_fleet::{FleetError, FollowItem, StreamFollow};
use qmp_host::clock;
use qmp_wire::{Body, Epoch, RawEvent, Record, Seq};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::exit::Failure;
use crate::hub::{HubError, HubFollow, HubItem};

/// How many records may wait to be printed.
const WAITING_MAX: usize = 4096;

/// An item of the stream.
#[derive(Debug)]
pub enum LiveItem {
    /// A record, as a journal would have it.
    Record(Record<'static>),
    /// The monitor could not be attached.
    Failed {
        /// The VM's name.
        vm: String,
        /// The error.
        error: ConnectError,
        /// Whether there is no further attempt.
        is_last: bool,
    },
    /// The connection to the hub was lost; the stream reconnects.
    HubLost(HubError),
    /// The hub is back, and the stream continues without a gap.
    HubBack,
    /// So many records were removed from the journal.
    HubRemoved(u64),
    /// The hub refuses, or the peer is not a hub; the hub's part of the stream ends.
    HubFailed(HubError),
    /// The stream cannot be read; it is retried.
    StreamLost(FleetError),
    /// The stream is read again after its last message.
    StreamBack,
    /// A line about the stream.
    StreamNote(String),
}

/// Follows monitors, each with the name for its records, and a hub. The stream ends when no part of it can be retried.
pub fn follow(monitors: Vec<(String, Address)>, hub: Option<HubFollow>) -> mpsc::Receiver<LiveItem> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    for (vm, address) in monitors {
        tokio::spawn(follow_one(vm, address, sender.clone()));
    }
    if let Some(hub) = hub {
        tokio::spawn(follow_hub(hub, sender));
    }
    receiver
}

/// Follows a stream until the receiver is dropped; the task ends after the server has removed the consumer.
pub fn follow_stream(mut stream: StreamFollow) -> (mpsc::Receiver<LiveItem>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let following = tokio::spawn(async move {
        loop {
            let item = tokio::select! {
                item = stream.next() => stream_item(item),
                () = sender.closed() => break,
            };
            if sender.send(item).await.is_err() {
                break;
            }
        }
        stream.close().await;
    });
    (receiver, following)
}

/// The line about a server that ignores a filter.
pub fn unfiltered(requested: &str, server_version: &str) -> String {
    format!(
        "the server (nats-server {server_version}) has not applied the filter {requested}; further records are read, and filtered \
         here"
    )
}

fn stream_item(item: FollowItem) -> LiveItem {
    match item {
        FollowItem::Record(received) => LiveItem::Record(received.record),
        FollowItem::Lost(error) => LiveItem::StreamLost(error),
        FollowItem::Back { is_other: false } => LiveItem::StreamBack,
        FollowItem::Back { is_other: true } => LiveItem::StreamNote(
            "the stream was deleted and created again: records that it lost are shown when their hosts publish them again"
                .to_owned(),
        ),
        FollowItem::Unfiltered { requested, server_version } => {
            LiveItem::StreamNote(unfiltered(&requested, &server_version))
        }
        FollowItem::Invalid(error) => LiveItem::StreamNote(format!("a message of the stream is no record: {error}")),
    }
}

async fn follow_hub(mut hub: HubFollow, sender: mpsc::Sender<LiveItem>) {
    loop {
        let (item, is_over) = match hub.next().await {
            Ok(HubItem::Record(record)) => (LiveItem::Record(record), false),
            Ok(HubItem::Lost(error)) => (LiveItem::HubLost(error), false),
            Ok(HubItem::Back) => (LiveItem::HubBack, false),
            Ok(HubItem::Removed(records)) => (LiveItem::HubRemoved(records), false),
            Err(error) => (LiveItem::HubFailed(error), true),
        };
        if sender.send(item).await.is_err() || is_over {
            return;
        }
    }
}

async fn follow_one(vm: String, address: Address, sender: mpsc::Sender<LiveItem>) {
    let mut follow = qmp_client::follow(address, FollowConfig::default());
    let mut numbering = RecordNumbering { vm, epoch: Epoch(0), seq: Seq(0) };
    loop {
        let mut found = Vec::new();
        let mut is_over = false;
        match follow.next().await {
            FollowEvent::Attached { snapshot, .. } => {
                numbering.epoch = Epoch(numbering.epoch.0 + 1);
                numbering.seq = Seq(0);
                found.push(numbering.record(Body::Attached { snapshot: snapshot.to_owned().into() }));
            }
            FollowEvent::Events(mut events) => {
                while let Some(event) = events.next() {
                    found.push(numbering.record(event_body(event)));
                }
            }
            FollowEvent::Reply(reply) => reply.release(),
            FollowEvent::Detached { reason, .. } => {
                let (detail, certain_until) = (Some(reason.to_string().into()), Some(clock::now()));
                let reason = reason.detach_reason();
                found.push(numbering.record(Body::Detached { reason, detail, certain_until }));
            }
            FollowEvent::Failed { error, retry_in, .. } => {
                is_over = retry_in.is_none();
                found.push(LiveItem::Failed {
                    vm: numbering.vm.clone(),
                    error: error.clone(),
                    is_last: is_over,
                });
            }
            // This follower sends no probes.
            _ => {}
        }
        for item in found {
            if sender.send(item).await.is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
    }
}

fn event_body(event: RawEvent<'_>) -> Body<'static> {
    Body::Event {
        name: event.name.into_owned().into(),
        sent_name: event.sent_name.map(|name| name.to_owned().into()),
        timestamp: event.timestamp,
        data: event.data.map(|data| data.to_owned().into()),
    }
}

/// Numbers the records of a VM.
struct RecordNumbering {
    vm: String,
    epoch: Epoch,
    seq: Seq,
}

impl RecordNumbering {
    fn record(&mut self, body: Body<'static>) -> LiveItem {
        let seq = self.seq;
        self.seq = Seq(seq.0 + 1);
        let vm = self.vm.clone().into();
        LiveItem::Record(Record { offset: None, vm, epoch: self.epoch, seq, received: clock::now(), body })
    }
}

/// The failure of a command that could not reach a monitor: the VM is gone, or the socket belongs to another program.
pub fn connect_failure(error: &ConnectError) -> Failure {
    match error {
        ConnectError::NoSuchSocket { .. }
        | ConnectError::Refused { .. }
        | ConnectError::DialTimeout { .. }
        | ConnectError::Unreachable { .. }
        | ConnectError::Ended { .. } => Failure::gone(error),
        _ => Failure::failed(error),
    }
}

//! The hub's side of the display: one stream of records, and the states that the records change.

use std::collections::BTreeSet;

use qmp_host::clock;
use qmp_wire::{Offset, UnixMicros};
use tokio::sync::mpsc;

use super::super::status::Vm;
use super::history::BUCKETS;
use super::timeline::Timeline;
use super::update::{Message, Request};
use crate::hub::{HubClient, HubError, HubFollow, HubItem, Query};
use crate::time::write;

/// So many states are requested one by one; for more, the list of all VMs is one request.
const STATES_ONE_BY_ONE_MAX: usize = 8;

/// Lanes of the past in one response.
const LANES_AT_ONCE: usize = 500;

/// A message for the display.
#[derive(Debug, Default)]
pub(super) struct FeedRequest {
    /// The states of these VMs.
    pub(super) vms: BTreeSet<Box<str>>,
    /// The states of all VMs.
    pub(super) all: bool,
    /// The past, in microseconds.
    pub(super) past: Option<i64>,
}

impl FeedRequest {
    /// Adds what the display asks the hub for; `span` is that of its histories, in microseconds.
    pub(super) fn add(&mut self, request: Request, span: i64) {
        match request {
            Request::State(vm) => drop(self.vms.insert(vm)),
            Request::States => (self.all, self.past) = (true, Some(span)),
            Request::Past => self.past = Some(span),
            Request::Quit | Request::Link(_) | Request::Suspend | Request::Copy(_) => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vms.is_empty() && !self.all && self.past.is_none()
    }
}

/// Sends the records after `position`, for ever; ends when the display does, or on an error that waiting does not resolve.
pub(super) async fn records(
    client: HubClient,
    position: Offset,
    messages: mpsc::Sender<Message>,
) -> HubError {
    let mut follow = HubFollow::new(client, Query::default(), position);
    loop {
        let message = match follow.next().await {
            Ok(HubItem::Record(record)) => Message::Record(record),
            Ok(HubItem::Removed(records)) => Message::Removed(records),
            Ok(HubItem::Lost(error)) => Message::Away(error.to_string()),
            Ok(HubItem::Back) => Message::Back,
            Err(error) => return error,
        };
        if messages.send(message).await.is_err() {
            return HubError::Lost { what: "the display ended".into() };
        }
    }
}

/// Answers what the display wants to know. A hub that is away answers nothing: the stream of records says so.
pub(super) async fn states(
    client: HubClient,
    mut wanted: mpsc::Receiver<FeedRequest>,
    messages: mpsc::Sender<Message>,
) {
    while let Some(wanted) = wanted.recv().await {
        for message in answers(&client, wanted).await.unwrap_or_default() {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Several for each bucket of a history: the hub rounds their length up, and they begin at other times.
const REQUESTED_BUCKETS: usize = 4 * BUCKETS;

async fn answers(client: &HubClient, wanted: FeedRequest) -> Result<Vec<Message>, HubError> {
    let mut messages = Vec::new();
    let mut is_all = wanted.all || wanted.vms.len() > STATES_ONE_BY_ONE_MAX;
    for name in &wanted.vms {
        if is_all {
            break;
        }
        match client.vm_as::<Vm>(name).await {
            Ok(vm) => messages.push(Message::Vm(Box::new(vm))),
            // It left the hub: the list says so.
            Err(error) if error.is_unknown_vm() => is_all = true,
            Err(error) => return Err(error),
        }
    }
    if is_all {
        messages = vec![Message::Vms(client.vms_as::<Vm>().await?)];
    }
    if let Some(span) = wanted.past {
        // A hub of an earlier release has no timeline: the histories begin now.
        messages.extend(past(client, span).await.unwrap_or_default().into_iter().map(Message::Timeline));
    }
    Ok(messages)
}

/// Requests the past of all VMs, part by part.
async fn past(client: &HubClient, span: i64) -> Result<Vec<Timeline>, HubError> {
    let until = clock::now();
    let mut query = Query::default();
    query.add("since", write::rfc3339(UnixMicros(until.0.saturating_sub(span))));
    query.add("until", write::rfc3339(until));
    query.add("buckets", REQUESTED_BUCKETS);
    query.add("lanes", LANES_AT_ONCE);
    query.add("marks", 0);
    let mut parts: Vec<Timeline> = Vec::new();
    loop {
        let next = parts.last().and_then(|part| part.next.clone());
        if parts.is_empty() || next.is_some() {
            let query = next.map_or_else(|| query.clone(), |name| query.with("from", name));
            let mut part: Timeline = client.timeline(&query).await?;
            part.requested = Some(span);
            parts.push(part);
        } else {
            return Ok(parts);
        }
    }
}

//! A client at a scripted monitor, and its items as lines.

#![allow(dead_code, reason = "each test file uses its part")]

use qmp_client::{EventItem, Events, FollowEvent, MonitorClient, connect};
use qmp_testing::{MonitorSocket, Peer};

pub(crate) const STOP: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#;

pub(crate) const RESUME: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 3}, "event": "RESUME"}"#;

/// A monitor in command mode, its events, and the server's side.
pub(crate) async fn attached() -> (MonitorClient, Events, Peer) {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer
    };
    let (connected, peer) = tokio::join!(connect(&address), server);
    let (monitor, events) = connected.unwrap();
    (monitor, events, peer)
}

/// The next item of the stream as one line.
pub(crate) async fn next_line(events: &mut Events) -> String {
    match events.next().await {
        None => "nothing".to_owned(),
        Some(item) => line_of_item(item),
    }
}

pub(crate) fn line_of_item(item: EventItem) -> String {
    match item {
        EventItem::Event(event) => match event.data {
            Some(data) => format!("{} {data}", event.name),
            None => event.name.into(),
        },
        EventItem::Lagged { missed } => format!("lagged {missed}"),
        EventItem::Ended(reason) => format!("ended: {reason}"),
        _ => unreachable!("no other item exists"),
    }
}

/// The next step of a follower as one line.
pub(crate) async fn line_of_next(follow: &mut qmp_client::Follow) -> String {
    line_of_step(follow.next().await)
}

/// One step of a follower as one line.
pub(crate) fn line_of_step(followed: FollowEvent<'_>) -> String {
    match followed {
        FollowEvent::Attached { snapshot, .. } => format!("attached {snapshot}"),
        FollowEvent::Events(mut batch) => {
            let mut names = Vec::new();
            while let Some(event) = batch.next() {
                names.push(event.name.into_owned());
            }
            format!("events {}", names.join(" "))
        }
        FollowEvent::Reply(reply) => {
            reply.release();
            "reply".to_owned()
        }
        FollowEvent::ProbeAnswered { run_state } => {
            format!("answered {}", run_state.as_deref().unwrap_or("error"))
        }
        FollowEvent::Detached { reason, .. } => format!("detached {:?}: {reason}", reason.detach_reason()),
        FollowEvent::Failed { error, attempt, retry_in } => {
            format!("failed {attempt} ({}): {error}", if retry_in.is_some() { "again" } else { "for good" })
        }
        _ => unreachable!("no other step exists"),
    }
}

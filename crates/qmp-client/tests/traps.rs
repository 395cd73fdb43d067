//! Traps of an obvious program: each test failed, hung or did not compile before its remedy.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::num::NonZeroU32;
use std::time::Duration;

use fake::{STOP, attached, line_of_item};
use futures_util::StreamExt;
use qmp_client::{
    Address, CloseReason, ConnectConfig, EventItem, ExecuteError, FollowConfig, FollowItem, connect_stream,
    follow, follow_stream,
};
use qmp_testing::{MonitorSocket, Peer};
use serde_json::{Value, json};

#[tokio::test]
async fn execute_between_items_of_follow_stream_returns() {
    let fake = MonitorSocket::listen();
    let (commander, mut items) = follow_stream(fake.address(), FollowConfig::default());
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.reply_with_state().await;
        let stop = peer.hear().await;
        peer.say(STOP).await;
        peer.returns(&stop, "{}").await;
        peer
    };
    let client = async {
        let Some(FollowItem::Attached { snapshot, .. }) = items.next().await else { panic!("attached") };
        assert!(snapshot.contains(r#""running": true"#), "{snapshot}");
        commander.execute("stop", ()).await.unwrap();
        // The event precedes the reply, so it is in the stream by now.
        let Some(FollowItem::Event(event)) = items.try_next() else { panic!("the event") };
        assert_eq!(&*event.name, "STOP");
    };
    let (peer, ()) = tokio::join!(server, client);
    drop(peer);
    let Some(FollowItem::Detached { reason, .. }) = items.next().await else { panic!("detached") };
    assert!(matches!(reason, CloseReason::PeerClosed), "{reason:?}");
    drop(items);
    while !matches!(commander.execute("stop", ()).await, Err(ExecuteError::Closed { .. })) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn follower_with_attempts_max_ends() {
    let address: Address = "unix:/nonexistent/vm.sock".parse().unwrap();
    let mut config = FollowConfig::default();
    config.retry.attempts_max = NonZeroU32::new(3);
    config.retry.first = Duration::from_secs(7);
    config.retry.max = Some(Duration::from_secs(8));
    let (_commander, items) = follow_stream(address, config);
    let items: Vec<FollowItem> = items.collect().await;
    let delays: Vec<Option<Duration>> = items
        .iter()
        .map(|item| match item {
            FollowItem::Failed { retry_in, .. } => *retry_in,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(delays.len(), 3);
    assert!(delays[1].unwrap() >= Duration::from_secs(6) && delays[1].unwrap() <= Duration::from_secs(8));
    assert_eq!(delays[2], None);
}

/// A server that attaches and closes at once, again and again, is one that does not serve.
#[tokio::test]
async fn follower_with_attempts_max_ends_at_short_epochs() {
    let fake = MonitorSocket::listen();
    let mut config = FollowConfig::default();
    config.retry.attempts_max = NonZeroU32::new(2);
    let (_commander, items) = follow_stream(fake.address(), config);
    let server = async {
        for _ in 0..2 {
            let mut peer = fake.accept().await;
            peer.negotiate().await;
            peer.reply_with_state().await;
        }
    };
    let (items, ()) = tokio::join!(items.collect::<Vec<FollowItem>>(), server);
    let [
        FollowItem::Attached { .. },
        FollowItem::Detached { retry_in: Some(_), .. },
        FollowItem::Attached { .. },
        FollowItem::Detached { retry_in: None, .. },
    ] = &*items
    else {
        panic!("{items:?}");
    };
}

#[tokio::test]
async fn connect_stream_speaks_over_a_pair_in_memory() {
    let (ours, theirs) = tokio::io::duplex(256);
    let address: Address = "unix:/in/memory".parse().unwrap();
    let server = async {
        let mut peer = Peer::new(theirs);
        peer.negotiate().await;
        peer.say(STOP).await;
        peer.answer("query-name", r#"{"name": "vm1"}"#).await;
        peer
    };
    let client = async {
        let config = ConnectConfig::default();
        let (monitor, mut events) =
            connect_stream(tokio::io::BufWriter::new(ours), &address, &config).await.unwrap();
        let name: Value = monitor.execute_as("query-name", ()).await.unwrap();
        assert_eq!(name, json!({"name": "vm1"}));
        assert_eq!(line_of_item(events.try_next().unwrap()), "STOP");
        let passed = std::fs::File::open("/dev/null").unwrap().into();
        let error =
            monitor.commander().execute_with_descriptors("add-fd", None, vec![passed]).await.unwrap_err();
        assert!(matches!(error, ExecuteError::NoDescriptorPassing), "{error:?}");
    };
    let (_peer, ()) = tokio::join!(server, client);
}

#[tokio::test]
async fn events_work_with_stream_combinators_and_typed_events() {
    let (_monitor, events, mut peer) = attached().await;
    peer.say(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#).await;
    peer.say(r#"{"event": "OF_TOMORROW", "data": {"x": 1}}"#).await;
    drop(peer);
    let typed: Vec<qmp_events::Event> = events
        .filter_map(async |item| match item {
            EventItem::Event(event) => Some(qmp_events::Event::try_from(&event).unwrap()),
            _ => None,
        })
        .collect()
        .await;
    let [qmp_events::Event::Shutdown(shutdown), qmp_events::Event::Unknown { name, .. }] = &*typed else {
        panic!("{typed:?}");
    };
    assert_eq!(shutdown.guest, Some(true));
    assert_eq!(&**name, "OF_TOMORROW");
}

/// The other follower: its owner drives it, so a command in the arm of `Attached` cannot get its reply.
#[tokio::test]
async fn execute_without_driving_follow_times_out() {
    let fake = MonitorSocket::listen();
    let mut follow = follow(fake.address(), FollowConfig::default());
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.reply_with_state().await;
        peer
    };
    let (step, _peer) = tokio::join!(fake::line_of_next(&mut follow), server);
    assert!(step.starts_with("attached"), "{step}");
    let hurried = follow.commander().with_timeout(Duration::from_millis(20));
    assert!(matches!(hurried.execute("stop", ()).await, Err(ExecuteError::TimedOut { .. })));
}

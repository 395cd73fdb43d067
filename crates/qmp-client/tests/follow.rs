//! Following a VM against a scripted server: epochs, order, loss.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fake::{RESUME, STOP, line_of_step};
use qmp_client::{
    Address, Budget, Commander, ExecuteError, Follow, FollowConfig, FollowEvent, FollowItem,
    ForwardedCommand, ReplySink, follow, follow_stream,
};
use qmp_testing::{GREETING, MonitorSocket, Peer, command_name};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

fn followed(fake: &MonitorSocket) -> Follow {
    follow(fake.address(), FollowConfig::default())
}

async fn step(follow: &mut Follow) -> String {
    line_of_step(follow.next().await)
}

/// Attached to a VM without anything to line_of_item.
async fn attached(fake: &MonitorSocket, follow: &mut Follow) -> Peer {
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.reply_with_state().await;
        peer
    };
    let (line, peer) = tokio::join!(step(follow), server);
    assert!(line.starts_with("attached {"), "{line}");
    peer
}

#[tokio::test]
async fn snapshot_contains_replies_byte_for_byte() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.answer("query-status", r#"{ "status":"running", "x": 18446744073709551615}"#).await;
        peer.answer("query-name", r#"{"name": "\u00e9"}"#).await;
        let uuid = peer.hear().await;
        let version = peer.hear().await;
        peer.refuses(&uuid, "GenericError", "no uuid").await;
        peer.returns(&version, "{}").await;
        let jobs = peer.hear().await;
        peer.refuses(&jobs, "CommandNotFound", "The command query-jobs has not been found").await;
        let migrate = peer.hear().await;
        peer.refuses(&migrate, "CommandNotFound", "The command query-migrate has not been found").await;
        peer.answer("query-block-jobs", r#"[{"device": "d0"}]"#).await;
        peer
    };
    let (line, _peer) = tokio::join!(step(&mut follow), server);
    let greeting = GREETING.strip_prefix(r#"{"QMP": "#).and_then(|rest| rest.strip_suffix('}')).unwrap();
    let expected = format!(
        r#"attached {{"address":"{}","greeting":{greeting},"query-status":{{ "status":"running", "x": 18446744073709551615}},"query-name":{{"name": "\u00e9"}},"query-version":{{}},"query-block-jobs":[{{"device": "d0"}}],"errors":{{"query-uuid":{{"class":"GenericError","desc":"no uuid"}}}}}}"#,
        fake.address()
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn events_during_snapshot_follow_it_in_order() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let server = async {
        let mut peer = fake.accept().await;
        peer.say(r#"{"event": "BEFORE_GREETING"}"#).await;
        peer.say(GREETING).await;
        let capabilities = peer.hear().await;
        peer.say(r#"{"event": "BEFORE_AGREEMENT"}"#).await;
        peer.returns(&capabilities, "{}").await;
        peer.say(r#"{"event": "BEFORE_STATE"}"#).await;
        peer.reply_with_state().await;
        peer.say(r#"{"event": "AFTER_STATE"}"#).await;
        peer
    };
    let (line, _peer) = tokio::join!(step(&mut follow), server);
    assert!(line.starts_with("attached"), "{line}");
    let mut names = Vec::new();
    while names.len() < 4 {
        let line = step(&mut follow).await;
        names.extend(line.strip_prefix("events ").expect("events").split(' ').map(str::to_owned));
    }
    assert_eq!(names, ["BEFORE_GREETING", "BEFORE_AGREEMENT", "BEFORE_STATE", "AFTER_STATE"]);
}

#[tokio::test(start_paused = true)]
async fn snapshot_without_replies_ends_after_timeout() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        let mut heard = Vec::new();
        for _ in 0..6 {
            heard.push(peer.hear().await);
        }
        peer.returns(&heard[0], r#"{"status": "running"}"#).await;
        (peer, heard)
    };
    let (line, (mut peer, heard)) = tokio::join!(step(&mut follow), server);
    assert!(line.contains(r#""query-status":{"status": "running"}"#), "{line}");
    let late =
        r#""query-migrate":{"class":"TimedOut","desc":"no reply by the time the snapshot was closed"}"#;
    assert!(line.contains(late), "{line}");
    // A reply after the timeout is discarded.
    peer.returns(&heard[1], "{}").await;
    peer.say(STOP).await;
    assert_eq!(step(&mut follow).await, "events STOP");
}

#[tokio::test]
async fn flood_during_snapshot_opens_epoch_and_loses_nothing() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let long = format!(r#"{{"event": "LONG", "data": "{}"}}"#, "x".repeat(1 << 20));
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.hear().await;
        for _ in 0..6 {
            peer.say(&long).await;
        }
        peer
    };
    let client = async {
        let line = step(&mut follow).await;
        assert!(line.starts_with("attached") && line.contains("TimedOut"), "{line}");
        let mut events = 0;
        while events < 6 {
            events += step(&mut follow).await.matches("LONG").count();
        }
        assert_eq!(events, 6);
    };
    tokio::join!(client, server);
}

#[tokio::test]
async fn flood_before_negotiation_fails_the_attempt() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let long = format!(r#"{{"event": "LONG", "data": "{}"}}"#, "x".repeat(1 << 20));
    let server = async {
        let mut peer = fake.accept().await;
        for _ in 0..6 {
            // The client may close in the middle of it.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, long.as_bytes()).await;
        }
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(
        line.starts_with("failed 1 (again)") && line.contains("sent more than 4194304 bytes of events"),
        "{line}"
    );
}

#[tokio::test]
async fn reply_waits_until_owner_releases_it_after_its_events() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let commander = follow.commander();
    assert!(matches!(commander.execute_raw("stop", None).await, Err(ExecuteError::NotAttached)));
    let mut peer = attached(&fake, &mut follow).await;

    let asked = tokio::spawn(async move { commander.execute_raw("stop", None).await });
    let server = async {
        let heard = peer.hear().await;
        assert_eq!(command_name(&heard), "stop");
        // In one write: the client reads both at once.
        let id = &heard["id"];
        peer.say(&format!("{STOP}\r\n{{\"return\": {{}}, \"id\": {id}}}\r\n{RESUME}")).await;
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert_eq!(line, "events STOP");
    let FollowEvent::Reply(pending) = follow.next().await else { panic!("the reply comes after the event") };
    assert_eq!(step(&mut follow).await, "events RESUME", "the owner may go on while it holds the reply");
    tokio::task::yield_now().await;
    assert!(!asked.is_finished(), "the caller waits until the owner releases the reply");
    pending.release();
    assert_eq!(&*asked.await.unwrap().unwrap(), "{}");
}

#[tokio::test]
async fn second_probe_is_sent_only_after_reply_to_first() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let commander = follow.commander();
    assert!(matches!(commander.probe(), Err(ExecuteError::NotAttached)), "before the epoch");
    let mut peer = attached(&fake, &mut follow).await;

    for round in 1..=2 {
        commander.probe().unwrap();
        commander.probe().unwrap();
        let asked = tokio::spawn({
            let commander = commander.clone();
            async move { commander.execute_raw("stop", None).await }
        });
        let server = async {
            let probe = peer.hear().await;
            assert_eq!(command_name(&probe), "query-status", "round {round}");
            let stop = peer.hear().await;
            assert_eq!(command_name(&stop), "stop", "round {round}: the probe is sent once");
            peer.say(STOP).await;
            peer.returns(&probe, r#"{"status": "paused", "running": false}"#).await;
            peer.returns(&stop, "{}").await;
        };
        let driven = async {
            let mut lines = Vec::new();
            while lines.last().is_none_or(|last| last != "reply") {
                lines.push(step(&mut follow).await);
            }
            lines
        };
        let (lines, ()) = tokio::join!(driven, server);
        assert_eq!(lines, ["events STOP", "answered paused", "reply"], "round {round}");
        assert_eq!(&*asked.await.unwrap().unwrap(), "{}", "the client has its own reply");
    }
    drop(peer);
    assert!(step(&mut follow).await.starts_with("detached"));
    assert!(matches!(commander.probe(), Err(ExecuteError::NotAttached)), "after the epoch");
}

#[tokio::test]
async fn probe_waits_while_eight_commands_have_no_reply() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let commander = follow.commander();
    let mut peer = attached(&fake, &mut follow).await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let commander = commander.clone();
                async move { commander.execute_raw("query-block", None).await }
            })
        })
        .collect();
    let server = async {
        let mut heard = Vec::new();
        while heard.len() < 8 {
            heard.push(peer.hear().await);
        }
        commander.probe().unwrap();
        assert!(heard.iter().all(|command| command_name(command) == "query-block"), "{heard:?}");
        peer.returns(&heard[0], "{}").await;
        assert_eq!(command_name(&peer.hear().await), "query-status", "there is room for it");
        peer
    };
    let driven = async { while step(&mut follow).await != "detached" {} };
    let mut server = std::pin::pin!(server);
    tokio::select! {
        peer = &mut server => drop(peer),
        () = driven => panic!("the connection stays"),
    }
    drop(follow);
    for client in clients {
        let _ = client.await.unwrap();
    }
}

#[tokio::test]
async fn unread_events_of_batch_are_yielded_again() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    peer.say(&format!("{STOP}{RESUME}{STOP}")).await;
    let FollowEvent::Events(mut batch) = follow.next().await else { panic!("events") };
    assert_eq!(batch.next().unwrap().name, "STOP");
    let FollowEvent::Events(mut batch) = follow.next().await else { panic!("events") };
    let (event, received_at) = batch.next_received().unwrap();
    assert_eq!(event.name, "RESUME");
    assert!(received_at.elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(step(&mut follow).await, "events STOP");
}

#[tokio::test]
async fn cancelled_next_loses_no_event() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    for _ in 0..100 {
        let poll = pin!(follow.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Pending));
        drop(poll);
        peer.say(STOP).await;
        assert_eq!(step(&mut follow).await, "events STOP");
    }
}

#[tokio::test]
async fn end_of_connection_closes_epoch_with_its_reason() {
    let cases = [
        ("", "detached PeerClosed: the VM closed the connection"),
        (
            r#"{"event": "ST"#,
            "detached PeerClosed: the VM closed the connection in the middle of a message, after 13 bytes of it",
        ),
        ("]", "detached ProtocolError: expected a message to begin with '{', found ']'"),
        (GREETING, "detached ProtocolError: the server greeted a second time"),
    ];
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    for (last_words, expected) in cases {
        let mut peer = attached(&fake, &mut follow).await;
        peer.say(STOP).await;
        peer.write(last_words.as_bytes()).await;
        drop(peer);
        assert_eq!(step(&mut follow).await, "events STOP", "{last_words}");
        assert_eq!(step(&mut follow).await, expected, "{last_words}");
    }
}

#[tokio::test]
async fn end_during_snapshot_still_yields_its_events() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.answer("query-status", r#"{"status": "shutdown"}"#).await;
        peer.say(r#"{"event": "SHUTDOWN"}"#).await;
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(line.contains(r#""query-status":{"status": "shutdown"}"#), "{line}");
    assert_eq!(step(&mut follow).await, "events SHUTDOWN");
    assert_eq!(step(&mut follow).await, "detached PeerClosed: the VM closed the connection");
}

#[tokio::test]
async fn commands_without_reply_fail_after_epoch_closed() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    let calls: Vec<_> = (0..9)
        .map(|_| {
            let commander = follow.commander();
            tokio::spawn(async move { commander.execute_raw("quit", None).await })
        })
        .collect();
    let server = async {
        for _ in 0..8 {
            peer.hear().await;
        }
        drop(peer);
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(line.starts_with("detached PeerClosed"), "{line}");
    assert!(calls.iter().all(|call| !call.is_finished()), "not before the owner has closed the epoch");
    for _ in 0..9 {
        assert_eq!(step(&mut follow).await, "reply");
    }
    let mut unsent = 0;
    for call in calls {
        match call.await.unwrap() {
            Err(ExecuteError::Closed { .. }) => {}
            Err(ExecuteError::NotAttached) => unsent += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(unsent, 1, "the ninth was not sent");
    assert!(matches!(follow.commander().execute_raw("quit", None).await, Err(ExecuteError::NotAttached)));
}

#[tokio::test]
async fn renew_opens_another_epoch_on_same_connection() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    follow.renew();
    follow.renew();
    let server = async {
        let status = peer.hear().await;
        peer.say(STOP).await;
        peer.returns(&status, r#"{"status": "paused"}"#).await;
        for query in ["query-name", "query-uuid", "query-version", "query-jobs", "query-migrate"] {
            peer.answer(query, "{}").await;
        }
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(line.starts_with("attached") && line.contains(r#"{"status": "paused"}"#), "{line}");
    assert!(line.contains(r#""greeting":{"version""#), "{line}");
    assert_eq!(step(&mut follow).await, "events STOP");
    let asked = tokio::spawn(async move { follow.next().await.is_reply() });
    drop(peer);
    assert!(!asked.await.unwrap(), "one snapshot was asked for, not two");
}

#[tokio::test]
async fn reply_during_next_snapshot_follows_its_events() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    let commander = follow.commander();
    let asked = tokio::spawn(async move { commander.execute_raw("stop", None).await });
    let heard = {
        let mut next = pin!(follow.next());
        tokio::select! {
            _ = &mut next => panic!("no step yet"),
            heard = peer.hear() => heard,
        }
    };
    follow.renew();
    let server = async {
        peer.say(STOP).await;
        peer.returns(&heard, "{}").await;
        peer.reply_with_state().await;
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(line.starts_with("attached"), "{line}");
    assert!(!asked.is_finished());
    assert_eq!(step(&mut follow).await, "events STOP");
    assert_eq!(step(&mut follow).await, "reply");
    assert_eq!(&*asked.await.unwrap().unwrap(), "{}");
}

trait IsReply {
    fn is_reply(&self) -> bool;
}

impl IsReply for FollowEvent<'_> {
    fn is_reply(&self) -> bool {
        matches!(self, FollowEvent::Reply(_))
    }
}

#[tokio::test]
async fn dropped_follow_fails_its_commands() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    let commander = follow.commander();
    let call = tokio::spawn({
        let commander = commander.clone();
        async move { commander.execute_raw("stuck", None).await }
    });
    let heard = {
        let mut next = pin!(follow.next());
        tokio::select! {
            _ = &mut next => panic!("no step yet"),
            heard = peer.hear() => heard,
        }
    };
    assert_eq!(command_name(&heard), "stuck");
    drop(follow);
    assert!(matches!(call.await.unwrap(), Err(ExecuteError::Closed { .. })));
    assert!(matches!(commander.execute_raw("stuck", None).await, Err(ExecuteError::Closed { .. })));
    assert_eq!(peer.hear_or_end().await, None);
}

/// A sink that records how its reply was delivered.
#[derive(Debug)]
struct RecordingSink(tokio::sync::oneshot::Sender<String>);

impl ReplySink for RecordingSink {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        let _ = self.0.send(format!("{result:?}"));
    }

    fn deliver_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        let _ = self.0.send(format!("early {result:?}"));
    }
}

#[tokio::test]
async fn forwarded_command_gets_reply_when_follower_ends() {
    type End = fn(&mut Option<Follow>);
    let drops: End = |follow| drop(follow.take());
    let keeps: End = |follow| follow.as_mut().unwrap().end_commands();
    for (case, end) in [("dropped", drops), ("kept", keeps)] {
        let fake = MonitorSocket::listen();
        let mut follow = followed(&fake);
        let mut peer = attached(&fake, &mut follow).await;
        let commander = follow.commander();
        let pass = |command: &str| {
            let (asker, reply) = tokio::sync::oneshot::channel();
            let passed =
                ForwardedCommand { command, arguments: None, out_of_band: false, descriptors: Vec::new() };
            commander.forward(passed, Box::new(RecordingSink(asker))).map(|()| reply)
        };
        let (answered, sent) = (pass("answered").unwrap(), pass("sent").unwrap());
        let reply = tokio::select! {
            FollowEvent::Reply(reply) = follow.next() => reply,
            () = async { peer.answer("answered", "1").await; std::future::pending::<()>().await } => unreachable!(),
        };
        let unsent = pass("unsent").unwrap();
        let mut follow = Some(follow);
        end(&mut follow);
        for (reply, name) in [(sent, "sent"), (unsent, "unsent")] {
            assert_eq!(reply.await.unwrap(), "Err(Closed { reason: ClosedLocally })", "{case}: {name}");
        }
        assert!(matches!(pass("late"), Err(ExecuteError::Closed { .. })), "{case}");
        reply.release_early();
        assert_eq!(answered.await.unwrap(), "early Ok(\"1\")", "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_counted_until_socket_appears() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let mut follow = follow(Address::Unix { path: path.clone(), listen: false }, FollowConfig::default());
    for expected in 1..=10 {
        let FollowEvent::Failed { error, attempt, retry_in } = follow.next().await else {
            panic!("no socket listens")
        };
        assert_eq!(attempt, expected);
        assert!(error.to_string().contains("is the VM running?"), "{error}");
        assert!(retry_in.unwrap() <= Duration::from_secs(1));
    }
    let fake = MonitorSocket { listener: UnixListener::bind(&path).unwrap(), directory };
    let before = tokio::time::Instant::now();
    let mut peer = attached(&fake, &mut follow).await;
    assert!(before.elapsed() <= Duration::from_secs(1), "{:?}", before.elapsed());
    peer.say(STOP).await;
    assert_eq!(step(&mut follow).await, "events STOP");
    // After an epoch that lasted, the next attempt is made at once.
    tokio::time::advance(Duration::from_secs(2)).await;
    drop((peer, fake));
    assert!(step(&mut follow).await.starts_with("detached"));
    assert!(step(&mut follow).await.starts_with("failed 1 (again)"));
}

#[tokio::test]
async fn qemu_that_dials_in_again_is_attached_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let mut follow = follow(Address::Unix { path: path.clone(), listen: true }, FollowConfig::default());
    for _ in 0..3 {
        let server = async {
            let stream = loop {
                match tokio::net::UnixStream::connect(&path).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let mut peer = Peer::new(stream);
            peer.negotiate().await;
            peer.reply_with_state().await;
        };
        let (line, ()) = tokio::join!(step(&mut follow), server);
        assert!(line.starts_with("attached"), "{line}");
        assert!(step(&mut follow).await.starts_with("detached PeerClosed"));
    }
    drop(follow);
    assert!(!path.exists());
}

#[tokio::test]
async fn inherited_connection_is_not_retried() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::IntoRawFd::into_raw_fd(ours);
    let mut follow = follow(Address::Fd { number, listen: false }, FollowConfig::default());
    let server = async {
        let mut peer = Peer::new(tokio::net::UnixStream::from_std(theirs).unwrap());
        peer.negotiate().await;
        peer.reply_with_state().await;
    };
    let (line, ()) = tokio::join!(step(&mut follow), server);
    assert!(line.starts_with("attached"), "{line}");
    assert!(step(&mut follow).await.starts_with("detached"));
    assert!(step(&mut follow).await.starts_with("failed 2 (for good)"));
    let after = pin!(follow.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending();
    assert!(after, "no further step");
}

/// A message that does not end closes the epoch.
#[tokio::test]
async fn unfinished_message_past_timeout_closes_epoch() {
    let fake = MonitorSocket::listen();
    let mut config = FollowConfig::default();
    config.connect.message_timeout = Duration::from_millis(300);
    let mut follow = follow(fake.address(), config);
    let mut peer = attached(&fake, &mut follow).await;
    // The time limit starts anew with each message.
    peer.write(format!("{STOP}\r\n{{\"event\": \"BEGUN").as_bytes()).await;
    assert_eq!(step(&mut follow).await, "events STOP");
    let line = step(&mut follow).await;
    assert_eq!(line, "detached ProtocolError: a message did not end within 300ms of its first byte");
}

/// All unfinished messages share one budget, and closed connections return their share.
#[tokio::test]
async fn unfinished_messages_share_one_budget() {
    let budget = Arc::new(Budget::new(1 << 20));
    let mut config = FollowConfig::default();
    config.connect.unfinished = Arc::clone(&budget);
    let config = Arc::new(config);
    let fakes = [MonitorSocket::listen(), MonitorSocket::listen()];
    let mut follows = fakes.each_ref().map(|fake| follow(fake.address(), Arc::clone(&config)));
    let [one, two] = &mut follows;
    let (mut first, mut second) = (attached(&fakes[0], one).await, attached(&fakes[1], two).await);
    let beginning = format!("{{\"event\": \"{}", "A".repeat(400 << 10));
    let reading = async {
        while budget.used() < 400 << 10 {
            assert!(tokio::time::timeout(Duration::from_millis(1), one.next()).await.is_err());
        }
    };
    tokio::join!(first.write(beginning.as_bytes()), reading);
    // The connection may be closed before all of it is written.
    let longer = beginning.clone() + &"A".repeat(500 << 10);
    let (line, _) = tokio::join!(step(two), second.stream.write_all(longer.as_bytes()));
    assert!(line.starts_with("detached ProtocolError: no memory for a message"), "{line}");
    first.write(b"\"}\r\n").await;
    assert!(step(one).await.starts_with("events AAAA"));
    assert_eq!(budget.used(), 0, "every share is returned");
}

/// A VM without a free descriptor is retried until one is free.
#[tokio::test]
async fn vm_past_socket_budget_is_attached_when_one_is_free() {
    let fake = MonitorSocket::listen();
    let sockets = Arc::new(Budget::new(1));
    let taken = sockets.take(1);
    let mut config = FollowConfig::default();
    config.connect.sockets = Some(Arc::clone(&sockets));
    let mut follow = follow(fake.address(), config);
    let line = step(&mut follow).await;
    assert!(line.contains("all 1 open files for monitors are in use"), "{line}");
    drop(taken);
    let _peer = attached(&fake, &mut follow).await;
    assert_eq!(sockets.used(), 1);
    drop(follow);
    assert_eq!(sockets.used(), 0);
}

/// A cancelled command, whose sink forwards another one when it is dropped.
#[derive(Debug)]
struct CancelledSink(Commander, Option<RecordingSink>);

impl ReplySink for CancelledSink {
    fn is_cancelled(&self) -> bool {
        true
    }

    fn deliver(self: Box<Self>, _: Result<Box<str>, ExecuteError>) {}
}

impl Drop for CancelledSink {
    fn drop(&mut self) {
        let next = ForwardedCommand {
            command: "next",
            arguments: None,
            out_of_band: false,
            descriptors: Vec::new(),
        };
        self.0.forward(next, Box::new(self.1.take().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn drop_of_cancelled_sink_may_forward_another_command() {
    let fake = MonitorSocket::listen();
    let mut follow = followed(&fake);
    let mut peer = attached(&fake, &mut follow).await;
    let commander = follow.commander();
    let (asker, reply) = tokio::sync::oneshot::channel();
    let cancelled = ForwardedCommand {
        command: "cancelled",
        arguments: None,
        out_of_band: false,
        descriptors: Vec::new(),
    };
    let sink = CancelledSink(commander.clone(), Some(RecordingSink(asker)));
    commander.forward(cancelled, Box::new(sink)).unwrap();
    tokio::select! {
        FollowEvent::Reply(reply) = follow.next() => reply.release(),
        () = async { peer.answer("next", "1").await; std::future::pending::<()>().await } => unreachable!(),
    }
    assert_eq!(reply.await.unwrap(), "Ok(\"1\")");
}

#[tokio::test]
async fn delays_of_zero_leave_time_for_other_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = FollowConfig::default();
    config.retry.first = Duration::ZERO;
    config.retry.max = Some(Duration::ZERO);
    config.retry.in_use_first = Duration::ZERO;
    config.retry.in_use_max = Duration::ZERO;
    let address = Address::Unix { path: directory.path().join("absent"), listen: false };
    let (_commander, mut stream) = follow_stream(address, config);
    for _ in 0..3 {
        let Some(FollowItem::Failed { retry_in: Some(delay), .. }) = stream.next().await else {
            panic!("an attempt without a socket fails");
        };
        assert!(delay >= Duration::from_millis(1), "{delay:?}");
    }
}

//! Commands against a scripted server: which reply belongs to which command, and errors without a reply.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use fake::{STOP, attached, next_line};
use qmp_client::{Address, ConnectConfig, ExecuteError, connect, connect_with};
use qmp_testing::{GREETING, MonitorSocket, Peer, command_name};
use serde_json::json;

#[tokio::test]
async fn concurrent_commands_get_their_own_replies() {
    let (monitor, _events, mut peer) = attached().await;
    let calls = (0..8).map(|number| {
        let monitor = monitor.clone();
        tokio::spawn(
            async move { monitor.execute_as::<u32>("echo", json!({"number": number})).await.unwrap() },
        )
    });
    let calls: Vec<_> = calls.collect();
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(peer.hear().await);
    }
    // The last command gets the first reply.
    for command in heard.iter().rev() {
        peer.returns(command, &command["arguments"]["number"].to_string()).await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap() as usize, number);
    }
}

#[tokio::test]
async fn ninth_in_band_command_waits_and_out_of_band_does_not() {
    let (monitor, _events, mut peer) = attached().await;
    assert!(monitor.out_of_band());
    let mut calls = Vec::new();
    for number in 0..10 {
        let monitor = monitor.clone();
        calls.push(tokio::spawn(async move { monitor.execute("slow", json!({"number": number})).await }));
    }
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(peer.hear().await);
    }
    let commander = monitor.commander().clone();
    let urgent = tokio::spawn(async move { commander.execute_raw_out_of_band("yank", None).await });
    let overtaking = peer.hear().await;
    assert_eq!(overtaking["exec-oob"], "yank", "{overtaking}");
    peer.returns(&overtaking, "{}").await;
    assert_eq!(&*urgent.await.unwrap().unwrap(), "{}");
    for command in &heard {
        peer.returns(command, "{}").await;
    }
    for _ in 0..2 {
        let command = peer.hear().await;
        assert_eq!(command_name(&command), "slow");
        peer.returns(&command, "{}").await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn refused_command_returns_class_and_description() {
    let (monitor, _events, mut peer) = attached().await;
    let server = async {
        let heard = peer.hear().await;
        assert_eq!(heard["arguments"], json!({"id": "nope"}));
        peer.refuses(&heard, "DeviceNotFound", "Device 'nope' not found").await;
    };
    let (result, ()) = tokio::join!(monitor.execute("device_del", json!({"id": "nope"})), server);
    let error = result.unwrap_err();
    assert!(
        matches!(&error, ExecuteError::Refused(refusal) if &*refusal.class == "DeviceNotFound"),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "DeviceNotFound: Device 'nope' not found");
}

#[tokio::test]
async fn arguments_other_than_object_are_not_sent() {
    let (monitor, _events, mut peer) = attached().await;
    for arguments in ["[]", "7", "{", r#"{}, "id": 1"#, "{} {}", ""] {
        let error = monitor.execute_raw("stop", Some(arguments)).await.unwrap_err();
        assert!(matches!(error, ExecuteError::InvalidArguments { .. }), "{arguments}: {error:?}");
    }
    assert!(matches!(monitor.execute("stop", 7).await, Err(ExecuteError::InvalidArguments { .. })));
    let (reply, ()) = tokio::join!(monitor.execute("the-first", ()), peer.answer("the-first", "{}"));
    reply.unwrap();
}

#[tokio::test]
async fn reply_of_unexpected_type_is_an_error() {
    let (monitor, _events, mut peer) = attached().await;
    let (reply, ()) =
        tokio::join!(monitor.execute_as::<u32>("query-name", ()), peer.answer("query-name", "{}"));
    assert!(matches!(reply, Err(ExecuteError::UnexpectedReply { .. })), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn reply_after_timeout_is_discarded() {
    let (monitor, _events, mut peer) = attached().await;
    let hurried = monitor.commander().clone().with_timeout(Duration::from_secs(3));
    let (result, late) = tokio::join!(hurried.execute("slow", ()), peer.hear());
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "no reply within 3s; the command may still take effect");
    peer.returns(&late, r#""late""#).await;
    let (reply, ()) = tokio::join!(monitor.execute("next", ()), peer.answer("next", r#""next""#));
    assert_eq!(reply.unwrap().get(), r#""next""#);
}

#[tokio::test]
async fn server_that_does_not_read_delays_no_events() {
    let (monitor, mut events, mut peer) = attached().await;
    // More than any socket buffer holds.
    let arguments = json!({"text": "x".repeat(8 << 20)});
    let call = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.execute("long", arguments).await }
    });
    for _ in 0..1000 {
        peer.say(STOP).await;
        assert_eq!(next_line(&mut events).await, "STOP");
    }
    assert!(!call.is_finished());
    let heard = peer.hear().await;
    assert_eq!(heard["arguments"]["text"].as_str().map(str::len), Some(8 << 20));
    peer.returns(&heard, "{}").await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn command_past_queue_limit_is_refused() {
    let (monitor, _events, _peer) = attached().await;
    let mut calls = Vec::new();
    let mut refused = None;
    for _ in 0..2000 {
        let mut call = Box::pin(monitor.execute_raw("stuck", None));
        tokio::select! {
            biased;
            result = &mut call => refused = Some(result),
            () = std::future::ready(()) => calls.push(call),
        }
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(refused, Some(Err(ExecuteError::Busy { waiting: 1024 }))), "{refused:?}");
}

#[tokio::test]
async fn command_cancelled_before_sending_is_not_sent() {
    let (monitor, _events, mut peer) = attached().await;
    let first: Vec<_> = (0..8)
        .map(|_| {
            let monitor = monitor.clone();
            tokio::spawn(async move { monitor.execute_raw("first", None).await })
        })
        .collect();
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(peer.hear().await);
    }
    let given_up = monitor.commander().clone().with_timeout(Duration::ZERO);
    assert!(matches!(given_up.execute_raw("given-up", None).await, Err(ExecuteError::TimedOut { .. })));
    for command in &heard {
        peer.returns(command, "{}").await;
    }
    let (reply, ()) = tokio::join!(monitor.execute("next", ()), peer.answer("next", "{}"));
    reply.unwrap();
    for call in first {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn descriptors_arrive_with_their_command_alone() {
    let (monitor, _events, mut peer) = attached().await;
    let calls: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|text| {
            let (read, write) = std::io::pipe().unwrap();
            std::io::Write::write_all(&mut &write, text.as_bytes()).unwrap();
            let commander = monitor.commander().clone();
            let arguments = json!({"fdname": text}).to_string();
            tokio::spawn(async move {
                commander.execute_with_descriptors("getfd", Some(&arguments), vec![OwnedFd::from(read)]).await
            })
        })
        .collect();
    for text in ["one", "two"] {
        let (heard, descriptors) = receive_descriptors(&peer).await;
        let heard: serde_json::Value = serde_json::from_slice(&heard).expect("one command, and not the next");
        assert_eq!(heard["arguments"]["fdname"], text);
        assert_eq!(descriptors.len(), 1);
        let mut content = String::new();
        for descriptor in descriptors {
            std::fs::File::from(descriptor).read_to_string(&mut content).unwrap();
        }
        assert_eq!(content, text);
        peer.returns(&heard, "{}").await;
    }
    for call in calls {
        assert_eq!(&*call.await.unwrap().unwrap(), "{}");
    }
}

async fn receive_descriptors(peer: &Peer) -> (Vec<u8>, Vec<OwnedFd>) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut bytes = vec![0; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = peer
        .stream
        .async_io(tokio::io::Interest::READABLE, || {
            let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
            Ok(recvmsg(&peer.stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?)
        })
        .await
        .unwrap();
    let descriptors = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    bytes.truncate(received.bytes);
    (bytes, descriptors)
}

#[tokio::test]
async fn descriptors_on_tcp_or_past_limit_are_refused() {
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let (monitor, _events, _peer) = attached().await;
    let many = (0..17).map(|_| null()).collect();
    let error = monitor.commander().execute_with_descriptors("add-fd", None, many).await.unwrap_err();
    assert!(matches!(error, ExecuteError::TooManyDescriptors { limit: 16 }), "{error:?}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address =
        Address::Tcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port(), listen: false };
    let server = async {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.negotiate().await;
        peer
    };
    let (connected, _peer) = tokio::join!(connect(&address), server);
    let (monitor, _events) = connected.unwrap();
    let error = monitor.commander().execute_with_descriptors("add-fd", None, vec![null()]).await.unwrap_err();
    assert!(matches!(error, ExecuteError::NoDescriptorPassing), "{error:?}");
}

#[tokio::test]
async fn connection_closes_when_monitor_and_events_are_dropped() {
    let (monitor, events, mut peer) = attached().await;
    drop(events);
    let (reply, ()) = tokio::join!(monitor.execute("still-here", ()), peer.answer("still-here", "{}"));
    reply.unwrap();
    drop(monitor);
    assert_eq!(peer.hear_or_end().await, None);

    let (monitor, mut events, mut peer) = attached().await;
    drop(monitor);
    peer.say(STOP).await;
    assert_eq!(next_line(&mut events).await, "STOP");
    drop(events);
    assert_eq!(peer.hear_or_end().await, None);
}

#[tokio::test]
async fn out_of_band_is_enabled_only_if_configured() {
    for wanted in [true, false] {
        let fake = MonitorSocket::listen();
        let address = fake.address();
        let mut config = ConnectConfig::default();
        config.out_of_band = wanted;
        let server = async {
            let mut peer = fake.accept().await;
            peer.say(GREETING).await;
            let heard = peer.hear().await;
            peer.returns(&heard, "{}").await;
            (heard, peer)
        };
        let (connected, (heard, _peer)) = tokio::join!(connect_with(&address, &config), server);
        assert_eq!(connected.unwrap().0.out_of_band(), wanted);
        assert_eq!(heard["arguments"]["enable"] == json!(["oob"]), wanted, "{heard}");
    }
}

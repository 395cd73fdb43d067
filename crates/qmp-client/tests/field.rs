//! Known mistakes of other clients: one test each.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use fake::{RESUME, STOP, next_line};
use qmp_client::{EventItem, Events, ExecuteError, MonitorClient, connect};
use qmp_testing::{GREETING, MonitorSocket};

/// The server sends `lines` in command mode, and closes.
async fn connect_and_receive(lines: &[&str]) -> (MonitorClient, Events) {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        for line in lines {
            peer.say(line).await;
        }
    };
    let (connected, ()) = tokio::join!(connect(&address), server);
    connected.unwrap()
}

#[tokio::test]
async fn unknown_event_value_and_member_are_delivered_byte_for_byte() {
    let lines = [
        r#"{"event": "NOBODY_KNOWS", "timestamp": {"seconds": 1, "microseconds": 2}, "data": { "a" :[1,  2.50], "\u00e9": null}}"#,
        r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "from-the-future"}, "timestamp": {"seconds": 1, "microseconds": 2}}"#,
        r#"{"event": "STOP", "extra": {"event": "RESUME"}, "timestamp": {"seconds": 1, "microseconds": 2, "nanoseconds": 3}}"#,
    ];
    let (_monitor, mut events) = connect_and_receive(&lines).await;
    assert_eq!(next_line(&mut events).await, r#"NOBODY_KNOWS { "a" :[1,  2.50], "\u00e9": null}"#);
    assert_eq!(next_line(&mut events).await, r#"SHUTDOWN {"guest": true, "reason": "from-the-future"}"#);
    assert_eq!(next_line(&mut events).await, "STOP");
    assert_eq!(next_line(&mut events).await, "ended: the VM closed the connection");
    assert_eq!(next_line(&mut events).await, "nothing");
}

#[tokio::test]
async fn absent_and_null_data_stay_distinct() {
    let lines = [
        r#"{"event": "SHUTDOWN", "timestamp": {"seconds": 1, "microseconds": 2}}"#,
        r#"{"event": "SHUTDOWN", "data": null, "timestamp": {"seconds": 1, "microseconds": 2}}"#,
    ];
    let (_monitor, mut events) = connect_and_receive(&lines).await;
    assert_eq!(next_line(&mut events).await, "SHUTDOWN");
    assert_eq!(next_line(&mut events).await, "SHUTDOWN null");
}

#[tokio::test]
async fn event_without_usable_time_has_no_timestamp() {
    let lines = [
        r#"{"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}"#,
        r#"{"event": "STOP"}"#,
        r#"{"event": "STOP", "timestamp": {"seconds": 7, "microseconds": 8}}"#,
    ];
    let (_monitor, mut events) = connect_and_receive(&lines).await;
    let mut times = Vec::new();
    while let Some(EventItem::Event(event)) = events.next().await {
        times.push(event.timestamp.map(|time| (time.seconds(), time.microseconds())));
    }
    assert_eq!(times, [None, None, Some((7, 8))]);
}

#[tokio::test]
async fn exact_64_bit_integers_are_delivered() {
    let data = r#"{"max": 18446744073709551615, "min": -9223372036854775808}"#;
    let (_monitor, mut events) =
        connect_and_receive(&[&format!(r#"{{"event": "X", "data": {data}}}"#)]).await;
    assert_eq!(next_line(&mut events).await, format!("X {data}"));
}

#[tokio::test]
async fn message_of_ten_megabytes_is_read() {
    for bytes in [300_000, 10_000_000] {
        let fake = MonitorSocket::listen();
        let address = fake.address();
        let long = format!(r#"["{}"]"#, "x".repeat(bytes));
        let server = async {
            let mut peer = fake.accept().await;
            peer.negotiate().await;
            peer.answer("query-qmp-schema", &long).await;
            peer
        };
        let client = async {
            let (monitor, _events) = connect(&address).await.unwrap();
            monitor.execute_raw("query-qmp-schema", None).await.unwrap()
        };
        let (reply, _peer) = tokio::join!(client, server);
        assert!(*reply == *long, "{bytes} bytes");
    }
}

#[tokio::test]
async fn message_past_limit_ends_stream_naming_the_limit() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let mut config = qmp_client::ConnectConfig::default();
    config.frame_max_bytes = 1000;
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.say(STOP).await;
        peer.say(&format!(r#"{{"event": "{}"}}"#, "x".repeat(1001))).await;
        peer
    };
    let (connected, _peer) = tokio::join!(qmp_client::connect_with(&address, &config), server);
    let (_monitor, mut events) = connected.unwrap();
    assert_eq!(next_line(&mut events).await, "STOP");
    assert_eq!(next_line(&mut events).await, "ended: message exceeds the limit of 1000 bytes");
}

#[tokio::test]
async fn blank_lines_and_pretty_messages_are_read() {
    let pretty = "{\r\n    \"timestamp\": {\r\n        \"seconds\": 1,\r\n        \"microseconds\": 2\r\n    },\r\n    \"event\": \"STOP\"\r\n}";
    let (_monitor, mut events) = connect_and_receive(&["", "\r\n", pretty, "", RESUME]).await;
    assert_eq!(next_line(&mut events).await, "STOP");
    assert_eq!(next_line(&mut events).await, "RESUME");
}

#[tokio::test]
async fn events_around_negotiation_are_delivered_and_replies_stay_paired() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.say(STOP).await;
        peer.say(GREETING).await;
        let capabilities = peer.hear().await;
        peer.say(RESUME).await;
        peer.returns(&capabilities, "{}").await;
        let stop = peer.hear().await;
        peer.say(STOP).await;
        peer.returns(&stop, r#""the reply""#).await;
        peer
    };
    let client = async {
        let (monitor, mut events) = connect(&address).await.unwrap();
        assert_eq!(monitor.execute_as::<String>("stop", ()).await.unwrap(), "the reply");
        // Waiting for the reply discards no event that precedes it, and no event follows it.
        let before: Vec<String> = std::iter::from_fn(|| events.try_next()).map(fake::line_of_item).collect();
        assert_eq!(before, ["STOP", "RESUME", "STOP"]);
    };
    tokio::join!(client, server);
}

#[tokio::test]
async fn error_without_id_and_foreign_reply_fail_no_command() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        let heard = peer.hear().await;
        peer.say(r#"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#).await;
        peer.say(r#"{"return": {"for": "another"}, "id": "another-1"}"#).await;
        peer.say(r#"{"return": {"for": "another"}}"#).await;
        peer.say(r#"{"error": {"class": "GenericError", "desc": "for another"}, "id": 77}"#).await;
        peer.returns(&heard, r#"{"for": "us"}"#).await;
        peer
    };
    let client = async {
        let (monitor, _events) = connect(&address).await.unwrap();
        monitor.execute("query-name", ()).await.unwrap()
    };
    let (reply, _peer) = tokio::join!(client, server);
    assert_eq!(reply.get(), r#"{"for": "us"}"#);
}

#[tokio::test]
async fn end_within_a_message_ends_stream_and_commands_with_reason() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer.hear().await;
        peer.say(STOP).await;
        peer.write(br#"{"event": "RES"#).await;
    };
    let client = async {
        let (monitor, mut events) = connect(&address).await.unwrap();
        let error = monitor.execute("query-name", ()).await.unwrap_err();
        assert!(matches!(&error, ExecuteError::Closed { .. }), "{error:?}");
        let text = "the VM closed the connection in the middle of a message, after 14 bytes of it";
        assert_eq!(error.to_string(), format!("no reply: {text}"));
        assert_eq!(next_line(&mut events).await, "STOP");
        assert_eq!(next_line(&mut events).await, format!("ended: {text}"));
        let error = monitor.execute("query-name", ()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no reply: {text}"), "a command after the end");
    };
    tokio::join!(client, server);
}

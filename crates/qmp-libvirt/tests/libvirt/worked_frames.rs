//! Frames as libvirt 9.0 sent them, byte for byte.

use std::time::Instant;

use qmp_libvirt::{Follow, FollowItem};

use crate::conversation::words;

/// The domain `vm1` of the frames below.
const VM1: &str = "00000003 766d3100 5f93793e c80e4eec a36ba2e6 d218bdbc 00000001";

/// Reads hexadecimal digits; everything else is skipped.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|letter| letter.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
}

/// A frame of this header (without its length) and payload.
fn frame(header: &str, payload: &str) -> Vec<u8> {
    let (header, payload) = (bytes(header), bytes(payload));
    let length = u32::try_from(4 + header.len() + payload.len()).expect("a length");
    [length.to_be_bytes().as_slice(), &header, &payload].concat()
}

/// What the client sends at each step of its start, and what the daemon replies.
const EXCHANGES: [(&str, &str, &str); 11] = [
    // header of the call, its payload, payload of the reply
    ("20008086 00000001 00000042 00000000 00000001 00000000", "", "00000001 00000000"),
    (
        "20008086 00000001 00000001 00000000 00000002 00000000",
        "00000001 0000000f 71656d753a2f2f2f73657373696f6e00 00000000",
        "",
    ),
    ("20008086 00000001 0000003c 00000000 00000003 00000000", "0000000a", "00000001"),
    ("20008086 00000001 0000009d 00000000 00000004 00000000", "", "00000000 00895440"),
    ("20008086 00000001 0000003b 00000000 00000005 00000000", "", "00000002 686f0000"),
    ("20008086 00000001 0000013c 00000000 00000006 00000000", "00000000 00000000", "00000000"),
    ("20008086 00000001 0000013c 00000000 00000007 00000000", "00000007 00000000", "00000002"),
    ("20008087 00000001 00000004 00000000 00000008 00000000", "00000000 00000000 00000000", "00000001"),
    (
        "20008086 00000001 00000111 00000000 00000009 00000000",
        "00000001 00000000",
        "00000001 00000003 766d3100 5f93793e c80e4eec a36ba2e6 d218bdbc 00000001 00000001",
    ),
    (
        "20008086 00000001 000000e5 00000000 0000000a 00000000",
        "00000003 766d3100 5f93793e c80e4eec a36ba2e6 d218bdbc 00000001 00000000",
        "00000000 00000000 00000000 00000000",
    ),
    (
        "20008086 00000001 000000d4 00000000 0000000b 00000000",
        "00000003 766d3100 5f93793e c80e4eec a36ba2e6 d218bdbc 00000001 00000000",
        "00000001 00000001",
    ),
];

/// A follower that made the exchanges above, and its items.
fn opened() -> (Follow, Vec<FollowItem>) {
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///session", now);
    let mut items = Vec::new();
    for (call, payload, reply) in EXCHANGES {
        assert_eq!(follow.transmit(), frame(call, payload), "{call}");
        follow.consume_transmit(follow.transmit().len());
        let mut header = bytes(call);
        // Type 1, a reply.
        header[15] = 1;
        let header: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
        follow.handle_input(&frame(&header, reply), now);
        while let Some(item) = follow.poll_item(now).expect("goes on") {
            items.push(item);
        }
    }
    assert!(follow.transmit().is_empty());
    (follow, items)
}

/// The items that follow these frames.
fn after(frames: &[Vec<u8>]) -> Vec<FollowItem> {
    let (mut follow, _) = opened();
    let now = Instant::now();
    follow.handle_input(&frames.concat(), now);
    std::iter::from_fn(|| follow.poll_item(now).expect("goes on")).collect()
}

#[test]
fn opening_sends_the_frames_of_libvirts_own_client() {
    let items: Vec<_> = opened().1.iter().map(words).collect();
    assert_eq!(
        items,
        ["connected 9.0.0 ho", "running vm1#1", "listed", "attached vm1#1 found: running booted"]
    );
}

#[test]
fn monitor_event_has_name_time_and_data() {
    let header = "20008087 00000001 00000006 00000002 00000001 00000000";
    let data = r#"{"guest":false,"reason":"host-qmp-system-reset"}"#;
    let data_hex: String = data.bytes().map(|byte| format!("{byte:02x}")).collect();
    let stop = format!("00000001 {VM1} 00000004 53544f50 000000006b0ae8f1 000484c8 00000000");
    let reset = format!(
        "00000001 {VM1} 00000005 5245534554000000 000000006b0ae8f1 00048b01 00000001 00000030 {data_hex}"
    );
    let items = after(&[frame(header, &stop), frame(header, &reset)]);
    let events: Vec<_> = items
        .into_iter()
        .map(|item| match item {
            FollowItem::Event { event, .. } => (event.name, event.seconds, event.microseconds, event.data),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(events[0], ("STOP".into(), 1_795_877_105, 296_136, None));
    assert_eq!(events[1], ("RESET".into(), 1_795_877_105, 297_729, Some(data.into())));
}

#[test]
fn suspension_says_nothing_that_an_event_does_not_say() {
    let header = "20008086 00000001 0000013e 00000002 00000001 00000000";
    let suspended = format!("00000000 {VM1} 00000003 00000000");
    assert_eq!(after(&[frame(header, &suspended)]), []);
}

#[test]
fn ping_gets_the_pong_of_the_protocol() {
    let (mut follow, _) = opened();
    let now = Instant::now();
    follow.handle_input(&bytes("0000001c 6b656570 00000001 00000001 00000002 00000000 00000000"), now);
    assert_eq!(follow.poll_item(now), Ok(None));
    let pong = bytes("0000001c 6b656570 00000001 00000002 00000002 00000000 00000000");
    assert_eq!(follow.transmit(), pong);
}

#[test]
fn error_of_a_call_has_code_and_text() {
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///session", now);
    let text = "Domain not found";
    let text_hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let payload = format!(
        "0000002a 0000000a 00000001 00000010 {text_hex} 00000002 00000000 00000001 00000001 61000000 00000000 \
         00000000 ffffffff ffffffff 00000000"
    );
    follow.handle_input(&frame("20008086 00000001 00000042 00000001 00000001 00000001", &payload), now);
    let error = follow.poll_item(now).expect_err("refused");
    let expected = "cannot list the kinds of authentication: libvirt refuses with code 42: Domain not found";
    assert_eq!(error.to_string(), expected);
}

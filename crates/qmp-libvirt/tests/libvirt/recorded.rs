//! Sessions recorded from real daemons: `recorded/VERSION.hex` has one frame a line, without keepalive.
//!
//! The recordings come from `crates/qmp-real-qemu/tests/libvirt_real_qemu/recording.rs`, which says how they are made.

use std::time::Instant;

use qmp_libvirt::Follow;

use crate::conversation::words;
use crate::worked_frames::bytes;

const V9_0_0: &str = include_str!("recorded/9.0.0.hex");

/// The items of a recorded session. The follower must send what the recorded client sent.
fn replay(recording: &str) -> Vec<String> {
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///session", now);
    let (mut items, mut sent) = (Vec::new(), Vec::new());
    for line in recording.lines() {
        let (direction, frame) = line.split_once(' ').expect("a direction and a frame");
        let frame = bytes(frame);
        if direction == "<" {
            follow.handle_input(&frame, now);
            while let Some(item) = follow.poll_item(now).expect("goes on") {
                items.push(words(&item));
            }
            continue;
        }
        if frame[12..16] == [0, 0, 0, 2] {
            follow.close(now);
        }
        sent.extend_from_slice(follow.transmit());
        follow.consume_transmit(follow.transmit().len());
        assert!(sent.starts_with(&frame), "{line}");
        sent.drain(..frame.len());
    }
    assert!(sent.is_empty() && follow.transmit().is_empty());
    items
}

#[test]
fn session_with_libvirt_9_0_gives_its_items() {
    let expected = [
        "connected 9.0.0 host1",
        "running vm1#1",
        "listed",
        "attached vm1#1 found: running booted",
        "event STOP",
        "event RESUME",
        "event RESET",
        "event SHUTDOWN",
        "detached destroyed",
        "running vm1#2",
        "attached vm1#2 started booted: paused user",
        "event SHUTDOWN",
        "detached destroyed",
    ];
    assert_eq!(replay(V9_0_0), expected);
}

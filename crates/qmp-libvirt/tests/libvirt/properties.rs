//! Properties of every stream of bytes.

use std::time::Instant;

use proptest::prelude::*;
use qmp_libvirt::{FRAME_MAX_BYTES, Follow};
use qmp_testing::{LibvirtDaemon, LibvirtDomain, QEMU, REMOTE, libvirt_frame};

use crate::conversation::{Conversation, UUID, words};

/// Calls to a daemon in the order of the conversation, as the bytes of its replies and events.
fn recorded() -> Vec<u8> {
    let mut daemon = LibvirtDaemon::new(vec![
        LibvirtDomain::running("vm1", UUID, 1),
        LibvirtDomain::running("vm2", [2; 16], 2),
    ]);
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///system", now);
    let mut stream = Vec::new();
    loop {
        while follow.poll_item(now).expect("goes on").is_some() {}
        let request = follow.transmit().to_vec();
        follow.consume_transmit(request.len());
        daemon.handle_input(&request);
        let reply = daemon.take_output();
        if reply.is_empty() {
            break;
        }
        follow.handle_input(&reply, now);
        stream.extend(reply);
    }
    daemon.emit("vm1", "STOP", None);
    daemon.emit("vm2", "RESET", Some(r#"{"guest":false}"#));
    daemon.ping();
    daemon.emit_lifecycle("vm1", 5, 1);
    daemon.emit_control_error("vm2");
    stream.extend(daemon.take_output());
    stream
}

/// Returns all items of a stream in pieces, and the error that ended it, if any.
fn items<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Option<String>) {
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///system", now);
    let mut items = Vec::new();
    for piece in pieces {
        follow.handle_input(piece, now);
        loop {
            // The daemon of the recording had all its calls.
            follow.consume_transmit(follow.transmit().len());
            match follow.poll_item(now) {
                Ok(Some(item)) => items.push(words(&item)),
                Ok(None) => break,
                Err(error) => return (items, Some(error.to_string())),
            }
        }
        assert!(follow.held_bytes() <= 2 * (FRAME_MAX_BYTES + piece.len()));
    }
    (items, None)
}

/// A frame of any kind, more often of a known one, with a payload of words that are often small.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let program = prop_oneof![Just(REMOTE), Just(QEMU), Just(0x6b65_6570), any::<u32>()];
    let procedure = prop_oneof![
        prop::sample::select(vec![1, 2, 4, 6, 59, 60, 66, 157, 212, 229, 273, 316, 318, 325]),
        any::<u32>(),
    ];
    let words = prop::collection::vec(prop_oneof![3 => 0u32..20, 1 => any::<u32>()], 0..40);
    (program, 1u32..3, procedure, 0u32..7, 0u32..15, 0u32..4, words).prop_map(
        |(program, version, procedure, kind, serial, status, words)| {
            let payload: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            libvirt_frame([program, version, procedure, kind, serial, status], &payload)
        },
    )
}

proptest! {
    /// Where the stream is cut does not matter.
    #[test]
    fn cut_stream_gives_same_items(cuts in prop::collection::vec(1usize..40, 1..200)) {
        let stream = recorded();
        let (mut pieces, mut rest) = (Vec::new(), stream.as_slice());
        for length in cuts {
            let (piece, left) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        pieces.push(rest);
        let whole = items([stream.as_slice()]);
        prop_assert_eq!(&whole.1, &None);
        prop_assert_eq!(whole.0.len(), 9);
        prop_assert_eq!(items(pieces), whole);
    }

    /// No bytes cause a panic, whatever was exchanged before.
    #[test]
    fn any_bytes_cause_no_panic(
        start in 0usize..2000,
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let stream = recorded();
        items([&stream[..start.min(stream.len())], &bytes]);
    }

    /// No frames cause a panic, whatever their numbers are, and the memory stays bounded.
    #[test]
    fn any_frames_cause_no_panic(frames in prop::collection::vec(frame(), 0..60)) {
        items(frames.iter().map(Vec::as_slice));
        let stream = recorded();
        items(std::iter::once(stream.as_slice()).chain(frames.iter().map(Vec::as_slice)));
    }

    /// A changed byte of a conversation causes no panic.
    #[test]
    fn changed_byte_causes_no_panic(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut stream = recorded();
        let position = position.index(stream.len());
        stream[position] = byte;
        items([stream.as_slice()]);
    }
}

#[test]
fn hostile_counts_take_no_memory() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.unanswered.push((REMOTE, 273));
    conversation.open();
    // A list that announces the most domains and has none.
    conversation.daemon.send(&libvirt_frame([REMOTE, 1, 273, 1, 9, 0], &16_384u32.to_be_bytes()));
    let error = conversation.run().expect_err("malformed").to_string();
    assert_eq!(error, "a reply that is not as it must be: 4 bytes are needed and 0 are left");
    assert!(conversation.follow.held_bytes() < 64 << 10);
}

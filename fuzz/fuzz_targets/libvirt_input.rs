//! Input of a libvirt daemon: no panic, and memory in proportion to the bytes received. The first byte chooses where the
//! input is cut; then follow frames without their lengths, so that the fuzzer reaches payloads.
//!
//! `cargo +nightly fuzz run libvirt_input`
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use qmp_libvirt::Follow;

/// Bytes of a frame after its length, at most.
const FRAME_BYTES: usize = 120;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let now = Instant::now();
    let mut follow = Follow::new("qemu:///system", now);
    let mut stream = Vec::new();
    if choice & 128 == 0 {
        for frame in bytes.chunks(FRAME_BYTES) {
            stream.extend(u32::try_from(4 + frame.len()).unwrap().to_be_bytes());
            stream.extend(frame);
        }
    } else {
        stream.extend(bytes);
    }
    for piece in stream.chunks(1 + usize::from(choice & 127)) {
        follow.handle_input(piece, now);
        while let Ok(Some(_)) = follow.poll_item(now) {}
        follow.consume_transmit(follow.transmit().len());
        assert!(follow.held_bytes() <= (64 << 10) + 4 * stream.len());
    }
});

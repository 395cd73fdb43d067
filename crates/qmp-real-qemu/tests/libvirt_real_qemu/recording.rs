//! The frames of a session with a real libvirtd, for the fixtures of `qmp-libvirt`.
//!
//! With `QMP_CAPTURE_DIR` set, the test writes them to `VERSION.hex` there: one frame a line, `>` from the client and `<` from
//! the daemon, without keepalive.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use qmp_testing::{DomainXml, Libvirt};

use crate::follower::Follower;

/// The program of keepalive.
const KEEPALIVE: [u8; 4] = *b"keep";

#[test]
fn session_has_the_frames_of_a_recording() {
    let Some(libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let mut follower = Follower::connect(&libvirt);
    follower.until("attached vm1: running booted");
    for (command, last) in [
        (["suspend", "vm1"].as_slice(), "STOP"),
        (&["resume", "vm1"], "RESUME"),
        (&["reset", "vm1"], r#"RESET {"guest":false,"reason":"host-qmp-system-reset"}"#),
        (&["destroy", "vm1"], "detached destroyed"),
        (&["start", "vm1", "--paused"], "attached vm1 booted: paused user"),
        (&["destroy", "vm1"], "detached destroyed"),
    ] {
        libvirt.virsh(command);
        follower.until(last);
    }
    let frames = frames(&follower.close());
    let count = |direction| frames.iter().filter(|(one, _)| *one == direction).count();
    assert!(count('>') > 10 && count('<') > 20, "{} and {}", count('>'), count('<'));
    let Some(directory) = std::env::var_os("QMP_CAPTURE_DIR") else { return };
    let version = libvirt.virsh(&["version"]);
    let version = version.lines().find_map(|line| line.strip_prefix("Using library: libvirt "));
    let path = std::path::Path::new(&directory).join(format!("{}.hex", version.expect("a version")));
    let mut text = String::new();
    for (direction, frame) in frames {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{direction} {hex}").expect("writes to memory");
    }
    std::fs::write(path, text).expect("writes");
}

/// The frames of each direction, in the order of their ends.
fn frames(pieces: &[(char, Vec<u8>)]) -> Vec<(char, Vec<u8>)> {
    let mut rest: BTreeMap<char, Vec<u8>> = BTreeMap::new();
    let mut frames = Vec::new();
    for (direction, piece) in pieces {
        let rest = rest.entry(*direction).or_default();
        rest.extend(piece);
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
            let length = usize::try_from(length).expect("a length");
            if rest.len() < length {
                break;
            }
            let frame: Vec<u8> = rest.drain(..length).collect();
            if frame[4..8] != KEEPALIVE {
                frames.push((*direction, frame));
            }
        }
    }
    frames
}

//! Recorded exchanges: the monitor gets the input of a real QEMU, and sends the same output, byte for byte.
//!
//! `tests/real_qemu.rs` records them.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::fs;

use support::compare::{compare, directory, inputs};
use support::exchange::parse;

#[test]
fn monitor_replies_as_recorded() {
    let mut releases = Vec::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "inputs.txt" {
            continue;
        }
        let recorded = parse(&fs::read_to_string(&path).unwrap());
        assert!(recorded.len() >= 100, "{name} holds {} exchanges", recorded.len());
        compare(&recorded, &name);
        releases.push(name);
    }
    releases.sort();
    assert_eq!(releases, ["11.1.3.txt", "7.2.22.txt"]);
}

/// Every recorded exchange is one of the inputs, and vice versa.
#[test]
fn recording_has_exactly_the_inputs() {
    for release in ["7.2.22.txt", "11.1.3.txt"] {
        let mut recorded = parse(&fs::read_to_string(directory().join(release)).unwrap());
        recorded.iter_mut().for_each(|exchange| exchange.output.clear());
        assert_eq!(recorded, inputs(), "{release}: record it again");
    }
}

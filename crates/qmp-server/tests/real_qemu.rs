//! A real QEMU and the monitor get the same bytes and send the same, byte for byte.
//!
//! `QMP_RECORD=1 cargo test -p qmp-server --test real_qemu` records the output of the QEMU named by `QMP_QEMU`, or
//! of `qemu-system-x86_64`, into a file named after its version.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::fs;

use support::{
    compare::{claimed, compare, directory, inputs},
    exchange::{Exchange, print},
    qemu::{Qemu, program},
};

const HEAD: &str = "# Exchanges with a real QEMU. Recorded by the tests; see inputs.txt for the notation.\n";

/// Sends all inputs to a QEMU.
fn record(qemu: &Qemu) -> Vec<Exchange> {
    let mut exchanges = inputs();
    for exchange in &mut exchanges {
        exchange.output = exchange.run(qemu.connect());
    }
    exchanges
}

#[test]
fn monitor_replies_as_the_real_qemu() {
    let Some(program) = program() else { return };
    let qemu = Qemu::start(&program, &[]).expect("it was started before");
    let live = record(&qemu);
    if std::env::var_os("QMP_RECORD").is_some() {
        let ((major, minor, micro), _) = claimed(&live);
        let path = directory().join(format!("{major}.{minor}.{micro}.txt"));
        fs::write(path, print(HEAD, &live)).unwrap();
    }
    compare(&live, "the QEMU that runs here");
}

//! Progress of long work, on a pseudo-terminal.

mod support;

use std::io::Write as _;
use std::process::Command;

use qmp_testing::wait_for;
use support::pty::OnTerminal;
use support::{directory, event, qmp};

#[test]
fn progress_is_shown_while_a_recording_is_read() {
    let home = directory();
    let pipe = home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let listen = home.path().join("replay.sock");
    let arguments = ["replay", &pipe.display().to_string(), "--listen", &listen.display().to_string()];
    let replay = OnTerminal::start(&mut qmp(home.path(), arguments), 40);
    // Opening waits for the reader.
    let mut recording = std::fs::File::options().write(true).open(&pipe).expect("a pipe");
    let line = event("STOP", None);
    wait_for("progress", || {
        writeln!(recording, "{line}").expect("the program reads");
        replay.has_shown(" bytes").then_some(())
    });
    assert!(replay.has_shown("pipe: "), "it says what is read");
    drop(recording);
    // The line is cleared before the next text.
    wait_for("the text after it", || replay.has_shown("waiting for a client").then_some(()));
    assert!(
        replay.has_shown("\r\x1b[K\r\x1b[K") || replay.has_shown(" bytes\r\x1b[K"),
        "the line is cleared"
    );
}

#[test]
fn attaching_many_vms_shows_how_many_are_attached() {
    let home = directory();
    let vms: Vec<String> = (0..25).map(|vm| format!("--attach=vm{vm}=unix:/nonexistent/{vm}.sock")).collect();
    let arguments = ["serve"].into_iter().chain(vms.iter().map(String::as_str));
    let hub = OnTerminal::start(&mut qmp(home.path(), arguments), 40);
    hub.wait_for("attaching: 0 %, 0 of 25 VMs");
}

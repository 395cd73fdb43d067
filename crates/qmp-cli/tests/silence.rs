//! The reports of the program about a machine that hangs.

mod support;

use qmp_testing::wait_for;
use serde_json::Value;
use support::{Process, directory, run, start_hub_with};

/// Runs the command until it prints something.
fn until(home: &std::path::Path, arguments: &[&str]) -> Value {
    let output = wait_for(&format!("output of {arguments:?}"), || {
        Some(run(home, arguments)).filter(|ran| !ran.stdout.is_empty())
    });
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn hanging_machine_is_silent_until_it_answers() {
    let home = directory();
    let script = home.path().join("hang.toml");
    // The first eight replies pass: the capabilities, the six of the snapshot, and one to the test.
    let hang =
        "[[fault]]\nkind = \"delay\"\nof = \"reply\"\nconnection = 1\nskip = 8\nrepeat = 1\nby = \"6s\"\n";
    std::fs::write(&script, hang).expect("writes");
    let config = home.path().join("hub.toml");
    std::fs::write(&config, "silent-after = \"1s\"\n").expect("writes");
    let socket = home.path().join("web1.sock");
    let (socket, script) = (socket.to_str().expect("a path"), script.to_str().expect("a path"));
    let machine = Process::start(home.path(), &["emulate", "--listen", socket, "--script", script]);
    machine.wait_for("Ctrl-C ends the machine");
    let _hub = start_hub_with(
        home.path(),
        &format!("unix:{socket}"),
        &["--config", config.to_str().expect("a path")],
    );

    let silent = until(home.path(), &["log", "--where", "finding=silent", "--json"]);
    let shown = until(home.path(), &["status", "web1"]);
    assert_eq!(shown["silent_since"], silent["data"]["silent_since"], "{shown}");
    let again = until(home.path(), &["log", "--where", "finding=answers-again", "--json"]);
    assert_eq!(again["data"]["silent_since"], silent["data"]["silent_since"]);
    let shown = until(home.path(), &["status", "web1"]);
    assert_eq!(shown.get("silent_since"), None, "{shown}");
}

//! What an operator asks about the VMs: trouble, states, notes, clients of relays.

use std::os::unix::net::UnixStream;

use qmp_testing::wait_for;
use serde_json::json;

use crate::machine::{attached, exec, hub, json, machine};
use crate::support::pty::OnTerminal;
use crate::support::{directory, qmp, run};

#[test]
fn status_lists_only_vms_in_trouble_or_in_a_state() {
    let home = directory();
    let (machine, address) = machine(home.path(), "web1");
    let _hub = hub(home.path(), &address, "");
    let ask = |arguments: &[&str]| run(home.path(), &[&["status"], arguments].concat());
    for arguments in [&["--trouble"] as &[&str], &["--state", "paused,io-error"]] {
        let ran = ask(arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    }
    exec(home.path(), "stop");
    let paused = ask(&["--state", "paused,io-error"]);
    assert!(paused.code == Some(1) && paused.stdout.contains("\"vm\":\"web1\""), "{paused:?}");
    assert_eq!(ask(&["--trouble"]).code, Some(0), "a paused VM may be so on purpose");
    machine.signal("KILL");
    let trouble = wait_for("trouble", || Some(ask(&["--trouble"])).filter(|ran| ran.code == Some(1)));
    assert!(trouble.stdout.contains("\"vm\":\"web1\""), "{trouble:?}");
    let unknown = ask(&["--state", "pased"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("did you mean paused?"), "{unknown:?}");
}

#[test]
fn note_is_shown_with_its_author() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let _hub = hub(home.path(), &address, "");
    exec(home.path(), "stop");
    let stop = &json(home.path(), &["log", "web1", "--event", "STOP"])[0];
    let about = stop["offset"].to_string();
    let offset = &json(home.path(), &["note", "web1", "looked", "at this", "--about", &about])[0]["offset"];
    let note = &json(home.path(), &["log", "--where", "finding=note"])[0];
    assert_eq!(note["offset"], *offset);
    assert_eq!(note["data"]["text"], "looked at this");
    assert_eq!(note["data"]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(note["causes"], json!([[stop["epoch"], stop["seq"]]]));
    let why = &json(home.path(), &["why", "web1"])[0];
    let evidence = why["evidence"].as_array().expect("records");
    assert!(evidence.contains(note), "{why}");

    // A later state has none.
    exec(home.path(), "cont");
    let why = wait_for("the next state", || {
        json(home.path(), &["why", "web1"]).into_iter().find(|why| why["run_state"] == "running")
    });
    assert!(!why["evidence"].as_array().expect("records").contains(note), "{why}");
    let refused = run(home.path(), &["note", "web2", "x"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("did you mean web1?"), "{refused:?}");
    let refused = run(home.path(), &["note", "web1", "x", "--about", "999999"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("no record 999999"), "{refused:?}");
}

#[test]
fn clients_of_a_relay_are_listed() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let relay = home.path().join("r.qmp");
    // The relay of a VM of the configuration.
    let text = format!("[[vm]]\nname = 'web2'\naddress = '{}2'\nrelay = '{}'\n", address, relay.display());
    let (_second, _) = machine_at(home.path(), &format!("{address}2"));
    let _hub = hub(home.path(), &address, &text);
    attached(home.path(), "web2");
    let _client = UnixStream::connect(&relay).expect("connects");
    let connected = wait_for("the client", || {
        let vm = json(home.path(), &["status", "web2"]).remove(0);
        let connected = vm["relays"][0]["connected"].clone();
        (connected.as_array().map(Vec::len) == Some(1)).then_some(connected)
    });
    assert_eq!(connected[0]["pid"], std::process::id());
    assert_eq!(connected[0]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(connected[0]["commands"], 0);
    let (_, shown) = OnTerminal::start(qmp(home.path(), ["status", "web2"]).env("NO_COLOR", "1"), 40).end();
    assert!(shown.contains(&format!("pid {}", std::process::id())), "{shown}");
}

fn machine_at(home: &std::path::Path, address: &str) -> (crate::support::Process, String) {
    let machine = crate::support::Process::start(home, &["emulate", "--listen", address]);
    machine.wait_for("Ctrl-C ends the machine");
    (machine, address.to_owned())
}

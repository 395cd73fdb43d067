//! A new user's first hour: attach, command, watch, read back, stop and start again.

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hub::{Place, title},
    qemu::{Qemu, wait_for},
};

/// `stop`, `cont`, `system_reset` and `quit` by `qmp exec` show in `qmp tail` at once and in `qmp log` afterwards,
/// and stand before their replies; the hub stopped in between shows as a closed and a new epoch.
#[test]
fn commands_and_their_events() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let place = Place::new(&folder);
    let address = qemu.address("vm1");

    let hub = place.serve(&[("vm1", &address)]);
    let tail = place.listen(&["tail", "vm1", "--json"]);
    // A tail begins at the head it found; one event tells that it listens.
    wait_for("tail to listen", || {
        exec(&place, "stop");
        exec(&place, "cont");
        tail.try_next()
    });
    let mut seen = 0;
    for (command, event) in [("stop", "STOP"), ("cont", "RESUME"), ("system_reset", "RESET")] {
        let reply = exec(&place, command);
        let record = loop {
            let record: Value = serde_json::from_str(&tail.next()).unwrap();
            if title(&record) == event && record["offset"].as_u64() > reply["since"].as_u64() {
                break record;
            }
        };
        assert!(
            record["offset"].as_u64() <= reply["offset"].as_u64(),
            "{command}: event first, then the reply"
        );
        assert!(record["offset"].as_u64() > Some(seen), "{command}: in order");
        seen = record["offset"].as_u64().unwrap();
    }
    hub.stop();

    let hub = place.serve(&[("vm1", &address)]);
    exec(&place, "quit");
    qemu.wait_for_exit();
    // The first epoch has ended, too. The record of the command may come last.
    let ends = || place.story().iter().filter(|title| *title == "detached").count();
    wait_for("the hub to notice", || (ends() == 2).then_some(()));
    hub.stop();

    let log = place.json(&["log", "--json"]);
    let offsets: Vec<u64> = log.iter().map(|record| record["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "offsets have no holes");
    let story = place.story();
    let first_end = story.iter().position(|title| title == "detached").expect("the first epoch ended");
    assert_eq!(story[0], "attached");
    assert_eq!(log[first_end]["reason"], "hub stopped");
    // The firmware answers a reset with one or two of its own, a moment later.
    let is_told = |record: &&Value| title(record) != "RESET" && record["kind"] != "finding";
    let second: Vec<&Value> = log[first_end + 1..].iter().filter(is_told).collect();
    let titles: Vec<String> = second.iter().map(|record| title(record)).collect();
    assert_eq!(titles, ["attached", "SHUTDOWN", "detached"]);
    assert_eq!(second[0]["epoch"], 2);
    assert_eq!(second[1]["data"]["reason"], "host-qmp-quit");
    assert_eq!(second[2]["reason"], "peer closed");
}

/// A QEMU that dies without a word, and comes back, is two epochs with a gap between them.
#[test]
fn killed_and_started_again() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let place = Place::new(&folder);
    let hub = place.serve(&[("vm1", &qemu.address("vm1"))]);
    qemu.kill();
    std::fs::remove_file(qemu.socket("vm1")).unwrap();
    let _again = Qemu::start(&folder, &["vm1"], &[]);
    wait_for("the second epoch", || (place.story() == ["attached", "detached", "attached"]).then_some(()));
    assert_eq!(place.json(&["log", "--json"])[1]["reason"], "peer closed");
    hub.stop();
}

fn exec(place: &Place, command: &str) -> Value {
    place.json(&["exec", "vm1", command, "--json"]).remove(0)
}

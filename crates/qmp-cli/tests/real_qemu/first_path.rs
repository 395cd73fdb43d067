//! The first steps of a user: attach, send commands, follow, read the log, stop and restart.

use qmp_testing::wait_for;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hub::{HubHome, title},
    qemu::Qemu,
};

/// The events of `stop`, `cont`, `system_reset` and `quit` by `qmp exec` are shown by `qmp tail` at once and by `qmp log`
/// afterwards, before their replies; stopping the hub in between closes an epoch and opens another.
#[test]
fn events_of_commands_are_recorded_before_their_replies() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
    let address = qemu.address("vm1");

    let hub = home.serve(&[("vm1", &address)]);
    let tail = home.listen(&["tail", "vm1", "--json"]);
    // Tail begins at the head; an event shows that it is connected.
    wait_for("tail to listen", || {
        exec(&home, "stop");
        exec(&home, "cont");
        tail.try_next()
    });
    let mut seen = 0;
    for (command, event) in [("stop", "STOP"), ("cont", "RESUME"), ("system_reset", "RESET")] {
        let reply = exec(&home, command);
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

    let hub = home.serve(&[("vm1", &address)]);
    exec(&home, "quit");
    qemu.wait_for_exit();
    // The first epoch has ended, too. The record of the command may come last.
    let ends = || home.titles().iter().filter(|title| *title == "detached").count();
    wait_for("the hub to notice", || (ends() == 2).then_some(()));
    hub.stop();

    let log = home.json(&["log", "--json"]);
    let offsets: Vec<u64> = log.iter().map(|record| record["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "offsets have no holes");
    let titles = home.titles();
    let first_end = titles.iter().position(|title| title == "detached").expect("the first epoch ended");
    assert_eq!(titles[0], "attached");
    assert_eq!(log[first_end]["reason"], "hub stopped");
    // The firmware causes one or two further resets a moment later.
    let is_counted = |record: &&Value| title(record) != "RESET" && record["kind"] != "finding";
    let second: Vec<&Value> = log[first_end + 1..].iter().filter(is_counted).collect();
    let titles: Vec<String> = second.iter().map(|record| title(record)).collect();
    assert_eq!(titles, ["attached", "SHUTDOWN", "detached"]);
    assert_eq!(second[0]["epoch"], 2);
    assert_eq!(second[1]["data"]["reason"], "host-qmp-quit");
    assert_eq!(second[2]["reason"], "peer closed");
}

/// A QEMU that is killed and started again is two epochs with a gap between them.
#[test]
fn qemu_killed_and_restarted_is_two_epochs() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
    let hub = home.serve(&[("vm1", &qemu.address("vm1"))]);
    qemu.kill();
    std::fs::remove_file(qemu.socket("vm1")).unwrap();
    let _again = Qemu::start(&folder, &["vm1"], &[]);
    wait_for("the second epoch", || (home.titles() == ["attached", "detached", "attached"]).then_some(()));
    assert_eq!(home.json(&["log", "--json"])[1]["reason"], "peer closed");
    hub.stop();
}

fn exec(home: &HubHome, command: &str) -> Value {
    home.json(&["exec", "vm1", command, "--json"]).remove(0)
}

//! `qmp log` and `qmp stats`, as an operator writes them.

use crate::machine::{exec, hub, json, machine};
use crate::support::{directory, event, run, start_hub};
use qmp_testing::{MonitorThread, respond};

#[test]
fn log_takes_names_and_prints_the_newest_first() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let running = hub(home.path(), &address, "");
    for command in ["stop", "cont", "system_reset"] {
        exec(home.path(), command);
    }
    let forward = json(home.path(), &["log", "web1"]);
    assert!(forward.len() > 4, "{forward:#?}");
    let turned: Vec<_> = forward.iter().rev().cloned().collect();
    assert_eq!(json(home.path(), &["log", "web1", "-r"]), turned);
    assert_eq!(json(home.path(), &["log", "-r", "-n", "2"]), turned[..2]);
    let after = forward[1]["offset"].to_string();
    assert_eq!(json(home.path(), &["log", "-r", "--after", &after]), turned[..turned.len() - 2]);
    assert_eq!(running.interrupt(), Some(0));
    let journal = home.path().join("journal.db");
    let journal = journal.to_str().expect("text");
    let file = json(home.path(), &["log", "web*", "--journal", journal]);
    let turned: Vec<_> = file.into_iter().rev().collect();
    assert_eq!(json(home.path(), &["log", "web*", "-r", "--journal", journal]), turned);
}

#[test]
fn log_notes_unknown_names_and_members() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let _hub = hub(home.path(), &address, "");
    let cases: [(&[&str], &str); 3] = [
        (&["log", "web9"], "the journal has no VM web9; did you mean web1?"),
        (&["log", "--vm", "web9"], "the journal has no VM web9; did you mean web1?"),
        (&["log", "--event", "STOP", "--where", "execute=stop"], "execute"),
    ];
    for (arguments, expected) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
        assert!(ran.stderr.contains("note: ") && ran.stderr.contains(expected), "{ran:?}");
    }
}

#[test]
fn stats_count_by_a_member_and_by_vm() {
    let home = directory();
    let vm = MonitorThread::start_with(home.path().join("web1.sock"), |command, request| match command {
        "fail" => {
            let error = |node: &str| {
                event("BLOCK_IO_ERROR", Some(&format!(r#"{{"node-name": "{node}", "action": "report"}}"#)))
            };
            let reset = event("RESET", Some(r#"{"guest": true}"#));
            vec![error("disk0"), error("disk1"), error("disk0"), reset, "{\"return\": {}}".to_owned()]
        }
        _ => respond(command, request),
    });
    let hub = start_hub(home.path(), &vm.address());
    exec(home.path(), "fail");
    let by_disk = ["stats", "--by", "data.node-name", "--event", "BLOCK_IO_ERROR"];
    let counts = |arguments: &[&str]| -> Vec<(String, u64)> {
        let counted = json(home.path(), arguments);
        counted
            .iter()
            .map(|line| {
                (line["name"].as_str().expect("a name").to_owned(), line["count"].as_u64().expect("a count"))
            })
            .collect()
    };
    let expected = [("disk0".to_owned(), 2), ("disk1".to_owned(), 1)];
    assert_eq!(counts(&by_disk), expected);
    assert_eq!(
        counts(&["stats", "--by", "vm", "--event", "RESET", "--since", "7d"]),
        [("web1".to_owned(), 1)]
    );
    assert_eq!(hub.interrupt(), Some(0));
    let journal = home.path().join("journal.db");
    let from_file = [&by_disk[..], &["--journal", journal.to_str().expect("text")]].concat();
    assert_eq!(counts(&from_file), expected);
    let refused = run(home.path(), &["stats", "--by", "node-name"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("data.node-name"), "{refused:?}");
}

//! Silences, and VMs that rules exclude.

use serde_json::json;

use crate::machine::{attached, exec, hub, json, lines, machine};
use crate::support::pty::OnTerminal;
use crate::support::{directory, qmp, run};

#[test]
fn pattern_after_an_exclamation_mark_excludes() {
    let home = directory();
    let (_web1, address) = machine(home.path(), "web1");
    let (_noisy, noisy) = machine(home.path(), "noisy1");
    let log = home.path().join("log.jsonl");
    let text = format!(
        "[[vm]]\nname = 'noisy1'\naddress = '{noisy}'\n\
         [[rule]]\nname = 'log'\nevent = 'STOP'\nvm = ['*', '!noisy1']\nfile = '{}'\n",
        log.display()
    );
    let _hub = hub(home.path(), &address, &text);
    attached(home.path(), "noisy1");
    assert_eq!(run(home.path(), &["exec", "noisy1", "stop"]).code, Some(0));
    exec(home.path(), "stop");
    let delivered = lines(&log, 1);
    assert_eq!(delivered[0]["vm"], "web1");
    let all = json(home.path(), &["log", "--event", "STOP"]);
    assert_eq!(all.len(), 2, "{all:#?}");
    let others = json(home.path(), &["log", "--event", "STOP", "--vm", "!noisy*"]);
    assert_eq!(others, delivered);
}

#[test]
fn silence_holds_rules_back_and_is_on_record() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let (page, archive) = (home.path().join("page.jsonl"), home.path().join("archive.jsonl"));
    let text = format!(
        "[[rule]]\nname = 'page'\nevent = 'STOP'\nrun = ['/bin/sh', '-c', 'cat >>{}']\n\
         [[rule]]\nname = 'archive'\nevent = 'STOP'\nfile = '{}'\n",
        page.display(),
        archive.display()
    );
    let first = hub(home.path(), &address, &text);
    let silenced = json(home.path(), &["silence", "web*", "--for", "1h", "--reason", "new disk"]);
    assert_eq!(silenced[0]["vms"], json!(["web1"]));
    exec(home.path(), "stop");
    assert_eq!(lines(&archive, 1).len(), 1, "a file takes every record");

    // The silence survives a restart.
    assert_eq!(first.interrupt(), Some(0));
    let _hub = hub(home.path(), &address, &text);
    exec(home.path(), "cont");
    exec(home.path(), "stop");
    lines(&archive, 2);
    let ended = json(home.path(), &["silence", "web*", "--end"]);
    assert_eq!(ended[0]["vms"], json!(["web1"]));
    exec(home.path(), "cont");
    exec(home.path(), "stop");
    let third = &lines(&archive, 3)[2];
    assert_eq!(lines(&page, 1), std::slice::from_ref(third), "only what came after the silence");

    let records = json(home.path(), &["log", "--where", "finding=silence"]);
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_eq!(records[0]["data"]["reason"], "new disk");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(records[0]["data"]["uid"], uid);
}

#[test]
fn silence_is_listed_and_wrong_ones_are_refused() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let text = "[[rule]]\nname = 'page'\nevent = 'STOP'\nrun = '/bin/true'\n";
    let _hub = hub(home.path(), &address, text);
    let cases: [(&[&str], i32, &str); 5] = [
        (&["silence", "web2", "--for", "1h", "--reason", "x"], 4, "did you mean web1?"),
        (&["silence", "web1", "--rule", "pge", "--for", "1h", "--reason", "x"], 1, "did you mean page?"),
        (&["silence", "web1", "--for", "40d", "--reason", "x"], 2, "31 d at most"),
        (&["silence", "web1", "--for", "1h"], 2, "--reason"),
        (&["silence", "web1", "--reason", "x"], 2, "--for"),
    ];
    for (arguments, code, expected) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    let begun =
        run(home.path(), &["silence", "web1", "--rule", "page", "--for", "2h", "--reason", "new disk"]);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    let (_, status) = OnTerminal::start(qmp(home.path(), ["status"]).env("NO_COLOR", "1"), 40).end();
    assert!(status.contains("silenced web1") && status.contains("rule page, until"), "{status}");
    assert!(status.contains("new disk"), "{status}");
}

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
    let [page, archive, all] = ["page", "archive", "all"].map(|name| home.path().join(name));
    let text = format!(
        "[[rule]]\nname = 'page'\nevent = 'STOP'\nrun = ['/bin/sh', '-c', 'cat >>{}']\n\
         [[rule]]\nname = 'archive'\nevent = 'STOP'\nfile = '{}'\n\
         [[rule]]\nname = 'all'\nrun = ['/bin/sh', '-c', 'grep STOP >>{}']\n",
        page.display(),
        archive.display(),
        all.display(),
    );
    let first = hub(home.path(), &address, &text);
    let silenced = json(home.path(), &["silence", "web*", "--for", "1h", "--reason", "new disk"]);
    assert_eq!(silenced[0]["vms"], json!(["web1"]));
    exec(home.path(), "stop");
    assert_eq!(lines(&archive, 1).len(), 1, "a file takes every record");
    // A rule without a selection takes every record.
    lines(&all, 1);

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
    let cases: [(&[&str], i32, &str); 9] = [
        (&["silence", "web2", "--for", "1h", "--reason", "x"], 4, "did you mean web1?"),
        (&["silence", "web1", "--rule", "pge", "--for", "1h", "--reason", "x"], 1, "did you mean page?"),
        (&["silence", "web1", "--for", "40d", "--reason", "x"], 2, "31 d at most"),
        (&["silence", "web1", "--for", "1h"], 2, "--reason"),
        (&["silence", "web1", "--reason", "x"], 2, "--for"),
        (&["silence", "web1", "--for", "0s", "--reason", "x"], 2, "1 s at least"),
        (&["silence", "--for", "1h", "--reason", "x"], 2, "VM|GLOB"),
        (&["silence", "web1", "--end"], 1, "no silence of web1; no rule is silenced"),
        (&["silence", "web1", "--rule", "page", "--end"], 1, "no silence of web1 for the rule page"),
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
    let listed = json(home.path(), &["silence"]);
    assert_eq!((listed.len(), &listed[0]["vms"], &listed[0]["rule"]), (1, &json!("web1"), &json!("page")));
    let (_, listed) = OnTerminal::start(qmp(home.path(), ["silence"]).env("NO_COLOR", "1"), 40).end();
    assert!(listed.starts_with("silenced web1: rule page"), "{listed}");
    // A silence of the VM by another pattern, or for all rules, is not this one.
    let ended = run(home.path(), &["silence", "web*", "--rule", "page", "--end"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("there are silences of web1 for the rule page"), "{ended:?}");
}

#[test]
fn silence_is_for_vms_that_start_later_and_for_those_that_left() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let (other, socket) = machine(home.path(), "db1");
    let page = home.path().join("page");
    let rule = format!(
        "[[rule]]\nname = 'page'\nevent = 'STOP'\nrun = ['/bin/sh', '-c', 'cat >>{}']\n",
        page.display()
    );
    let both = format!("[[vm]]\nname = 'db1'\naddress = '{socket}'\n{rule}");
    let first = hub(home.path(), &address, &both);
    attached(home.path(), "db1");
    assert_eq!(first.interrupt(), Some(0));

    let second = hub(home.path(), &address, &rule);
    let of_left = json(home.path(), &["silence", "db1", "--for", "1h", "--reason", "off"]);
    assert_eq!(of_left[0]["vms"], json!(["db1"]));
    let later = run(home.path(), &["silence", "db*", "--for", "1h", "--reason", "new disk"]);
    assert_eq!(later.code, Some(0), "{later:?}");
    assert!(later.stderr.contains("note: no VM matches \"db*\" at present"), "{later:?}");
    // A second silence says which one it replaces.
    let again = json(home.path(), &["silence", "db*", "--for", "2h", "--reason", "new disk"]);
    assert_eq!(again[0]["replaced"]["reason"], "new disk", "{again:#?}");
    json(home.path(), &["silence", "db1", "--end"]);
    assert_eq!(second.interrupt(), Some(0));

    let _hub = hub(home.path(), &address, &both);
    attached(home.path(), "db1");
    assert_eq!(run(home.path(), &["exec", "db1", "stop"]).code, Some(0));
    exec(home.path(), "stop");
    let paged = lines(&page, 1);
    assert_eq!((paged.len(), &paged[0]["vm"]), (1, &json!("web1")), "db1 is silenced: {paged:#?}");
    drop(other);
}

#[test]
fn end_of_a_reported_state_is_delivered_in_a_silence() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let [page, archive] = ["page", "archive"].map(|name| home.path().join(name));
    let text = format!(
        "[[rule]]\nname = 'page'\nevent = ['STOP', 'RESUME']\nrun = ['/bin/sh', '-c', 'cat >>{}']\n\
         [[rule]]\nname = 'archive'\nevent = ['STOP', 'RESUME']\nfile = '{}'\n",
        page.display(),
        archive.display(),
    );
    let first = hub(home.path(), &address, &text);
    exec(home.path(), "stop");
    lines(&page, 1);
    json(home.path(), &["silence", "web1", "--for", "1h", "--reason", "new disk"]);
    // The hub remembers over a restart what the receiver knows.
    assert_eq!(first.interrupt(), Some(0));
    let _hub = hub(home.path(), &address, &text);
    for command in ["cont", "stop", "cont"] {
        exec(home.path(), command);
    }
    lines(&archive, 4);
    json(home.path(), &["silence", "web1", "--end"]);
    exec(home.path(), "stop");
    let events: Vec<_> = lines(&page, 3).iter().map(|record| record["event"].clone()).collect();
    assert_eq!(events, ["STOP", "RESUME", "STOP"]);
    assert_eq!(lines(&archive, 5).len(), 5);
}

#[test]
fn alert_that_a_silence_holds_back_is_raised_once_the_silence_ends() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let log = home.path().join("alerts.jsonl");
    let rule = format!(
        "[[rule]]\nname = 'stopped'\nstate = ['paused']\nat-most = '1 per 1s'\n\
         run = ['/bin/sh', '-c', 'cat >>{}']\n",
        log.display()
    );
    let first = hub(home.path(), &address, &rule);
    let silence = json(home.path(), &["silence", "web1", "--for", "3s", "--reason", "new disk"]);
    let until = silence[0]["until"].as_str().expect("a time");
    exec(home.path(), "stop");
    // The end of the silence is not forgotten over a restart.
    assert_eq!(first.interrupt(), Some(0));
    let _hub = hub(home.path(), &address, &rule);
    let alert = &lines(&log, 1)[0];
    assert_eq!(alert["finding"], "alert");
    assert!(alert["received"].as_str().is_some_and(|received| received >= until), "{alert} before {until}");
    exec(home.path(), "cont");
    assert_eq!(lines(&log, 2)[1]["finding"], "resolved");
    assert_eq!(json(home.path(), &["log", "--where", "finding=alert"]).len(), 1);
}

#[test]
fn confirmation_of_a_silence_is_shown_on_a_terminal() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let (_db, socket) = machine(home.path(), "db1");
    let _hub = hub(home.path(), &address, &format!("[[vm]]\nname = 'db1'\naddress = '{socket}'\n"));
    attached(home.path(), "db1");
    let arguments = ["silence", "web1", "--for", "1h", "--reason", "new disk"];
    let shown =
        |arguments: &[&str]| OnTerminal::start(qmp(home.path(), arguments).env("NO_COLOR", "1"), 40).end().1;
    assert!(shown(&arguments).starts_with("silenced web1 until "));
    assert!(shown(&arguments).contains("in place of the silence until "));
    // The page of a VM has its own silences; the VMs are in the order of their names.
    assert!(!shown(&["status", "db1"]).contains("silenced"));
    assert!(shown(&["status", "web1"]).contains("silenced web1"));
    let status = shown(&["status"]);
    let places = ["db1", "web1", "\nsilenced web1"].map(|text| status.replace('\r', "").find(text));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{status}");
}

#[test]
fn usage_of_an_error_lacks_what_the_environment_gives() {
    let home = directory();
    let ran = run(home.path(), &["note", "web1"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("Usage: qmp note") && !ran.stderr.contains("--hub"), "{ran:?}");
}

//! `qmp tail --from`: what a terminal shows of a stream, and what the server filters.

use std::time::Duration;

use qmp_testing::{NatsServer, wait_for};
use serde_json::Value;

use crate::hosts::{FleetHub, Host, STORM};
use crate::jetstream::{consumer_filters, stream};
use crate::support::pty::OnTerminal;
use crate::support::{Process, directory, line_with, qmp, run};

/// A server with two hosts that publish to it.
struct Site {
    _home: tempfile::TempDir,
    server: NatsServer,
    node1: Host,
    node2: Host,
}

impl Site {
    fn start(program: &std::path::Path) -> Self {
        let home = directory();
        let server = NatsServer::start(program, home.path(), "");
        let rule = format!("nats = '{}'", server.url());
        let node1 = Host::start("node1", &["web1", "web2", "db.1"], &rule);
        let node2 = Host::start("node2", &["web1"], &rule);
        let site = Self { _home: home, server, node1, node2 };
        // Each VM is attached.
        site.wait_for_messages(4);
        site
    }

    /// Waits until the stream has so many messages.
    fn wait_for_messages(&self, count: u64) {
        wait_for("messages", || {
            let stream = stream(&self.server)?;
            (stream["state"]["last_seq"].as_u64() >= Some(count)).then_some(())
        });
    }

    /// Starts `qmp tail --from` with further arguments.
    fn tail(&self, arguments: &[&str]) -> Process {
        let url = self.server.url();
        Process::start(self.node1.home.path(), &[&["tail", "--from", &url], arguments].concat())
    }

    /// Waits until so many consumers read the stream.
    fn wait_for_consumers(&self, count: usize) -> Vec<Vec<String>> {
        wait_for("consumers", || {
            let filters = consumer_filters(&self.server);
            (filters.len() == count).then_some(filters)
        })
    }

    /// Whether the server filters by several subjects.
    fn has_several_filters(&self) -> bool {
        let version = crate::jetstream::monitoring(&self.server, "/varz")["version"].to_string();
        !version.starts_with("\"2.9.")
    }
}

/// The VM with its host, and the event, of each record until `last`.
fn shown_until(tail: &Process, last: &str) -> Vec<String> {
    let mut shown = Vec::new();
    while shown.last().is_none_or(|one| one != last) {
        let line = tail.stdout.recv_timeout(Duration::from_secs(20));
        let line = line.unwrap_or_else(|error| panic!("{error} after {shown:?}"));
        let record: Value = serde_json::from_str(&line).expect("JSON");
        let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
        shown.push(format!("{}/{} {}", text("host"), text("vm"), text("event")));
    }
    shown
}

#[test]
fn server_filters_by_names_and_the_terminal_by_patterns() {
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str]);
    //  arguments, VMs of which STOP is shown, subjects
    let cases: [Case<'_>; 8] = [
        (&[], &["node1/web1", "node1/web2", "node1/db.1", "node2/web1"], &[]),
        (&["web1"], &["node1/web1", "node2/web1"], &["qmp.v1.*.web1.*.*"]),
        (&["--vm", "web*"], &["node1/web1", "node1/web2", "node2/web1"], &[]),
        (&["web*", "--host", "node1"], &["node1/web1", "node1/web2"], &["qmp.v1.node1.*.*.*"]),
        (&["--vm", "node1/db.1"], &["node1/db.1"], &["qmp.v1.node1.db%2E1.*.*"]),
        (&["--host", "!node1", "--kind", "event"], &["node2/web1"], &["qmp.v1.*.*.event.*"]),
        (
            &["--vm", "web1", "--event", "STOP", "--kind", "event", "--host", "node?"],
            &["node1/web1", "node2/web1"],
            &["qmp.v1.*.web1.event.STOP"],
        ),
        (
            &["web2", "db.1", "--host", "node1"],
            &["node1/web2", "node1/db.1"],
            &["qmp.v1.node1.db%2E1.*.*", "qmp.v1.node1.web2.*.*"],
        ),
    ];
    for program in NatsServer::programs() {
        let site = Site::start(program);
        let tails: Vec<Process> = cases.iter().map(|(arguments, ..)| site.tail(arguments)).collect();
        let filters = site.wait_for_consumers(cases.len());
        for (arguments, _, expected) in &cases {
            let mut expected: Vec<String> = expected.iter().map(|&subject| subject.to_owned()).collect();
            if expected.len() > 1 && !site.has_several_filters() {
                expected = vec!["qmp.v1.node1.*.*.*".into()];
            }
            let has = |filter: &Vec<String>| {
                let mut filter = filter.clone();
                filter.sort();
                filter == expected
            };
            assert!(filters.iter().any(has), "{arguments:?}: {expected:?} in {filters:?}");
        }
        for vm in ["web1", "web2", "db.1"] {
            site.node1.execute(vm, "query-stop");
        }
        site.node2.execute("web1", "query-stop");
        for ((arguments, expected, subjects), tail) in cases.iter().zip(&tails) {
            let expected: Vec<String> = expected.iter().map(|vm| format!("{vm} STOP")).collect();
            let last = expected.last().expect("a VM");
            let mut shown = shown_until(tail, last);
            // The records of one host are in order, and those of two are not.
            shown.sort();
            let mut sorted = expected.clone();
            sorted.sort();
            shown.retain(|one| one.ends_with("STOP"));
            assert_eq!(shown, sorted, "{arguments:?}");
            if subjects.len() > 1 && !site.has_several_filters() {
                let note = line_with(&tail.stderr, "note: ");
                assert!(
                    note.contains("nats-server 2.9") && note.contains("has not applied the filter"),
                    "{note}"
                );
            }
        }
        for tail in tails {
            let notes: Vec<String> = tail.stderr.try_iter().collect();
            assert_eq!((tail.interrupt(), notes), (Some(0), Vec::new()));
        }
        assert_eq!(site.wait_for_consumers(0), Vec::<Vec<String>>::new(), "they are removed at the end");
    }
}

#[test]
fn stream_is_shown_as_a_fleet_hub_shows_it() {
    let Some(program) = NatsServer::programs().first() else { return };
    let site = Site::start(program);
    let fleet = FleetHub::start(&format!("nats = '{}'", site.server.url()));
    wait_for("the fleet hub", || {
        (fleet.run(&["log", "--host", "*"]).stdout.lines().count() == 4).then_some(())
    });
    let of_hub = Process::start(fleet.home.path(), &["tail", "--json"]);
    let of_stream = site.tail(&["--json"]);
    site.wait_for_consumers(2);
    let command = &mut qmp(site.node1.home.path(), ["tail", "--from", &site.server.url(), "--utc"]);
    let terminal = OnTerminal::start(command, 24);
    terminal.wait_for("following nats://127.0.0.1");
    site.wait_for_consumers(3);
    // The tail of the hub begins at its start, which nothing announces.
    let without_offset = |line: String| {
        let mut record: Value = serde_json::from_str(&line).expect("JSON");
        record.as_object_mut().expect("an object").remove("offset").expect("an offset");
        record
    };
    let first = wait_for("a record", || {
        site.node1.execute("web1", "query-stop");
        of_hub.stdout.try_iter().next()
    });
    let first = without_offset(first);
    site.node1.execute("web1", "query-cont");
    let until_resume = |tail: &Process| {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|record: &Value| record["event"] != "RESUME") {
            lines.push(without_offset(line_with(&tail.stdout, "")));
        }
        lines
    };
    let (mut of_hub, of_stream) = (until_resume(&of_hub), until_resume(&of_stream));
    of_hub.insert(0, first.clone());
    let begin = of_stream.iter().position(|record| *record == first).expect("the first record");
    assert_eq!(of_stream[begin..], of_hub[..]);
    terminal.wait_for("node1/web1");
    terminal.wait_for("RESUME");
    terminal.signal("INT");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn tail_continues_after_the_server_is_back() {
    for program in NatsServer::programs() {
        let mut site = Site::start(program);
        let mut tail = site.tail(&["--vm", "node1/web1", "--kind", "event"]);
        site.wait_for_consumers(1);
        site.node1.execute("web1", "storm");
        let mut events: Vec<String> = (0..STORM).map(|_| line_with(&tail.stdout, "RTC_CHANGE")).collect();
        site.server.kill();
        line_with(&tail.stderr, "; retrying");
        site.node1.execute("web1", "storm");
        site.server.restart();
        let back = line_with(&tail.stderr, "");
        // Attempts in between may have failed otherwise.
        if !back.contains("is read again") {
            line_with(&tail.stderr, "is read again");
        }
        site.node1.execute("web1", "query-stop");
        events.extend((0..STORM).map(|_| line_with(&tail.stdout, "RTC_CHANGE")));
        assert!(line_with(&tail.stdout, "").contains("STOP"), "each record is shown once");
        events.sort();
        events.dedup();
        assert_eq!(events.len() as u64, 2 * STORM);
        // A closed pipe ends it, and the server has no consumer left.
        let Process { .. } = &tail;
        site.wait_for_consumers(1);
        tail.stdout = std::sync::mpsc::channel().1;
        wait_for("the end of a tail without a reader", || {
            site.node1.execute("web1", "query-cont");
            consumer_filters(&site.server).is_empty().then_some(())
        });
        assert_eq!(tail.end().code(), Some(0));
    }
}

#[test]
fn tail_begins_at_a_time() {
    for program in NatsServer::programs() {
        let site = Site::start(program);
        site.node1.execute("web2", "query-stop");
        site.wait_for_messages(5);
        let tail = site.tail(&["--since", "1h", "web2"]);
        let shown = shown_until(&tail, "node1/web2 STOP");
        assert_eq!(shown, ["node1/web2 ", "node1/web2 STOP"], "its attachment, and its event");
        assert_eq!(tail.interrupt(), Some(0));
        let received = site.node1.run(&["log", "web2", "--event", "STOP", "--json"]);
        let record: Value = serde_json::from_str(&received.stdout).expect("one record");
        let tail = site.tail(&["--since", record["received"].as_str().expect("a time"), "web2"]);
        assert_eq!(
            shown_until(&tail, "node1/web2 STOP").len(),
            1,
            "records that were received before are left out"
        );
        assert_eq!(tail.interrupt(), Some(0));
    }
}

#[test]
fn wrong_use_is_refused_and_faults_are_named() {
    let Some(program) = NatsServer::programs().first() else { return };
    let home = directory();
    let users = "authorization { users: [{ user: me, password: right }] }";
    let server = NatsServer::start(program, &home.path().join("nats"), users);
    let right = server.url().replace("nats://", "nats://me:right@");
    let wrong = server.url().replace("nats://", "nats://me:wrong@");
    //  arguments, exit code, part of the error
    let cases: [(&[&str], i32, &str); 11] = [
        (&["--from", &right], 1, "/qmp: the server has no stream qmp"),
        (
            &["--from", &format!("{right}/site")],
            1,
            "/site: the server has no stream site: the rule of a host creates",
        ),
        (&["--from", &wrong], 1, "the server refuses the credentials"),
        (&["--from", "nats://127.0.0.1:1"], 1, "cannot connect"),
        (
            &["--from", &right, "--credentials-file", "/nonexistent"],
            1,
            "cannot read the credentials in /nonexistent",
        ),
        (&["--from", "127.0.0.1"], 2, "expected an address such as"),
        (&["--from", &right, "--exit"], 2, "--exit"),
        (&["--from", &right, "--hub", "unix:/x"], 2, "--hub and --from"),
        (&["--from", &right, "/run/web1.sock"], 2, "no monitor by its address"),
        (&["--from", &right, "--vm", "/web1"], 2, "each VM of a stream has a host"),
        (&["--since", "1h"], 2, "--from"),
    ];
    for (arguments, code, expected) in cases {
        let refused = run(home.path(), &[&["tail"], arguments].concat());
        assert_eq!(refused.code, Some(code), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.contains("wrong@"), "{refused:?}");
    }
}

#[test]
fn reader_of_a_stream_needs_few_permissions() {
    let users = "authorization { users: [\n\
        { user: host, password: host }\n\
        { user: reader, password: reader, permissions: {\n\
            publish: [\"$JS.API.STREAM.INFO.qmp\", \"$JS.API.CONSUMER.CREATE.qmp\", \n\
                \"$JS.API.CONSUMER.MSG.NEXT.qmp.*\", \"$JS.API.CONSUMER.DELETE.qmp.*\"]\n\
            subscribe: [\"_INBOX.>\"] } }\n\
    ] }";
    for program in NatsServer::programs() {
        let nats = directory();
        let server = NatsServer::start(program, nats.path(), users);
        let login = |user: &str| server.url().replace("nats://", &format!("nats://{user}:{user}@"));
        let host = Host::start("node1", &["web1"], &format!("nats = '{}'", login("host")));
        wait_for("the stream", || stream(&server)?["state"]["last_seq"].as_u64().filter(|last| *last > 0));
        for filter in [&["--since", "1h"][..], &["--since", "1h", "--vm", "web1"]] {
            let tail = Process::start(nats.path(), &[&["tail", "--from", &login("reader")], filter].concat());
            line_with(&tail.stdout, "\"kind\":\"attached\"");
            assert_eq!(tail.interrupt(), Some(0));
            assert_eq!(consumer_filters(&server).len(), 0, "it may remove its consumer");
        }
        drop(host);
    }
}

//! VMs of other hosts in a hub's journal: filters by host, and their names on the command line and in addresses.

mod support;

use std::path::Path;

use qmp_journal::{ForeignBatch, Journal, JournalOptions};
use qmp_testing::{MonitorThread, wait_for};
use qmp_wire::{Body, Epoch, Record, Seq, UnixMicros};
use serde_json::Value;
use support::{Process, RunResult, directory, run, start_hub, start_hub_with};
use tempfile::TempDir;

/// A hub with the VM web1 of its own, whose journal has VMs of other hosts.
struct FleetHub {
    home: TempDir,
    _vm: MonitorThread,
    hub: Process,
}

impl FleetHub {
    fn start() -> Self {
        let home = directory();
        make_journal(&home.path().join("journal.db"));
        let vm = MonitorThread::start(home.path().join("web1.sock"));
        let hub = start_hub(home.path(), &vm.address());
        Self { home, _vm: vm, hub }
    }

    fn run(&self, arguments: &[&str]) -> RunResult {
        run(self.home.path(), arguments)
    }

    /// Runs a command through the hub and on the journal's file.
    fn run_both(&self, arguments: &[&str]) -> [RunResult; 2] {
        let journal = self.home.path().join("journal.db");
        let file = [arguments, &["--journal", journal.to_str().expect("text")]].concat();
        [self.run(arguments), self.run(&file)]
    }

    /// The body of the hub's response to a GET.
    fn get(&self, path: &str) -> Value {
        let socket = self.home.path().join("hub.sock");
        let reply = qmp_testing_get(&socket, path);
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{path}: {error}: {reply}"))
    }
}

/// The body of a response over a unix socket.
fn qmp_testing_get(socket: &Path, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("reads");
    reply.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// Each VM is attached and stops: `node1/web1`, `node1/db1`, `node2/web1`, and `node2~2/web9`, whose epoch is over.
fn make_journal(path: &Path) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let mut batch = ForeignBatch::new();
    let stop = || Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
    let attached = || Body::Attached { snapshot: r#"{"address":"unix:/run/vm.sock"}"#.into() };
    let detached = Body::Detached {
        reason: qmp_wire::DetachReason::PeerClosed,
        detail: None,
        certain_until: Some(UnixMicros(1_767_323_045_000_009)),
    };
    for vm in ["node1/web1", "node1/db1", "node2/web1", "node2~2/web9"] {
        let mut bodies = vec![(0, attached()), (3, stop())];
        if vm == "node2~2/web9" {
            bodies.push((4, detached.clone()));
        }
        for (seq, body) in bodies {
            let received = UnixMicros(1_767_323_045_000_000 + i64::try_from(seq).expect("small"));
            let (epoch, seq) = (Epoch(7), Seq(seq));
            let record = Record { offset: None, vm: vm.into(), epoch, seq, received, body };
            batch.push(&record).expect("in order");
        }
    }
    journal.appender().append_foreign(&mut batch).expect("room");
    journal.close().expect("closes");
}

/// The VMs of the attached records in the output, each with its host.
fn vms(result: &RunResult) -> Vec<String> {
    assert_eq!(result.code, Some(0), "{result:?}");
    let mut vms: Vec<String> = result
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a record"))
        .filter(|record| record["kind"] == "attached")
        .map(|record| {
            format!("{}/{}", record["host"].as_str().unwrap_or("-"), record["vm"].as_str().expect("text"))
        })
        .collect();
    vms.sort_unstable();
    vms
}

#[test]
fn records_are_filtered_by_vm_and_host() {
    let fleet = FleetHub::start();
    let all = ["-/web1", "node1/db1", "node1/web1", "node2/web1", "node2~2/web9"];
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &all),
        (&["--vm", "web1"], &["-/web1", "node1/web1", "node2/web1"]),
        (&["node1/web1"], &["node1/web1"]),
        (&["--vm", "node?/web*"], &["node1/web1", "node2/web1"]),
        (&["--vm", "/web1"], &["-/web1"]),
        (&["--host", "node1"], &["node1/db1", "node1/web1"]),
        (&["--host", "node2*", "--vm", "web*"], &["node2/web1", "node2~2/web9"]),
        (&["--host", "!node1"], &["-/web1", "node2/web1", "node2~2/web9"]),
        (&["--host", "!*"], &["-/web1"]),
    ];
    for (arguments, expected) in cases {
        for result in fleet.run_both(&[&["log", "--json"], arguments].concat()) {
            assert_eq!(vms(&result), expected, "{arguments:?}");
        }
        let stats = [&["stats", "--by", "kind", "--kind", "attached", "--json"], arguments].concat();
        if arguments == ["node1/web1"] {
            continue;
        }
        for result in fleet.run_both(&stats) {
            let count: Value = serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{result:?}"));
            assert_eq!(count["count"], expected.len(), "{arguments:?}");
        }
        for result in fleet.run_both(&[&["timeline", "--svg", "-"], arguments].concat()) {
            let lanes = expected.iter().map(|vm| vm.trim_start_matches("-/"));
            for lane in lanes {
                assert!(result.stdout.contains(&format!(">{lane}<")), "{arguments:?}: {lane}");
            }
        }
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
}

#[test]
fn records_are_counted_by_host() {
    let fleet = FleetHub::start();
    let all = "host,records\nnode1,2\n-,1\nnode2,1\nnode2~2,1\n";
    for (selection, expected) in [(&[][..], all), (&["--host", "!*"], "host,records\n-,1\n")] {
        let arguments = ["stats", "--by", "host", "--kind", "attached", "--csv"];
        for result in fleet.run_both(&[&arguments, selection].concat()) {
            let columns = |line: &str| line.split(',').take(2).collect::<Vec<_>>().join(",") + "\n";
            let counts: String = result.stdout.lines().map(columns).collect();
            assert_eq!(counts, expected, "{selection:?}: {result:?}");
        }
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
}

#[test]
fn names_that_the_journal_does_not_have_are_noted() {
    let fleet = FleetHub::start();
    let cases: [(&[&str], &str); 6] = [
        (&["--vm", "web1", "--event", "RESET"], ""),
        (&["--vm", "node1/web1", "--event", "RESET"], ""),
        (&["--host", "node1", "--event", "RESET"], ""),
        (&["--host", "*x"], ""),
        (&["--vm", "nosuch"], "note: the journal has no VM nosuch\n"),
        (&["--host", "nosuch"], "note: the journal has no host nosuch\n"),
    ];
    for (arguments, expected) in cases {
        for log in fleet.run_both(&[&["log"], arguments].concat()) {
            assert_eq!((log.code, &*log.stdout, &*log.stderr), (Some(0), "", expected), "{arguments:?}");
        }
    }
    let journal = fleet.home.path().join("journal.db");
    let of_file = ["--journal", journal.to_str().expect("text")];
    for (name, expected) in [
        ("--vm=node1/web2", "note: the journal has no VM node1/web2; did you mean node1/web1?\n"),
        ("--vm=web8", "note: the journal has no VM web8; did you mean web1?\n"),
        ("--host=node3", "note: the journal has no host node3; did you mean node1?\n"),
    ] {
        let log = fleet.run(&[&["log", name], &of_file[..]].concat());
        assert_eq!((log.code, &*log.stderr), (Some(0), expected), "{name}");
    }
}

#[test]
fn why_takes_the_name_of_a_vm_that_one_host_has() {
    let fleet = FleetHub::start();
    //  name           host and VM of the answer, or the error
    let cases = [
        ("web1", Ok("-/web1")),
        ("node2/web1", Ok("node2/web1")),
        ("db1", Ok("node1/db1")),
        ("web9", Ok("node2~2/web9")),
    ];
    for (name, expected) in cases {
        for answer in fleet.run_both(&["why", name, "--json"]) {
            let found: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
            let vm = format!(
                "{}/{}",
                found["host"].as_str().unwrap_or("-"),
                found["vm"].as_str().expect("a name")
            );
            assert_eq!(Ok::<_, &str>(&*vm), expected, "{name}");
        }
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
    let home = directory();
    let path = home.path().join("journal.db");
    make_journal(&path);
    let several = run(home.path(), &["why", "web1", "--journal", path.to_str().expect("text")]);
    assert_eq!(several.code, Some(2), "{several:?}");
    assert!(several.stderr.contains("several hosts have a VM web1"), "{several:?}");
}

#[test]
fn addresses_of_a_vm_take_its_qualified_name() {
    let fleet = FleetHub::start();
    let vm = fleet.get("/v1/vms/node1%2Fweb1");
    assert_eq!((&vm["host"], &vm["vm"], &vm["state"]), (&"node1".into(), &"web1".into(), &"attached".into()));
    assert_eq!((&vm["address"], &vm["epoch"]), (&"unix:/run/vm.sock".into(), &7.into()));
    assert_eq!(fleet.get("/v1/vms/node2~2%2Fweb9")["state"], "detached");
    assert_eq!(fleet.get("/v1/vms/node9%2Fweb1")["error"]["class"], "VmNotFound");
    let record = &fleet.get("/v1/vms/node1%2Fweb1/records/7/3")["record"];
    assert_eq!((&record["event"], &record["host"]), (&"STOP".into(), &"node1".into()));
    assert_eq!(fleet.get("/v1/vms/web1/records/1/0")["record"]["host"], Value::Null);
    let gaps = fleet.get("/v1/gaps?host=node2*");
    assert_eq!((&gaps["gaps"][0]["host"], &gaps["gaps"][0]["vm"]), (&"node2~2".into(), &"web9".into()));
    assert_eq!(fleet.get("/v1/gaps?host=node1")["gaps"], Value::Array(Vec::new()));
    let noted = fleet.run(&["note", "node1/web1", "disk", "replaced"]);
    assert_eq!(noted.code, Some(0), "{noted:?}");
    let log = fleet.run(&["log", "node1/web1", "--kind", "finding", "--json"]);
    let note: Value = serde_json::from_str(&log.stdout).expect("one record");
    let offset = note["offset"].as_u64().expect("a number");
    assert_eq!((&note["epoch"], note["seq"].as_u64()), (&7.into(), Some((1 << 52) + offset)));
    let FleetHub { home, hub, _vm: vm } = fleet;
    assert_eq!(hub.interrupt(), Some(0));
    let restarted = start_hub(home.path(), &vm.address());
    let verified = run(home.path(), &["journal", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let attached = run(home.path(), &["log", "--host", "*", "--kind", "detached", "--json"]);
    assert_eq!(attached.stdout.lines().count(), 1, "this hub closes no epoch of another host: {attached:?}");
    assert_eq!(restarted.interrupt(), Some(0));
}

#[test]
fn tail_and_wait_follow_vms_of_other_hosts() {
    let fleet = FleetHub::start();
    let mut waiting = Process::start(
        fleet.home.path(),
        &["wait", "web1", "--host", "node1", "--finding", "note", "--keep-waiting", "--json"],
    );
    let tail = Process::start(fleet.home.path(), &["tail", "--host", "node1", "--json"]);
    // The two follow from the head at their start: a note is written until both have shown one.
    let shown = |process: &Process| process.stdout.try_iter().any(|line| line.contains("\"host\":\"node1\""));
    let (mut tailed, mut waited) = (false, false);
    qmp_testing::wait_for("the note of node1/web1", || {
        assert_eq!(fleet.run(&["note", "web1", "not of node1"]).code, Some(0));
        assert_eq!(fleet.run(&["note", "node1/web1", "here"]).code, Some(0));
        tailed |= shown(&tail);
        waited |= shown(&waiting);
        (tailed && waited).then_some(())
    });
    assert_eq!(waiting.end().code(), Some(0));
}

fn attached(state: &str) -> Body<'static> {
    let status = serde_json::json!({"status": state, "running": state == "running"});
    let uuid = serde_json::json!({"UUID": "12345678-9abc-def0-1234-56789abcdef0"});
    let snapshot = serde_json::json!({"query-status": status, "query-uuid": uuid});
    Body::Attached { snapshot: snapshot.to_string().into() }
}

fn event(name: &'static str, data: &'static str) -> Body<'static> {
    let data = (!data.is_empty()).then(|| data.into());
    Body::Event { name: name.into(), sent_name: None, timestamp: None, data }
}

/// Appends records of epoch 7: the VM, the second, the number, and the body.
fn append(path: &Path, records: impl IntoIterator<Item = (&'static str, i64, u64, Body<'static>)>) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let mut batch = ForeignBatch::new();
    for (vm, second, seq, body) in records {
        let received = UnixMicros(1_767_323_045_000_000 + second * 1_000_000);
        let (epoch, seq) = (Epoch(7), Seq(seq));
        batch.push(&Record { offset: None, vm: vm.into(), epoch, seq, received, body }).expect("in order");
    }
    journal.appender().append_foreign(&mut batch).expect("room");
    journal.close().expect("closes");
}

/// `mig1` was migrated from `node1` to `node2`. A hub on this journal tells it.
fn make_migration(path: &Path) {
    let status = |data| event("MIGRATION", data);
    append(
        path,
        [
            ("node1/mig1", 0, 0, attached("running")),
            ("node2/mig1", 1, 0, attached("inmigrate")),
            ("node1/mig1", 2, 1, status(r#"{"status":"setup"}"#)),
            ("node1/mig1", 3, 2, status(r#"{"status":"active"}"#)),
            ("node2/mig1", 4, 1, status(r#"{"status":"active"}"#)),
            ("node1/mig1", 5, 3, event("STOP", "")),
            ("node2/mig1", 6, 2, event("RESUME", "")),
            ("node1/mig1", 7, 4, status(r#"{"status":"completed"}"#)),
            ("node2/mig1", 8, 3, status(r#"{"status":"completed"}"#)),
        ],
    );
}

#[test]
fn why_of_a_vm_on_two_hosts_says_so_until_it_is_over() {
    let home = directory();
    let journal = home.path().join("journal.db");
    let rtc_change = || event("RTC_CHANGE", r#"{"offset":1}"#);
    append(
        &journal,
        [
            ("node1/twin1", 0, 0, attached("running")),
            ("node2/twin1", 1, 0, attached("running")),
            ("node1/twin1", 20, 1, rtc_change()),
            ("node2/twin1", 21, 1, rtc_change()),
        ],
    );
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let summaries = |result: &RunResult| -> Vec<String> {
        let answer: Value = serde_json::from_str(&result.stdout).expect("JSON");
        assert_eq!(answer["run_state"], "running", "{result:?}");
        let findings = answer["evidence"].as_array().into_iter().flatten();
        findings.filter_map(|one| one["summary"].as_str().map(str::to_owned)).collect()
    };
    let hub = start_hub_with(home.path(), &vm.address(), &[]);
    let mut fleet = FleetHub { home, _vm: vm, hub };
    let has = |fleet: &FleetHub, kind: &str| {
        wait_for(kind, || fleet.run(&["log", "--vm", "/twin1"]).stdout.contains(kind).then_some(()));
    };
    has(&fleet, "two-hosts");
    let told = "twin1 has been running on node1 and on node2 at once for more than 10 s: two QEMUs may write to its disks.";
    for name in ["node1/twin1", "node2/twin1"] {
        for result in fleet.run_both(&["why", name]) {
            assert_eq!(summaries(&result), [told], "{result:?}");
        }
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
    append(&journal, [("node2/twin1", 30, 2, event("STOP", "")), ("node1/twin1", 31, 2, rtc_change())]);
    fleet.hub = start_hub_with(fleet.home.path(), &fleet._vm.address(), &[]);
    has(&fleet, "two-hosts-over");
    for result in fleet.run_both(&["why", "node1/twin1"]) {
        assert_eq!(summaries(&result), [""; 0], "{result:?}");
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
}

#[test]
fn state_after_a_migration_is_explained_by_both_hosts() {
    let home = directory();
    make_migration(&home.path().join("journal.db"));
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let hub = start_hub_with(home.path(), &vm.address(), &[]);
    let fleet = FleetHub { home, _vm: vm, hub };
    wait_for("the finding", || {
        fleet.run(&["log", "--vm", "/mig1"]).stdout.contains("migrated").then_some(())
    });
    let told = "mig1 was migrated from node1 to node2 within 5.0 s, and stood still for 1.0 s.";
    for (name, state) in [("node1/mig1", "postmigrate"), ("node2/mig1", "running")] {
        for result in fleet.run_both(&["why", name]) {
            let answer: Value = serde_json::from_str(&result.stdout).expect("JSON");
            assert_eq!(answer["run_state"], state, "{result:?}");
            let last = answer["evidence"].as_array().and_then(|evidence| evidence.last());
            assert_eq!(last.expect("evidence")["summary"], told, "{result:?}");
        }
    }
    // The record about it is not a VM of this name.
    for result in fleet.run_both(&["why", "mig1"]) {
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.stderr.contains("several hosts have a VM mig1"), "{result:?}");
    }
    assert_eq!(fleet.hub.interrupt(), Some(0));
}

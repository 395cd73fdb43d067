//! A fleet hub: hubs, the fleet hub and the server are killed while events arrive; the fleet hub has each record once.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use qmp_testing::{MonitorThread, NatsServer, respond, wait_for};
use serde_json::Value;
use support::{Process, directory, event, run};

/// Events of one storm.
const STORM: u64 = 50;

/// How long processes are killed.
const KILLS: Duration = Duration::from_secs(8);

/// A monitor that reports a storm of events at the command `storm`.
fn storm_monitor(path: &Path) -> MonitorThread {
    MonitorThread::start_with(path.to_owned(), |command, request| match command {
        "storm" => {
            let storm =
                (0..STORM).map(|number| event("RTC_CHANGE", Some(&format!("{{\"offset\": {number}}}"))));
            storm.chain(["{\"return\": {}}".to_owned()]).collect()
        }
        _ => respond(command, request),
    })
}

/// The records of each VM in the journal of a hub, without their offsets and hosts.
fn records(home: &Path) -> BTreeMap<String, Vec<Value>> {
    let journal = home.join("journal.db");
    let log = run(home, &["log", "--json", "--journal", &journal.display().to_string()]);
    let mut by_vm: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in log.stdout.lines() {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        let members = record.as_object_mut().expect("an object");
        members.remove("offset");
        members.remove("host");
        let vm = record["vm"].as_str().expect("a name").to_owned();
        by_vm.entry(vm).or_default().push(record);
    }
    by_vm
}

fn storm(home: &Path, vm: &str) {
    // The hub may be starting.
    wait_for("a storm", || (run(home, &["exec", vm, "storm"]).code == Some(0)).then_some(()));
}

#[test]
fn killed_hubs_and_servers_leave_each_record_once_and_in_order() {
    let Some(program) = NatsServer::programs().first() else { return };
    let homes = ["nats", "host", "fleet"].map(|_| directory());
    let [nats, host, fleet] = homes.each_ref().map(tempfile::TempDir::path);
    let mut server = NatsServer::start(program, nats, "");
    let monitors = ["web1", "db1"].map(|vm| storm_monitor(&host.join(format!("{vm}.sock"))));
    let vms = ["web1", "db1"].map(|vm| {
        let address = host.join(format!("{vm}.sock"));
        format!("[[vm]]\nname = '{vm}'\naddress = '{}'\n", address.display())
    });
    let rule = format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'\n", server.url());
    fs::write(host.join("hub.toml"), vms.concat() + &rule).expect("writes");
    let config = host.join("hub.toml").display().to_string();
    let start_host = || Process::start(host, &["serve", "--config", &config]);
    let url = server.url();
    let start_fleet = || Process::start(fleet, &["serve", "--from", &url]);
    let (mut host_hub, mut fleet_hub) = (start_host(), start_fleet());

    let begin = Instant::now();
    for round in 0.. {
        storm(host, ["web1", "db1"][round % 2]);
        if begin.elapsed() > KILLS {
            break;
        }
        match round % 3 {
            // Dropped processes are killed.
            0 => {
                drop(fleet_hub);
                fleet_hub = start_fleet();
            }
            1 => server.restart(),
            _ => {
                drop(host_hub);
                host_hub = start_host();
            }
        }
    }
    let kills = begin.elapsed();
    storm(host, "web1");
    let mut last = (BTreeMap::new(), BTreeMap::new());
    wait_for("the same records", || {
        last = (records(host), records(fleet));
        (last.0 == last.1).then_some(())
    });
    let (of_host, of_fleet) = last;
    let counts: Vec<usize> = of_fleet.values().map(Vec::len).collect();
    assert!(counts.iter().sum::<usize>() as u64 > 3 * STORM, "{counts:?} in {kills:?}");
    for (vm, found) in &of_fleet {
        let identity = |record: &Value| (record["epoch"].as_u64(), record["seq"].as_u64());
        assert!(found.windows(2).all(|pair| identity(&pair[0]) < identity(&pair[1])), "{vm}");
        assert_eq!(found, &of_host[vm], "{vm}");
    }
    let status = run(fleet, &["status", "--json"]);
    assert_eq!(status.stdout.lines().count(), 2, "{status:?}");
    let verified = run(fleet, &["journal", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    drop((host_hub, fleet_hub, monitors));
}

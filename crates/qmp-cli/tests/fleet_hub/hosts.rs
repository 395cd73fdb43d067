//! Hosts whose hubs publish, and fleet hubs, each a process of the program with a home of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use qmp_testing::{MonitorThread, PATIENCE, respond, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Process, RunResult, directory, event, run};

/// Events of one storm.
pub(crate) const STORM: u64 = 50;

/// The records of each VM, by its qualified name, without their offsets.
pub(crate) type Records = BTreeMap<String, Vec<Value>>;

/// A host with VMs, whose hub publishes its records.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) home: TempDir,
    vms: Vec<String>,
    monitors: Vec<MonitorThread>,
    /// `None` while it is killed.
    hub: Option<Process>,
}

impl Host {
    /// A host whose rule publishes as `rule` says: the lines of a `[[rule]]` but its name.
    pub(crate) fn start(name: &str, vms: &[&str], rule: &str) -> Self {
        Self::start_in(directory(), name, vms, rule)
    }

    /// The same with a home that has a journal.
    pub(crate) fn start_in(home: TempDir, name: &str, vms: &[&str], rule: &str) -> Self {
        let path = |vm: &str| home.path().join(format!("{vm}.sock"));
        let monitors = vms.iter().map(|vm| storm_monitor(&path(vm))).collect();
        let attached = vms
            .iter()
            .map(|vm| format!("[[vm]]\nname = '{vm}'\naddress = '{}'\n", path(vm).display()))
            .collect::<String>();
        let config = format!("host = '{name}'\n{attached}[[rule]]\nname = 'fleet'\nfrom = 'start'\n{rule}\n");
        fs::write(home.path().join("hub.toml"), config).expect("writes");
        let vms = vms.iter().map(|&vm| vm.to_owned()).collect();
        let mut host = Self { name: name.to_owned(), home, vms, monitors, hub: None };
        host.restart();
        host
    }

    /// Kills the hub, if it runs, and starts it.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.hub = Some(serve(self.home.path()));
    }

    /// Kills the hub, as a crash would.
    pub(crate) fn kill(&mut self) {
        // Dropped processes are killed.
        self.hub = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.hub.is_some()
    }

    pub(crate) fn vms(&self) -> &[String] {
        &self.vms
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> RunResult {
        run(self.home.path(), arguments)
    }

    /// Executes a command of a VM. The hub may be starting.
    pub(crate) fn execute(&self, vm: &str, command: &str) {
        wait_for("a command", || (self.run(&["exec", vm, command]).code == Some(0)).then_some(()));
    }

    /// The body of the hub's response to a GET.
    pub(crate) fn get(&self, path: &str) -> Value {
        get(self.home.path(), path)
    }

    /// The same for a body that is not JSON.
    pub(crate) fn get_text(&self, path: &str) -> String {
        get_text(self.home.path(), path).unwrap_or_default()
    }

    /// The records of the host's journal.
    pub(crate) fn records(&self) -> Records {
        let of_host = |vm: &str| format!("{}/{vm}", self.name);
        let of_file = read(self.home.path(), &[]).into_iter();
        of_file.map(|(vm, records)| (of_host(&vm), records)).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        self.monitors.clear();
    }
}

/// Starts the hub that is configured in `home`.
fn serve(home: &Path) -> Process {
    let config = home.join("hub.toml").display().to_string();
    Process::start(home, &["serve", "--config", &config])
}

/// A fleet hub.
pub(crate) struct FleetHub {
    pub(crate) home: TempDir,
    hub: Option<Process>,
}

impl FleetHub {
    /// A fleet hub that reads as `from` says: the lines of a `[[from]]`.
    pub(crate) fn start(from: &str) -> Self {
        let home = directory();
        fs::write(home.path().join("hub.toml"), format!("[[from]]\n{from}\n")).expect("writes");
        let mut hub = Self { home, hub: None };
        hub.restart();
        hub
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.hub = Some(serve(self.home.path()));
    }

    pub(crate) fn kill(&mut self) {
        self.hub = None;
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> RunResult {
        run(self.home.path(), arguments)
    }

    /// The body of the hub's response to a GET.
    pub(crate) fn get(&self, path: &str) -> Value {
        get(self.home.path(), path)
    }

    /// The same for a body that is not JSON.
    pub(crate) fn get_text(&self, path: &str) -> String {
        get_text(self.home.path(), path).unwrap_or_default()
    }

    /// The records of other hosts' VMs in the journal.
    pub(crate) fn records(&self) -> Records {
        read(self.home.path(), &["--host", "*"])
    }

    /// Waits until the journal has exactly the records of these hosts, each VM's in the order of its host's journal.
    pub(crate) fn wait_for_records_of(&self, hosts: &[&Host]) -> Records {
        let deadline = Instant::now() + PATIENCE;
        let found = loop {
            let expected: Records = hosts.iter().flat_map(|host| host.records()).collect();
            let found = self.records();
            if found == expected {
                break found;
            }
            assert!(Instant::now() < deadline, "{}", difference(&expected, &found));
        };
        for (vm, records) in &found {
            let identity = |record: &Value| (record["epoch"].as_u64(), record["seq"].as_u64());
            assert!(records.windows(2).all(|pair| identity(&pair[0]) < identity(&pair[1])), "{vm}");
        }
        found
    }
}

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

fn get(home: &Path, path: &str) -> Value {
    let body = get_text(home, path).unwrap_or_default();
    serde_json::from_str(&body).unwrap_or_default()
}

/// The body of a response; `None` while no hub answers.
fn get_text(home: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(home.join("hub.sock")).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The records of a journal's file, by the names of their VMs, without offsets and hosts.
fn read(home: &Path, selection: &[&str]) -> Records {
    let journal = home.join("journal.db").display().to_string();
    let log = run(home, &[&["log", "--json", "--journal", &journal], selection].concat());
    let mut by_vm = Records::new();
    for line in log.stdout.lines() {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        let members = record.as_object_mut().expect("an object");
        members.remove("offset");
        let host = members.remove("host");
        let vm = record["vm"].as_str().expect("a name");
        let host = host.as_ref().and_then(Value::as_str);
        let vm = host.map_or_else(|| vm.to_owned(), |host| format!("{host}/{vm}"));
        by_vm.entry(vm).or_default().push(record);
    }
    by_vm
}

/// The first difference of each VM.
fn difference(expected: &Records, found: &Records) -> String {
    let none = Vec::new();
    let vms: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let mut text = String::new();
    for vm in vms {
        let (expected, found) = (expected.get(vm).unwrap_or(&none), found.get(vm).unwrap_or(&none));
        if expected == found {
            continue;
        }
        let at = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
        text += &format!(
            "{vm}: {} expected, {} found; at {at}: expected {:?}, found {:?}\n",
            expected.len(),
            found.len(),
            expected.get(at).map(Value::to_string),
            found.get(at).map(Value::to_string),
        );
    }
    text
}

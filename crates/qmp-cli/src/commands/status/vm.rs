//! The hub's description of a VM, as `qmp status` reads it.

use jiff::tz::TimeZone;
use qmp_wire::UnixMicros;
use serde::{Deserialize, Deserializer};

use crate::hub::{qualify, state_of_monitor};
use crate::time::write;

/// The hub's description of a VM.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub(in crate::commands) struct Vm {
    host: Option<String>,
    /// Of a VM of another host, the qualified name.
    pub(in crate::commands) vm: String,
    pub(in crate::commands) address: String,
    pub(in crate::commands) origin: Option<String>,
    #[serde(deserialize_with = "state_of_monitor")]
    pub(in crate::commands) state: String,
    pub(in crate::commands) since: String,
    pub(in crate::commands) error: Option<String>,
    pub(in crate::commands) silent_since: Option<String>,
    pub(in crate::commands) unresponsive: Option<String>,
    /// Since when the VM has been running on several hosts at once.
    pub(in crate::commands) two_hosts_since: Option<String>,
    /// The other hosts.
    #[serde(default)]
    pub(in crate::commands) also_on: Vec<String>,
    pub(in crate::commands) reason: Option<String>,
    pub(in crate::commands) epoch: Option<u32>,
    pub(in crate::commands) run_state: Option<String>,
    pub(in crate::commands) run_since: Option<String>,
    pub(in crate::commands) why: Option<Why>,
    pub(in crate::commands) last_event: Option<Event>,
    /// Since when the hub's journal cannot be written, so that the state of the VM is as of then.
    pub(in crate::commands) as_of: Option<String>,
    #[serde(default)]
    pub(in crate::commands) last_events: Vec<Event>,
    pub(in crate::commands) qemu: Option<String>,
    pub(in crate::commands) name: Option<String>,
    pub(in crate::commands) uuid: Option<String>,
    #[serde(default)]
    pub(in crate::commands) jobs: Vec<JobInfo>,
    pub(in crate::commands) migration: Option<JobInfo>,
    #[serde(default)]
    pub(in crate::commands) relays: Vec<Relay>,
}

/// A socket that the hub serves in place of the VM.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct Relay {
    pub(in crate::commands) path: String,
    pub(in crate::commands) role: String,
    pub(in crate::commands) clients: u64,
    /// The clients. A hub of an earlier release lists none.
    #[serde(default)]
    pub(in crate::commands) connected: Vec<RelayClient>,
    /// Why the relay serves no client.
    pub(in crate::commands) error: Option<String>,
}

/// A client of a relay.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct RelayClient {
    pub(in crate::commands) user: String,
    pub(in crate::commands) pid: Option<i32>,
    pub(in crate::commands) comm: Option<String>,
    pub(in crate::commands) since: String,
    pub(in crate::commands) commands: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct Why {
    pub(in crate::commands) summary: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct Event {
    pub(in crate::commands) event: String,
    pub(in crate::commands) received: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct JobInfo {
    pub(in crate::commands) id: Option<String>,
    #[serde(rename = "type")]
    pub(in crate::commands) ty: Option<String>,
    pub(in crate::commands) status: String,
    pub(in crate::commands) error: Option<String>,
    pub(in crate::commands) since: String,
}

impl<'de> Deserialize<'de> for Vm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function, by `remote`.
        let mut vm = Self::deserialize(deserializer)?;
        qualify(vm.host.as_deref(), &mut vm.vm);
        Ok(vm)
    }
}

impl Vm {
    /// The run state in a word; with a question mark if it may have changed since.
    pub(in crate::commands) fn run_state(&self) -> String {
        match (self.run_state.as_deref(), self.state.as_str()) {
            // The client that holds the monitor may have changed the state.
            (_, "in-use") => "in-use".to_owned(),
            (None, state) => state.to_owned(),
            (Some(state @ ("ended" | "gone")), _) => state.to_owned(),
            (Some(state), _) if self.is_current() => state.to_owned(),
            (Some(state), _) => format!("{state}?"),
        }
    }

    /// Whether the VM needs an operator: an error stopped it, it ended without an announcement, it runs on several hosts, or its
    /// state is not known. Of a VM that left the hub, only the end is of interest.
    pub(in crate::commands) fn is_in_trouble(&self) -> bool {
        match self.run_state.as_deref() {
            _ if self.two_hosts_since.is_some() => true,
            Some("ended") => false,
            Some("gone") => true,
            _ if self.state == "left" => false,
            Some("io-error" | "internal-error" | "guest-panicked" | "watchdog") | None => true,
            Some(_) => !self.is_current(),
        }
    }

    /// Whether `state` is its run state, or the state of its monitor; `silent` if the monitor does not answer.
    pub(in crate::commands) fn is_in(&self, state: &str) -> bool {
        self.run_state.as_deref() == Some(state)
            || self.state == state
            || (state == "silent" && self.silent_since.is_some())
    }

    /// Whether the known state is current.
    pub(in crate::commands) fn is_current(&self) -> bool {
        self.state == "attached" && self.silent_since.is_none() && self.as_of.is_none()
    }

    /// Says that the monitor does not answer, and why; `None` if it does.
    pub(in crate::commands) fn silence(&self, zone: &TimeZone) -> Option<String> {
        let why = self.unresponsive.as_deref();
        let Some(since) = &self.silent_since else { return why.map(str::to_owned) };
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("its monitor has not answered since {}{why}", local(since, zone)))
    }

    /// Says that the VM runs on other hosts, too; `None` if it does not.
    pub(in crate::commands) fn elsewhere(&self, zone: &TimeZone) -> Option<String> {
        let since = local(self.two_hosts_since.as_deref()?, zone);
        let hosts = self.also_on.join(" and on ");
        Some(format!("it also runs on {hosts}, since {since}: two QEMUs may write to its disks"))
    }

    /// Why the monitor is not attached, if the end of the VM is not known.
    pub(in crate::commands) fn absence(&self) -> Option<&str> {
        let is_over = matches!(self.run_state.as_deref(), Some("ended" | "gone"));
        let is_known = !is_over && self.why.is_some() && matches!(&*self.state, "connecting" | "detached");
        self.error.as_deref().filter(|_| is_known)
    }

    pub(in crate::commands) fn why(&self) -> &str {
        let known = self.why.as_ref().filter(|_| self.state != "in-use");
        let why = known.map(|why| why.summary.as_str());
        why.or(self.error.as_deref()).unwrap_or_default()
    }
}

/// A time from the hub in local time; unchanged if it cannot be parsed.
pub(in crate::commands) fn local(text: &str, zone: &TimeZone) -> String {
    match text.parse::<UnixMicros>() {
        Ok(moment) => write::local(moment, zone),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
pub(in crate::commands) fn examples() -> Vec<Vm> {
    let lines = [
        r#"{"vm": "web1", "address": "unix:/run/web1.sock", "state": "attached", "since": "2026-01-02T03:00:00.000000Z",
            "epoch": 3, "run_state": "io-error", "run_since": "2026-01-02T03:04:05.678901Z", "qemu": "7.2.22", "name": "web-1",
            "why": {"cause": "io-error", "by": "qemu", "summary": "A write to disk d0 failed (No space left), and QEMU paused it.", "causes": [[3, 8], [3, 9]]},
            "last_event": {"event": "STOP", "epoch": 3, "seq": 9, "received": "2026-01-02T03:04:05.678901Z"},
            "last_events": [{"event": "BLOCK_IO_ERROR", "epoch": 3, "seq": 8, "received": "2026-01-02T03:04:05.678900Z"}, {"event": "STOP", "epoch": 3, "seq": 9, "received": "2026-01-02T03:04:05.678901Z"}],
            "jobs": [{"id": "mirror0", "type": "mirror", "status": "ready", "since": "2026-01-02T02:00:00.000000Z"},
                {"id": "snap0", "type": "snapshot-load", "status": "concluded", "error": "Snapshot 'x' does not exist", "since": "2026-01-02T02:00:01.000000Z"}],
            "migration": {"type": "outgoing", "status": "active", "since": "2026-01-02T03:04:00.000000Z"},
            "relays": [{"path": "/run/web1.qmp", "role": "observe", "clients": 2, "connected": [{"user": "alice", "uid": 1000, "pid": 4242, "comm": "qmp-shell", "since": "2026-01-02T03:00:00.000000Z", "commands": 1}, {"user": "uid 107", "uid": 107, "pid": null, "comm": null, "since": "2026-01-02T03:01:00.000000Z", "commands": 0}]}, {"path": "/run/web1-op.qmp", "role": "operate", "clients": 0}]}"#,
        r#"{"vm": "db", "address": "tcp:127.0.0.1:4444", "state": "detached", "since": "2026-01-02T03:00:00.000000Z", "error": "connection refused",
            "epoch": 1, "run_state": "running", "run_since": "2026-01-01T00:00:00.000000Z", "why": {"summary": "It ran when this epoch began."}, "last_event": null,
            "jobs": [{"id": "m5", "type": "mirror", "status": "running", "since": "2026-01-02T02:00:00.000000Z"}]}"#,
        r#"{"vm": "new", "address": "unix:/run/new.sock", "state": "connecting", "since": "2026-01-02T03:00:00.000000Z", "error": "no such file\u001b[2J",
            "epoch": null, "run_state": null, "run_since": null, "why": null, "last_event": null}"#,
        r#"{"vm": "100", "address": "unix:/var/run/qemu-server/100.qmp", "origin": "discovery rule 1 (proxmox)", "state": "in-use",
            "since": "2026-01-02T03:00:00.000000Z", "error": "give the VM another", "reason": "held", "epoch": 1, "run_state": "running",
            "run_since": "2026-01-01T00:00:00.000000Z", "why": {"summary": "It ran when this epoch began."}, "last_event": null}"#,
        r#"{"vm": "nas", "address": "unix:/run/nas.sock", "state": "attached", "since": "2026-01-02T03:00:00.000000Z",
            "silent_since": "2026-01-02T03:04:05.678901Z", "unresponsive": "its process 28556 is stopped, by SIGSTOP or a debugger", "epoch": 2, "run_state": "running", "run_since": "2026-01-01T00:00:00.000000Z",
            "why": {"summary": "It ran when this epoch began."}, "last_event": null}"#,
        r#"{"vm": "ci-17", "address": "unix:/run/ci-17.sock", "origin": "journal", "state": "left", "since": "2026-01-02T02:00:00.000000Z",
            "epoch": 1, "run_state": "ended", "run_since": "2026-01-02T02:00:00.000000Z", "why": {"summary": "The guest shut itself down, and QEMU exited."},
            "last_event": {"event": "SHUTDOWN", "epoch": 1, "seq": 4, "received": "2026-01-02T02:00:00.000000Z"}}"#,
        r#"{"vm": "old", "address": "unix:/run/old.sock", "origin": "journal", "state": "left", "since": "2026-01-01T12:00:00.000000Z",
            "epoch": 2, "run_state": "running", "run_since": "2026-01-01T00:00:00.000000Z", "why": {"summary": "It ran when this epoch began."}, "last_event": null}"#,
    ];
    lines.iter().map(|line| serde_json::from_str(line).expect("a VM")).collect()
}

#[cfg(test)]
mod tests {
    use super::Vm;

    #[test]
    fn vm_on_two_hosts_is_in_trouble() {
        let double = r#"{"host": "node1", "vm": "web1", "address": "", "state": "attached", "since": "2026-01-02T03:00:00.000000Z",
            "run_state": "running", "two_hosts_since": "2026-01-02T03:04:05.678901Z", "also_on": ["node2", "node3"]}"#;
        let vm: Vm = serde_json::from_str(double).expect("a VM");
        assert!(vm.is_in_trouble());
        insta::assert_snapshot!(
            vm.elsewhere(&jiff::tz::TimeZone::UTC).expect("a sentence"),
            @"it also runs on node2 and on node3, since 2026-01-02 03:04:05.678: two QEMUs may write to its disks"
        );
    }

    #[test]
    fn vm_is_in_trouble_if_it_needs_an_operator() {
        //  run state, state of the monitor, is it in trouble
        let cases = [
            (Some("running"), "attached", false),
            (Some("paused"), "attached", false),
            (Some("io-error"), "attached", true),
            (None, "attached", true),
            (Some("running"), "detached", true),
            (None, "connecting", true),
            (Some("ended"), "detached", false),
            (Some("gone"), "detached", true),
            (Some("gone"), "left", true),
            (Some("ended"), "left", false),
            (Some("running"), "left", false),
            (None, "left", false),
        ];
        for (run_state, state, expected) in cases {
            let vm = Vm { run_state: run_state.map(str::to_owned), state: state.to_owned(), ..Vm::default() };
            assert_eq!(vm.is_in_trouble(), expected, "{run_state:?} {state}");
        }
    }
}

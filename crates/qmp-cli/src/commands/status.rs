//! `qmp status`: the state of the VMs of the hub.

mod page;
mod stuck;
mod table;

use std::time::Duration;

use clap::Args;
use qmp_wire::UnixMicros;
use serde::Deserialize;

use super::left;
use crate::exit::{Exit, Failure};
use crate::hub::{HubArgs, HubError, state_of_monitor};
use crate::output::{self, Format};
use crate::terminal::Terminal;
use crate::time::span;

/// Show the state of the VMs of the hub: run state, since when, why, epoch, last event
///
/// With a NAME, shows everything known about that VM: also its jobs, its migration, and its last events. A run state with
/// a question mark is the last known one of a VM whose monitor is not attached or does not answer, or the last one before
/// the hub's journal stalled.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// One VM
    name: Option<String>,

    /// Also VMs that left the hub and whose last epoch ended within this span [default: 24h on a terminal, none with --json]
    #[arg(long, value_name = "SPAN", value_parser = span::parse, conflicts_with = "name")]
    left: Option<Duration>,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp status
  qmp status web1
  qmp status --left 7d
  qmp status --json | jq -r 'select(.run_state == \"io-error\") | .vm'";

/// VMs that left the hub are shown on a terminal if they ended within this time.
const LEFT_SHOWN: Duration = Duration::from_secs(24 * 3_600);

/// The hub's description of a VM.
#[derive(Clone, Debug, Default, Deserialize)]
struct Vm {
    vm: String,
    address: String,
    origin: Option<String>,
    #[serde(deserialize_with = "state_of_monitor")]
    state: String,
    since: String,
    error: Option<String>,
    silent_since: Option<String>,
    unresponsive: Option<String>,
    reason: Option<String>,
    epoch: Option<u32>,
    run_state: Option<String>,
    run_since: Option<String>,
    why: Option<Why>,
    last_event: Option<Event>,
    /// Since when the hub's journal cannot be written, so that the state of the VM is as of then.
    as_of: Option<String>,
    #[serde(default)]
    last_events: Vec<Event>,
    qemu: Option<String>,
    name: Option<String>,
    uuid: Option<String>,
    #[serde(default)]
    jobs: Vec<JobInfo>,
    migration: Option<JobInfo>,
    #[serde(default)]
    relays: Vec<Relay>,
}

/// A socket that the hub serves in place of the VM.
#[derive(Clone, Debug, Deserialize)]
struct Relay {
    path: String,
    role: String,
    clients: u64,
    /// Why the relay serves no client.
    error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Why {
    summary: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Event {
    event: String,
    received: String,
}

#[derive(Clone, Debug, Deserialize)]
struct JobInfo {
    id: Option<String>,
    #[serde(rename = "type")]
    ty: Option<String>,
    status: String,
    error: Option<String>,
    since: String,
}

impl Status {
    /// Prints the state of the VMs.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let client = self.hub.client()?;
        let is_json = self.format.json || !terminal.stdout_is_terminal();
        let left = self.left.or((!is_json).then_some(LEFT_SHOWN));
        let found = match &self.name {
            Some(name) => match client.vm_json(name).await {
                Err(error) if error.is_unknown_vm() => {
                    let zone = self.format.zone(terminal);
                    return Err(left::failure(&client, name, &zone, error.into()).await);
                }
                vm => vec![vm.map_err(HubError::without_address)?],
            },
            None => client.vms_json(left).await.map_err(HubError::without_address)?,
        };
        if is_json {
            let lines: String = found.iter().map(|vm| format!("{}\n", vm.get())).collect();
            output::print(&lines)?;
            return Ok(Exit::Done);
        }
        let read = |vm: &serde_json::value::RawValue| {
            serde_json::from_str::<Vm>(vm.get()).map_err(|error| HubError::NotAHub {
                what: format!("it sent a VM that cannot be read: {error}"),
            })
        };
        let vms = found.iter().map(|vm| read(vm)).collect::<Result<Vec<_>, _>>()?;
        let (palette, zone) = (terminal.stdout_palette(), self.format.zone(terminal));
        let text = match (&self.name, vms.as_slice()) {
            (Some(_), [vm]) => page::page(vm, palette, &zone),
            (_, vms) => table::tables(vms, left.unwrap_or_default(), palette, &zone),
        };
        output::print(&text)?;
        // Rules that fail are shown here: they cannot notify anyone of their own failure.
        let sinks = client.sinks().await.unwrap_or_default();
        output::print(&stuck::stuck(&sinks, palette, &zone))?;
        Ok(Exit::Done)
    }
}

impl Vm {
    /// The run state in a word; with a question mark if it may have changed since.
    fn run_state(&self) -> String {
        match (self.run_state.as_deref(), self.state.as_str()) {
            // The client that holds the monitor may have changed the state.
            (_, "in-use") => "in-use".to_owned(),
            (None, state) => state.to_owned(),
            (Some(state @ ("ended" | "gone")), _) => state.to_owned(),
            (Some(state), _) if self.is_current() => state.to_owned(),
            (Some(state), _) => format!("{state}?"),
        }
    }

    /// Whether the known state is current.
    fn is_current(&self) -> bool {
        self.state == "attached" && self.silent_since.is_none() && self.as_of.is_none()
    }

    /// Says that the monitor does not answer, and why; `None` if it does.
    fn silence(&self, zone: &jiff::tz::TimeZone) -> Option<String> {
        let why = self.unresponsive.as_deref();
        let Some(since) = &self.silent_since else { return why.map(str::to_owned) };
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("its monitor has not answered since {}{why}", local(since, zone)))
    }

    /// Why the monitor is not attached, if the end of the VM is not known.
    fn absence(&self) -> Option<&str> {
        let is_over = matches!(self.run_state.as_deref(), Some("ended" | "gone"));
        let is_known = !is_over && self.why.is_some() && matches!(&*self.state, "connecting" | "detached");
        self.error.as_deref().filter(|_| is_known)
    }

    fn why(&self) -> &str {
        let known = self.why.as_ref().filter(|_| self.state != "in-use");
        let why = known.map(|why| why.summary.as_str());
        why.or(self.error.as_deref()).unwrap_or_default()
    }
}

/// A time from the hub in local time; unchanged if it cannot be parsed.
fn local(text: &str, zone: &jiff::tz::TimeZone) -> String {
    match text.parse::<UnixMicros>() {
        Ok(moment) => crate::time::write::local(moment, zone),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
fn examples() -> Vec<Vm> {
    let lines = [
        r#"{"vm": "web1", "address": "unix:/run/web1.sock", "state": "attached", "since": "2026-01-02T03:00:00.000000Z",
            "epoch": 3, "run_state": "io-error", "run_since": "2026-01-02T03:04:05.678901Z", "qemu": "7.2.22", "name": "web-1",
            "why": {"cause": "io-error", "by": "qemu", "summary": "A write to disk d0 failed (No space left), and QEMU paused it.", "causes": [[3, 8], [3, 9]]},
            "last_event": {"event": "STOP", "epoch": 3, "seq": 9, "received": "2026-01-02T03:04:05.678901Z"},
            "last_events": [{"event": "BLOCK_IO_ERROR", "epoch": 3, "seq": 8, "received": "2026-01-02T03:04:05.678900Z"}, {"event": "STOP", "epoch": 3, "seq": 9, "received": "2026-01-02T03:04:05.678901Z"}],
            "jobs": [{"id": "mirror0", "type": "mirror", "status": "ready", "since": "2026-01-02T02:00:00.000000Z"},
                {"id": "snap0", "type": "snapshot-load", "status": "concluded", "error": "Snapshot 'x' does not exist", "since": "2026-01-02T02:00:01.000000Z"}],
            "migration": {"type": "outgoing", "status": "active", "since": "2026-01-02T03:04:00.000000Z"},
            "relays": [{"path": "/run/web1.qmp", "role": "observe", "clients": 2}, {"path": "/run/web1-op.qmp", "role": "operate", "clients": 0}]}"#,
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

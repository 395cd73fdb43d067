//! Records as correlators see them: parsed once for all of them.

use qmp_events::{EventKind, Release};
use qmp_wire::{Body, Causes, DetachReason, Record, UnixMicros};
use serde_json::Value;

use crate::finding::Id;
use crate::libvirt::{self, DomainWords};
use crate::local_time::Moment;
use crate::persist::{persist, persist_enum};
use crate::process::Process;
use crate::question::Answer;

/// The kind of the record of a command that the hub passed on, with `{"execute": …, "client": …}` in its data. The
/// record is evidence, not a conclusion.
pub const COMMAND: &str = "command";

/// The kind of the record of how a VM's process ended, with `{"pid": …, "exit_code": …}` or `{"pid": …, "signal": …,
/// "core_dumped": …}` in its data. The record is evidence, not a conclusion.
pub const PROCESS_ENDED: &str = "process-ended";

/// The kind of the record of a VM's answer to a [`Question`](crate::Question), with `{"execute": …, "return": …}` in
/// its data, or `"error": {"class": …, "desc": …}` in place of `return`. Its cause is the record that raised the
/// question. The record is evidence, not a conclusion.
pub const QUERY: &str = "query";

/// One record that is not a finding.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    pub(crate) id: Id,
    /// Local time.
    pub(crate) now: Moment,
    /// As in the record.
    pub(crate) received: UnixMicros,
    /// How far this host's clock went back since the VM's last record.
    pub(crate) clock_back: Option<std::time::Duration>,
    pub(crate) kind: ObservationKind<'a>,
}

/// The content of a record.
#[derive(Debug)]
pub(crate) enum ObservationKind<'a> {
    Attached(&'a Snapshot),
    Event(&'a Event<'a>),
    Detached(&'a DetachReason, Option<&'a str>),
    /// The hub passed a command on.
    Command(&'a Value),
    /// The process at the other end of the monitor ended.
    ProcessEnded(ProcessEnd<'a>),
    /// The VM answered a question of the hub, or the question failed.
    Answer(Answer<'a>),
}

/// The record of the end of a process.
#[derive(Debug)]
pub(crate) struct ProcessEnd<'a> {
    /// The record that opened the epoch, if the end itself was not seen.
    pub(crate) causes: &'a Causes,
    pub(crate) data: &'a Value,
}

/// An event with its data parsed.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Option<EventKind>,
    /// The VM's own time, in microseconds.
    pub(crate) at: Option<i64>,
    pub(crate) raw: Option<&'a str>,
    pub(crate) data: Value,
}

persist!(Snapshot {
    status,
    running,
    release,
    version,
    name,
    uuid,
    migration,
    jobs,
    process,
    address,
    libvirt
});
persist!(LibvirtState { state, reason, began, started });
persist_enum!(Arrival { Restore {}, Migration {}, Unknown {} });
persist!(KnownJob { id, ty, status, current, total, error });

impl<'a> Event<'a> {
    pub(crate) fn of(body: &'a Body<'_>) -> Option<Self> {
        let Body::Event { name, timestamp, data, .. } = body else { return None };
        let at = timestamp
            .map(|at| at.seconds().saturating_mul(1_000_000).saturating_add(i64::from(at.microseconds())));
        let raw = data.as_deref();
        let data = raw.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        Some(Self { name, kind: EventKind::from_name(name), at, raw, data })
    }

    /// A member that is a string.
    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.data.get(member)?.as_str()
    }

    /// A member that is a non-empty string.
    pub(crate) fn named(&self, member: &str) -> Option<&str> {
        self.text(member).filter(|text| !text.is_empty())
    }

    pub(crate) fn flag(&self, member: &str) -> Option<bool> {
        self.data.get(member)?.as_bool()
    }

    pub(crate) fn number(&self, member: &str) -> Option<u64> {
        self.data.get(member)?.as_u64()
    }
}

/// The answers of the VM when the epoch opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) status: Option<Box<str>>,
    pub(crate) running: Option<bool>,
    pub(crate) release: Option<Release>,
    pub(crate) version: Option<Box<str>>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) uuid: Option<Box<str>>,
    pub(crate) migration: Option<Box<str>>,
    pub(crate) jobs: Vec<KnownJob>,
    /// The process at the other end of the monitor, if the system gave it.
    pub(crate) process: Option<Process>,
    /// The address of the monitor, as in a configuration.
    pub(crate) address: Option<Box<str>>,
    /// What libvirt said, if the VM is followed through libvirt.
    pub(crate) libvirt: Option<LibvirtState>,
}

/// What libvirt said of a domain when the epoch opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LibvirtState {
    /// Empty if libvirt did not say the state.
    state: Box<str>,
    reason: Box<str>,
    /// Why the epoch began: `found`, `started` or `reopened`.
    began: Box<str>,
    /// How libvirt started the domain.
    started: Option<Box<str>>,
}

/// How the domain that an epoch opens with gets the state that its QEMU reads as an incoming migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// From a file of libvirt: a saved state or a snapshot.
    Restore,
    /// From another host.
    Migration,
    /// libvirt has yet to say.
    Unknown,
}

/// A job in the VM's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownJob {
    pub(crate) id: Box<str>,
    pub(crate) ty: Option<Box<str>>,
    pub(crate) status: Option<Box<str>>,
    pub(crate) current: Option<u64>,
    pub(crate) total: Option<u64>,
    /// Why it failed, if it is over and failed.
    pub(crate) error: Option<Box<str>>,
}

impl Snapshot {
    pub(crate) fn read(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let string = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(Box::from);
        let version =
            value.pointer("/greeting/version/qemu").or_else(|| value.pointer("/query-version/qemu"));
        let numbers = version.and_then(numbers);
        let jobs =
            value.get("query-jobs").or_else(|| value.get("query-block-jobs")).and_then(Value::as_array);
        let status = libvirt::snapshot_run_state(&value);
        Self {
            status: status.map(Box::from),
            running: value.pointer("/query-status/running").and_then(Value::as_bool),
            release: numbers.map(|(major, minor, micro)| Release::from_version(major, minor, micro)),
            version: numbers.map(|(major, minor, micro)| format!("{major}.{minor}.{micro}").into()),
            name: string("/query-name/name").or_else(|| string("/libvirt/domain/name")),
            uuid: string("/query-uuid/UUID").or_else(|| string("/libvirt/domain/uuid")),
            migration: string("/query-migrate/status"),
            process: value.get("process").and_then(Process::read),
            address: string("/address"),
            libvirt: value.get("libvirt").map(LibvirtState::read),
            jobs: jobs.into_iter().flatten().filter_map(KnownJob::read).collect(),
        }
    }
}

impl LibvirtState {
    fn read(libvirt: &Value) -> Self {
        let text = |member: &str| libvirt.get(member).and_then(Value::as_str).map(Box::<str>::from);
        Self {
            state: text("state").unwrap_or_default(),
            reason: text("reason").unwrap_or_default(),
            began: text("began").unwrap_or_default(),
            started: text("started"),
        }
    }

    /// Whether the epoch opened with the start of the domain.
    pub(crate) fn is_start(&self) -> bool {
        &*self.began == "started"
    }

    pub(crate) fn words(&self) -> DomainWords<'_> {
        let started = self.started.as_deref().filter(|_| self.is_start());
        DomainWords { state: &self.state, reason: &self.reason, started }
    }

    /// The arrival that the events of a migration belong to; `None` if the domain just runs.
    pub(crate) fn arrival(&self) -> Option<Arrival> {
        let DomainWords { state, reason, started } = self.words();
        match (started, state, reason) {
            (Some("restored" | "from-snapshot"), ..) => Some(Arrival::Restore),
            (Some("migrated"), ..) => Some(Arrival::Migration),
            (None, "paused", "starting-up") => Some(Arrival::Unknown),
            (None, "paused", "migration") if self.is_start() => Some(Arrival::Unknown),
            _ => None,
        }
    }
}

impl KnownJob {
    /// Reads an element of `query-jobs`, or of the older `query-block-jobs`.
    fn read(value: &Value) -> Option<Self> {
        let text = |member: &str| value.get(member).and_then(Value::as_str).map(Box::from);
        let number = |member: &str| value.get(member).and_then(Value::as_u64);
        Some(Self {
            id: text("id").or_else(|| text("device"))?,
            ty: text("type"),
            status: text("status"),
            current: number("current-progress").or_else(|| number("offset")),
            total: number("total-progress").or_else(|| number("len")),
            error: text("error"),
        })
    }

    /// Reads an answer to `query-jobs`.
    pub(crate) fn read_all(answer: &Value) -> Vec<Self> {
        answer.as_array().into_iter().flatten().filter_map(Self::read).collect()
    }

    /// Whether it waits for `job-dismiss`.
    pub(crate) fn is_over(&self) -> bool {
        self.status.as_deref() == Some("concluded")
    }
}

fn numbers(version: &Value) -> Option<(u32, u32, u32)> {
    let number = |member: &str| u32::try_from(version.get(member)?.as_u64()?).ok();
    Some((number("major")?, number("minor")?, number("micro")?))
}

impl ProcessEnd<'_> {
    /// The evidence of the end, if the end itself was not seen.
    pub(crate) fn evidence(&self) -> Option<&str> {
        self.data.get("evidence")?.as_str()
    }

    pub(crate) fn pid(&self) -> Option<u64> {
        self.data.get("pid")?.as_u64()
    }

    /// Whether this may be the end of that process, as far as both are known.
    pub(crate) fn may_be_of(&self, process: Option<&Process>) -> bool {
        self.pid().zip(process).is_none_or(|(pid, process)| pid == process.pid)
    }
}

/// Whether the hub wrote the record as evidence: no conclusion, though its kind is `finding`.
#[must_use]
pub fn is_evidence(record: &Record<'_>) -> bool {
    evidence(record).is_some()
}

/// Kind and data of a record that the hub wrote as evidence.
pub(crate) fn evidence(record: &Record<'_>) -> Option<(&'static str, Value)> {
    let Body::Finding { finding, data: Some(data), .. } = &record.body else { return None };
    let kind = [COMMAND, PROCESS_ENDED, QUERY].into_iter().find(|kind| finding == kind)?;
    Some((kind, serde_json::from_str(data).ok()?))
}

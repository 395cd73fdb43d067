//! How a VM stands: what its snapshot said when the epoch opened, and the events since.
//!
//! A [`VmState`] is what the correlators know at one record of the journal; it is computed, never stored. Where the
//! epoch is closed it is the last that is known, and says so.

use qmp_wire::{Causes, Epoch, Seq, UnixMicros};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What is known about a VM.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VmState {
    /// The latest epoch; none if there never was one.
    #[serde(serialize_with = "number")]
    pub epoch: Option<Epoch>,
    /// Whether it is open. If not, what follows is the last that is known.
    pub attached: bool,
    /// How the epoch closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detached: Option<Detached>,
    /// The run state as `query-status` names it; `ended` if QEMU said that it exits and its monitor closed, `gone`
    /// if the monitor closed without a word.
    pub run_state: Option<Box<str>>,
    /// Whether that is the usual run state and not one that an answer of the VM or an event names: all that is known is
    /// whether the VM runs.
    #[serde(rename = "run_state_assumed", skip_serializing_if = "std::ops::Not::not")]
    pub is_run_state_assumed: bool,
    /// Since when, as far as it was seen: a state that the hub found when it attached is older.
    #[serde(serialize_with = "moment")]
    pub run_since: Option<UnixMicros>,
    /// What led there.
    pub why: Option<Why>,
    /// QEMU's version.
    pub qemu: Option<Box<str>>,
    /// The VM's own name (`-name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Its UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Box<str>>,
    /// The last events of the epoch, oldest first.
    pub last_events: Vec<LastEvent>,
    /// Jobs that are not over, and those that are and wait for `job-dismiss` (`concluded`).
    pub jobs: Vec<Running>,
    /// The migration that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<Running>,
    /// That the monitor does not answer. A hub knows it before it is recorded.
    #[serde(skip)]
    pub silence: Option<Silence>,
}

/// A recorded silence that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The record of the finding.
    pub record: (Epoch, Seq),
    /// The last moment at which something came from the monitor.
    pub since: UnixMicros,
}

/// Why a VM stands as it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    /// A word for programs, such as `io-error`, `guest-shutdown`, `host-qmp-quit`.
    pub cause: &'static str,
    /// Whose doing it was: `guest`, `host`, `qemu`, or `unknown`.
    pub by: &'static str,
    /// One sentence for people.
    pub summary: String,
    /// The records that tell it.
    #[serde(serialize_with = "pairs")]
    pub causes: Causes,
    /// More, by cause: the device of an I/O error, the client that gave a command.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The run state that it led to; empty if that is not known.
    #[serde(skip)]
    pub(crate) run_state: Box<str>,
    /// The part of the sentence that says what happened, without its full stop.
    #[serde(skip)]
    pub(crate) clause: String,
}

/// How an epoch closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// Such as `peer closed`.
    pub reason: Box<str>,
    /// What exactly, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// When that was recorded.
    #[serde(serialize_with = "text")]
    pub at: UnixMicros,
    /// The end of what is certain: everything received up to then is recorded.
    #[serde(serialize_with = "text")]
    pub certain_until: UnixMicros,
}

/// An event in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastEvent {
    /// Its name.
    pub event: Box<str>,
    /// Of its record.
    #[serde(serialize_with = "bare_epoch")]
    pub epoch: Epoch,
    /// Of its record.
    #[serde(serialize_with = "bare_seq")]
    pub seq: Seq,
    /// When it was received.
    #[serde(serialize_with = "text")]
    pub received: UnixMicros,
}

/// A job, or a migration that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// The job's id; none for a migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// The job's type, if it was told.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub ty: Option<Box<str>>,
    /// Its last status.
    pub status: Box<str>,
    /// Why it failed, of one that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
    /// When that was received.
    #[serde(serialize_with = "text")]
    pub since: UnixMicros,
}

fn text<S: Serializer>(at: &UnixMicros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn moment<S: Serializer>(at: &Option<UnixMicros>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

fn number<S: Serializer>(epoch: &Option<Epoch>, serializer: S) -> Result<S::Ok, S::Error> {
    epoch.map(|epoch| epoch.0).serialize(serializer)
}

fn bare_epoch<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(epoch.0)
}

fn bare_seq<S: Serializer>(seq: &Seq, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(seq.0)
}

fn pairs<S: Serializer>(causes: &Causes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(causes.iter().map(|(epoch, seq)| (epoch.0, seq.0)))
}

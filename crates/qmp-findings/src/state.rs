//! The state of a VM: its snapshot when the epoch opened, and the events since.
//!
//! A [`VmState`] is the state of the correlators after one record of the journal, computed and never stored. If the
//! epoch is closed, the state is the last known one, and says so.

use qmp_wire::{Causes, Epoch, Seq, UnixMicros};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The known state of a VM.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VmState {
    /// The latest epoch; `None` if there never was one.
    #[serde(serialize_with = "number")]
    pub epoch: Option<Epoch>,
    /// Whether the epoch is open. If not, the other members are the last known ones.
    pub attached: bool,
    /// How the epoch closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detached: Option<Detachment>,
    /// The run state as `query-status` names it; `ended` if QEMU announced its exit and its monitor closed, `gone` if
    /// the monitor closed without an announcement.
    pub run_state: Option<Box<str>>,
    /// Whether the run state is assumed: only whether the VM runs is known, and neither an answer of the VM nor an
    /// event names its run state.
    #[serde(rename = "run_state_assumed", skip_serializing_if = "std::ops::Not::not")]
    pub is_run_state_assumed: bool,
    /// Since when the state was seen: a state that the hub found when it attached is older.
    #[serde(serialize_with = "moment")]
    pub run_since: Option<UnixMicros>,
    /// The explanation of the run state.
    pub why: Option<Explanation>,
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
    /// Jobs that are not over, and those that wait for `job-dismiss` (`concluded`).
    pub jobs: Vec<JobState>,
    /// The migration in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<JobState>,
    /// The records that are missing in the latest epoch or right before it: the state is that of the other records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<MissingRecords>,
    /// The recorded silence of the monitor. A hub notices a silence before it is recorded.
    #[serde(skip)]
    pub silence: Option<Silence>,
}

/// Records of a VM that retention has removed or that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MissingRecords {
    /// The last record before them; `None` if there is none.
    #[serde(serialize_with = "pair", skip_serializing_if = "Option::is_none")]
    pub after: Option<(Epoch, Seq)>,
    /// The first record after them.
    #[serde(serialize_with = "bare_pair")]
    pub before: (Epoch, Seq),
}

/// A recorded silence that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The record of the finding.
    pub record: (Epoch, Seq),
    /// The last moment at which data was received from the monitor.
    pub since: UnixMicros,
}

/// Why a VM is in its run state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// A word for programs, such as `io-error`, `guest-shutdown`, `host-qmp-quit`.
    pub cause: &'static str,
    /// The side that caused it: `guest`, `host`, `qemu`, or `unknown`.
    pub by: &'static str,
    /// One sentence for people.
    pub summary: String,
    /// The records on which it rests.
    #[serde(serialize_with = "pairs")]
    pub causes: Causes,
    /// Further members, by cause: the device of an I/O error, the client that gave a command.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The run state that it led to; empty if unknown.
    #[serde(skip)]
    pub(crate) run_state: Box<str>,
    /// The part of the sentence with the cause, without its full stop.
    #[serde(skip)]
    pub(crate) clause: String,
}

/// How an epoch closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detachment {
    /// Such as `peer closed`.
    pub reason: Box<str>,
    /// The details, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// When the end was recorded.
    #[serde(serialize_with = "text")]
    pub at: UnixMicros,
    /// The end of what is certain: everything received up to then is recorded.
    #[serde(serialize_with = "text")]
    pub certain_until: UnixMicros,
}

/// An event, abbreviated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastEvent {
    /// Its name.
    pub event: Box<str>,
    /// The epoch of its record.
    #[serde(serialize_with = "bare_epoch")]
    pub epoch: Epoch,
    /// The number of its record.
    #[serde(serialize_with = "bare_seq")]
    pub seq: Seq,
    /// When it was received.
    #[serde(serialize_with = "text")]
    pub received: UnixMicros,
}

/// The state of a job, or of a migration that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobState {
    /// The job's id; `None` for a migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// The job's type, if known.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub ty: Option<Box<str>>,
    /// Its last status.
    pub status: Box<str>,
    /// Why a job that is over failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
    /// When the last status was received.
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

fn pair<S: Serializer>(id: &Option<(Epoch, Seq)>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(|(epoch, seq)| (epoch.0, seq.0)).serialize(serializer)
}

fn bare_pair<S: Serializer>((epoch, seq): &(Epoch, Seq), serializer: S) -> Result<S::Ok, S::Error> {
    (epoch.0, seq.0).serialize(serializer)
}

fn pairs<S: Serializer>(causes: &Causes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(causes.iter().map(|(epoch, seq)| (epoch.0, seq.0)))
}

//! Jobs: background operations on block devices.
//!
//! A job goes through QEMU's states. On a node that holds no data (`null-co`) a small job is done before the reply
//! to the command that started it, as in a QEMU; others take the time that follows from their speed.

mod lifecycle;
mod query;
mod start;
mod verbs;
mod work;

pub(super) use lifecycle::{at_exit, mirror_write};

use crate::commands::Entry;

/// The jobs, in the order in which they were started.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    started: u64,
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: Box<str>,
    /// Distinguishes the job from a later one of the same identifier.
    number: u64,
    kind: Kind,
    status: Status,
    source: Box<str>,
    target: Option<Box<str>>,
    len: u64,
    offset: u64,
    speed: u64,
    auto_finalize: bool,
    auto_dismiss: bool,
    on_source_error: Policy,
    on_target_error: Policy,
    error: Option<Box<str>>,
    /// Whether a command or an error paused the job.
    paused: bool,
    io_failed: bool,
    /// Whether the job was asked to complete; a paused job completes once it is resumed.
    completes: bool,
    /// Whether the job was asked to finish without waiting for its work.
    cancelled: bool,
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mirror,
    Backup,
    Stream,
    Commit,
    /// A commit of the layer in use; it has to be completed, as a mirror has.
    ActiveCommit,
    Create,
    Amend,
    SnapshotSave,
    SnapshotLoad,
    SnapshotDelete,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Backup => "backup",
            Self::Stream => "stream",
            Self::Commit | Self::ActiveCommit => "commit",
            Self::Create => "create",
            Self::Amend => "amend",
            Self::SnapshotSave => "snapshot-save",
            Self::SnapshotLoad => "snapshot-load",
            Self::SnapshotDelete => "snapshot-delete",
        }
    }

    /// Returns whether it is a block job, with its own events and commands.
    fn is_block_job(self) -> bool {
        matches!(self, Self::Mirror | Self::Backup | Self::Stream | Self::Commit | Self::ActiveCommit)
    }

    /// Returns whether the job becomes ready and then waits for a command to complete it.
    fn gets_ready(self) -> bool {
        matches!(self, Self::Mirror | Self::ActiveCommit)
    }
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Created,
    Running,
    Paused,
    Ready,
    Standby,
    Waiting,
    Pending,
    Aborting,
    Concluded,
    Null,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ready => "ready",
            Self::Standby => "standby",
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Aborting => "aborting",
            Self::Concluded => "concluded",
            Self::Null => "null",
        }
    }
}

/// The reaction of a job to an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    #[default]
    Report,
    Ignore,
    Enospc,
    Stop,
    Auto,
}

impl Jobs {
    /// Returns the number of jobs.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn find(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| *job.id == *id)
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.number == number)
    }

    /// Returns whether a job uses the node.
    pub(crate) fn uses(&self, node: &str) -> bool {
        self.jobs.iter().any(|job| *job.source == *node || job.target.as_deref() == Some(node))
    }
}

pub(crate) fn commands() -> Vec<Entry> {
    [start::commands(), verbs::commands(), query::commands()].into_iter().flatten().collect()
}

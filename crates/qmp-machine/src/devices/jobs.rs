//! Jobs: what runs in the background on block devices.
//!
//! A job goes through QEMU's states. On a node that holds no data (`null-co`) a small one is done before the command
//! that started it is answered, as in a QEMU; others take the time that their speed asks for.

mod course;
mod query;
mod start;
mod verbs;
mod work;

pub(super) use course::{at_exit, mirror_write};

use crate::table::Entry;

/// The jobs, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    started: u64,
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: Box<str>,
    /// Tells it apart from a later one of the same identifier.
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
    /// Whether somebody paused it, or an error did.
    paused: bool,
    io_failed: bool,
    /// Whether it was told to complete, which one that is paused does once it goes on.
    completes: bool,
    /// Whether it was told to finish without waiting for its work.
    cancelled: bool,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mirror,
    Backup,
    Stream,
    Commit,
    /// A commit of the layer in use, which waits to be completed as a mirror does.
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

    /// Whether it is a block job, with events and commands of its own.
    fn is_block_job(self) -> bool {
        matches!(self, Self::Mirror | Self::Backup | Self::Stream | Self::Commit | Self::ActiveCommit)
    }

    /// Whether it is ready at some point and then waits for the word to complete.
    fn gets_ready(self) -> bool {
        matches!(self, Self::Mirror | Self::ActiveCommit)
    }
}

/// Where a job stands.
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

/// What a job does about an error.
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
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn find(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| *job.id == *id)
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.number == number)
    }

    /// Whether a job works on a node.
    pub(crate) fn uses(&self, node: &str) -> bool {
        self.jobs.iter().any(|job| *job.source == *node || job.target.as_deref() == Some(node))
    }
}

pub(crate) fn commands() -> Vec<Entry> {
    [start::commands(), verbs::commands(), query::commands()].into_iter().flatten().collect()
}

//! The state of the jobs.

use qmp_server::Refusal;

use crate::refusals::generic;

/// The jobs, in the order in which they were started.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(super) jobs: Vec<Job>,
    pub(super) started: u64,
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(super) id: Box<str>,
    /// Distinguishes the job from a later one of the same identifier.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) source: Box<str>,
    pub(super) target: Option<Box<str>>,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) speed: u64,
    pub(super) auto_finalize: bool,
    pub(super) auto_dismiss: bool,
    pub(super) on_source_error: Policy,
    pub(super) on_target_error: Policy,
    pub(super) error: Option<Box<str>>,
    /// Whether a command or an error paused the job.
    pub(super) paused: bool,
    pub(super) io_failed: bool,
    /// Whether the job was asked to complete; a paused job completes once it is resumed.
    pub(super) completes: bool,
    /// Whether the job was asked to finish without waiting for its work.
    pub(super) cancelled: bool,
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) fn as_str(self) -> &'static str {
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
    pub(super) fn is_block_job(self) -> bool {
        matches!(self, Self::Mirror | Self::Backup | Self::Stream | Self::Commit | Self::ActiveCommit)
    }

    /// Returns whether the job becomes ready and then waits for a command to complete it.
    pub(super) fn gets_ready(self) -> bool {
        matches!(self, Self::Mirror | Self::ActiveCommit)
    }
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
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
    pub(super) fn as_str(self) -> &'static str {
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
pub(super) enum Policy {
    #[default]
    Report,
    Ignore,
    Enospc,
    Stop,
    Auto,
}

impl Jobs {
    /// Returns the number of jobs.
    pub(in crate::devices) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| *job.id == *id)
    }

    pub(super) fn by_number(&mut self, number: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.number == number)
    }

    /// Returns the jobs that use the node.
    pub(super) fn users<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Job> {
        self.jobs.iter().filter(move |job| {
            job.holds_nodes() && (*job.source == *node || job.target.as_deref() == Some(node))
        })
    }

    /// Refuses an operation on a node that a job blocks. The source of a backup is not blocked.
    pub(super) fn expect_unblocked(&self, node: &str) -> Result<(), Refusal> {
        match self.users(node).find(|job| job.kind != Kind::Backup || *job.source != *node) {
            Some(job) => {
                let kind = job.kind.as_str();
                Err(generic(format!("Node '{node}' is busy: block device is in use by block job: {kind}")))
            }
            None => Ok(()),
        }
    }

    /// Refuses to delete a node that a job uses.
    pub(crate) fn expect_unused(&self, node: &str) -> Result<(), Refusal> {
        if self.users(node).any(|job| job.kind == Kind::Mirror && *job.source != *node) {
            return Err(generic(format!("Node {node} is in use")));
        }
        self.expect_unblocked(node)?;
        if self.users(node).next().is_some() {
            return Err(generic(format!("Block device {node} is in use")));
        }
        Ok(())
    }
}

impl Job {
    /// Returns whether the job uses its nodes: a concluded one does not, unless it is a stream, or a commit that succeeded.
    ///
    /// Source: measured on 7.2.
    fn holds_nodes(&self) -> bool {
        match self.status {
            Status::Concluded => match self.kind {
                Kind::Stream => true,
                Kind::Commit => self.error.is_none(),
                _ => false,
            },
            status => status != Status::Null,
        }
    }
}

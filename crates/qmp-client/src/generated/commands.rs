// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! The typed commands of `catalogue/commands/commands.toml`, and the types of their replies.

use serde::{Deserialize, Serialize};

use qmp_events::Release;

use crate::typed::{ArgumentDesc, CommandDesc, Nothing, TypedCommand};

/// The typed commands, in the order of the table.
pub const COMMANDS: &[CommandDesc] = &[
    CommandDesc {
        name: "query-status",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-name",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-uuid",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-version",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-jobs",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-block-jobs",
        since: Release::new(1, 1),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-block",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "migrate",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[
            ArgumentDesc {
                name: "uri",
                mandatory: true,
                optional_since: Some(Release::new(9, 0)),
                since: Release::new(0, 14),
                removed: None,
            },
            ArgumentDesc {
                name: "blk",
                mandatory: false,
                optional_since: None,
                since: Release::new(0, 14),
                removed: Some(Release::new(9, 1)),
            },
            ArgumentDesc {
                name: "inc",
                mandatory: false,
                optional_since: None,
                since: Release::new(0, 14),
                removed: Some(Release::new(9, 1)),
            },
            ArgumentDesc {
                name: "resume",
                mandatory: false,
                optional_since: None,
                since: Release::new(3, 0),
                removed: None,
            },
        ],
        accepts_others: false,
    },
    CommandDesc {
        name: "migrate_cancel",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-migrate",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "balloon",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "value",
            mandatory: true,
            optional_since: None,
            since: Release::new(0, 14),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "query-balloon",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "device_add",
        since: Release::new(0, 13),
        removed: None,
        arguments: &[
            ArgumentDesc {
                name: "driver",
                mandatory: true,
                optional_since: None,
                since: Release::new(0, 13),
                removed: None,
            },
            ArgumentDesc {
                name: "bus",
                mandatory: false,
                optional_since: None,
                since: Release::new(0, 13),
                removed: None,
            },
            ArgumentDesc {
                name: "id",
                mandatory: false,
                optional_since: None,
                since: Release::new(0, 13),
                removed: None,
            },
        ],
        accepts_others: true,
    },
    CommandDesc {
        name: "device_del",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(0, 14),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "system_powerdown",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "system_reset",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "system_wakeup",
        since: Release::new(1, 1),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "stop",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "cont",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "quit",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[],
        accepts_others: false,
    },
    CommandDesc {
        name: "screendump",
        since: Release::new(0, 14),
        removed: None,
        arguments: &[
            ArgumentDesc {
                name: "filename",
                mandatory: true,
                optional_since: None,
                since: Release::new(0, 14),
                removed: None,
            },
            ArgumentDesc {
                name: "device",
                mandatory: false,
                optional_since: None,
                since: Release::new(2, 12),
                removed: None,
            },
            ArgumentDesc {
                name: "head",
                mandatory: false,
                optional_since: None,
                since: Release::new(2, 12),
                removed: None,
            },
            ArgumentDesc {
                name: "format",
                mandatory: false,
                optional_since: None,
                since: Release::new(7, 1),
                removed: None,
            },
        ],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-cancel",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-complete",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-pause",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-resume",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-finalize",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "job-dismiss",
        since: Release::new(3, 0),
        removed: None,
        arguments: &[ArgumentDesc {
            name: "id",
            mandatory: true,
            optional_since: None,
            since: Release::new(3, 0),
            removed: None,
        }],
        accepts_others: false,
    },
    CommandDesc {
        name: "block-job-cancel",
        since: Release::new(1, 1),
        removed: None,
        arguments: &[
            ArgumentDesc {
                name: "device",
                mandatory: true,
                optional_since: None,
                since: Release::new(1, 1),
                removed: None,
            },
            ArgumentDesc {
                name: "force",
                mandatory: false,
                optional_since: None,
                since: Release::new(1, 3),
                removed: None,
            },
        ],
        accepts_others: false,
    },
];

/// `query-status`: whether the VM runs, and its run state.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryStatus {}

impl QueryStatus {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryStatus {
    type Reply = StatusInfo;
    const NAME: &'static str = "query-status";
}

/// `query-name`: the name of the VM (`-name`).
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryName {}

impl QueryName {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryName {
    type Reply = NameInfo;
    const NAME: &'static str = "query-name";
}

/// `query-uuid`: the UUID of the VM (`-uuid`).
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryUuid {}

impl QueryUuid {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryUuid {
    type Reply = UuidInfo;
    const NAME: &'static str = "query-uuid";
}

/// `query-version`: the version of QEMU.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryVersion {}

impl QueryVersion {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryVersion {
    type Reply = VersionInfo;
    const NAME: &'static str = "query-version";
}

/// `query-jobs`: all background jobs.
///
/// Since 3.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryJobs {}

impl QueryJobs {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryJobs {
    type Reply = Vec<JobInfo>;
    const NAME: &'static str = "query-jobs";
}

/// `query-block-jobs`: all running block jobs.
///
/// Since 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryBlockJobs {}

impl QueryBlockJobs {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryBlockJobs {
    type Reply = Vec<BlockJobInfo>;
    const NAME: &'static str = "query-block-jobs";
}

/// `query-block`: all virtual block devices.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryBlock {}

impl QueryBlock {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryBlock {
    type Reply = Vec<BlockInfo>;
    const NAME: &'static str = "query-block";
}

/// `migrate`: starts a migration; it ends later, which `query-migrate` and `MIGRATION` events report.
///
/// Since 0.14.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Migrate {
    /// The destination, such as `tcp:host:port` or `unix:path`. QEMU 9.0 and later accept `channels` in its place, which is not typed.
    pub uri: Box<str>,
    /// Copies the disks, too. Removed in 9.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blk: Option<bool>,
    /// Copies only the changed parts of the disks. Removed in 9.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inc: Option<bool>,
    /// Resumes a paused postcopy migration. Since 3.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<bool>,
}

impl Migrate {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(uri: impl Into<Box<str>>) -> Self {
        Self { uri: uri.into(), blk: None, inc: None, resume: None }
    }

    /// Sets `blk`.
    #[must_use]
    pub fn blk(mut self, value: bool) -> Self {
        self.blk = Some(value);
        self
    }

    /// Sets `inc`.
    #[must_use]
    pub fn inc(mut self, value: bool) -> Self {
        self.inc = Some(value);
        self
    }

    /// Sets `resume`.
    #[must_use]
    pub fn resume(mut self, value: bool) -> Self {
        self.resume = Some(value);
        self
    }
}

impl TypedCommand for Migrate {
    type Reply = Nothing;
    const NAME: &'static str = "migrate";
}

/// `migrate_cancel`: cancels the migration, if there is one.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MigrateCancel {}

impl MigrateCancel {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for MigrateCancel {
    type Reply = Nothing;
    const NAME: &'static str = "migrate_cancel";
}

/// `query-migrate`: the state of the last migration.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryMigrate {}

impl QueryMigrate {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryMigrate {
    type Reply = MigrationInfo;
    const NAME: &'static str = "query-migrate";
}

/// `balloon`: asks the guest to change its memory size; a BALLOON_CHANGE event follows.
///
/// Since 0.14.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Balloon {
    /// The size to reach, in bytes.
    pub value: i64,
}

impl Balloon {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(value: i64) -> Self {
        Self { value }
    }
}

impl TypedCommand for Balloon {
    type Reply = Nothing;
    const NAME: &'static str = "balloon";
}

/// `query-balloon`: the present memory size of the guest.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryBalloon {}

impl QueryBalloon {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for QueryBalloon {
    type Reply = BalloonInfo;
    const NAME: &'static str = "query-balloon";
}

/// `device_add`: plugs a device.
///
/// Since 0.13.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeviceAdd {
    /// The device's type, such as `virtio-net-pci`.
    pub driver: Box<str>,
    /// The bus to plug it into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<Box<str>>,
    /// The device's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// Properties of the device.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl DeviceAdd {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(driver: impl Into<Box<str>>) -> Self {
        Self { driver: driver.into(), bus: None, id: None, extra: serde_json::Map::new() }
    }

    /// Sets `bus`.
    #[must_use]
    pub fn bus(mut self, value: impl Into<Box<str>>) -> Self {
        self.bus = Some(value.into());
        self
    }

    /// Sets `id`.
    #[must_use]
    pub fn id(mut self, value: impl Into<Box<str>>) -> Self {
        self.id = Some(value.into());
        self
    }

    /// Adds an argument by another name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }
}

impl TypedCommand for DeviceAdd {
    type Reply = Nothing;
    const NAME: &'static str = "device_add";
}

/// `device_del`: asks the guest to release a device; a DEVICE_DELETED event follows when it is gone.
///
/// Since 0.14.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeviceDel {
    /// The device's id or its QOM path.
    pub id: Box<str>,
}

impl DeviceDel {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for DeviceDel {
    type Reply = Nothing;
    const NAME: &'static str = "device_del";
}

/// `system_powerdown`: presses the power button of the VM; the guest may ignore it.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemPowerdown {}

impl SystemPowerdown {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for SystemPowerdown {
    type Reply = Nothing;
    const NAME: &'static str = "system_powerdown";
}

/// `system_reset`: resets the VM.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemReset {}

impl SystemReset {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for SystemReset {
    type Reply = Nothing;
    const NAME: &'static str = "system_reset";
}

/// `system_wakeup`: wakes the guest from suspend.
///
/// Since 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemWakeup {}

impl SystemWakeup {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for SystemWakeup {
    type Reply = Nothing;
    const NAME: &'static str = "system_wakeup";
}

/// `stop`: pauses the VM.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stop {}

impl Stop {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for Stop {
    type Reply = Nothing;
    const NAME: &'static str = "stop";
}

/// `cont`: continues the VM.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cont {}

impl Cont {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for Cont {
    type Reply = Nothing;
    const NAME: &'static str = "cont";
}

/// `quit`: ends QEMU at once, without the guest's help.
///
/// Since 0.14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Quit {}

impl Quit {
    /// The command.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl TypedCommand for Quit {
    type Reply = Nothing;
    const NAME: &'static str = "quit";
}

/// `screendump`: writes the screen of the VM to a file.
///
/// Since 0.14.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Screendump {
    /// The file, on QEMU's host.
    pub filename: Box<str>,
    /// The display device; the first one if absent. Since 2.12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<str>>,
    /// The head of the device; needs `device`. Since 2.12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<i64>,
    /// `ppm`, the default, or `png`. Since 7.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Box<str>>,
}

impl Screendump {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(filename: impl Into<Box<str>>) -> Self {
        Self { filename: filename.into(), device: None, head: None, format: None }
    }

    /// Sets `device`.
    #[must_use]
    pub fn device(mut self, value: impl Into<Box<str>>) -> Self {
        self.device = Some(value.into());
        self
    }

    /// Sets `head`.
    #[must_use]
    pub fn head(mut self, value: i64) -> Self {
        self.head = Some(value);
        self
    }

    /// Sets `format`.
    #[must_use]
    pub fn format(mut self, value: impl Into<Box<str>>) -> Self {
        self.format = Some(value.into());
        self
    }
}

impl TypedCommand for Screendump {
    type Reply = Nothing;
    const NAME: &'static str = "screendump";
}

/// `job-cancel`: cancels a job.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobCancel {
    /// The job.
    pub id: Box<str>,
}

impl JobCancel {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobCancel {
    type Reply = Nothing;
    const NAME: &'static str = "job-cancel";
}

/// `job-complete`: completes a job that is ready, such as a mirror.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobComplete {
    /// The job.
    pub id: Box<str>,
}

impl JobComplete {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobComplete {
    type Reply = Nothing;
    const NAME: &'static str = "job-complete";
}

/// `job-pause`: pauses a job.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobPause {
    /// The job.
    pub id: Box<str>,
}

impl JobPause {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobPause {
    type Reply = Nothing;
    const NAME: &'static str = "job-pause";
}

/// `job-resume`: resumes a paused job.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobResume {
    /// The job.
    pub id: Box<str>,
}

impl JobResume {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobResume {
    type Reply = Nothing;
    const NAME: &'static str = "job-resume";
}

/// `job-finalize`: finalizes a job that is pending.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobFinalize {
    /// The job.
    pub id: Box<str>,
}

impl JobFinalize {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobFinalize {
    type Reply = Nothing;
    const NAME: &'static str = "job-finalize";
}

/// `job-dismiss`: removes a concluded job from the list.
///
/// Since 3.0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobDismiss {
    /// The job.
    pub id: Box<str>,
}

impl JobDismiss {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into() }
    }
}

impl TypedCommand for JobDismiss {
    type Reply = Nothing;
    const NAME: &'static str = "job-dismiss";
}

/// `block-job-cancel`: cancels a block job.
///
/// Since 1.1.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockJobCancel {
    /// The job's id, or its device before 2.7.
    pub device: Box<str>,
    /// Abandons the job at once, also if it is ready or paused. Since 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

impl BlockJobCancel {
    /// The command with its mandatory arguments.
    #[must_use]
    pub fn new(device: impl Into<Box<str>>) -> Self {
        Self { device: device.into(), force: None }
    }

    /// Sets `force`.
    #[must_use]
    pub fn force(mut self, value: bool) -> Self {
        self.force = Some(value);
        self
    }
}

impl TypedCommand for BlockJobCancel {
    type Reply = Nothing;
    const NAME: &'static str = "block-job-cancel";
}

/// The reply to `query-status`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct StatusInfo {
    /// Whether the virtual CPUs run.
    pub running: bool,
    /// The run state, such as `running` or `paused`.
    pub status: Box<str>,
}

/// The reply to `query-name`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct NameInfo {
    /// The name; `None` if the VM has none.
    pub name: Option<Box<str>>,
}

/// The reply to `query-uuid`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct UuidInfo {
    /// The UUID; all zeros if the VM has none.
    #[serde(rename = "UUID")]
    pub uuid: Box<str>,
}

/// The reply to `query-version`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct VersionInfo {
    /// The three numbers.
    pub qemu: VersionTriple,
    /// The distribution's package, or an empty text.
    pub package: Box<str>,
}

/// The numbers of a version.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct VersionTriple {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub micro: u32,
}

/// A job, in the reply to `query-jobs`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct JobInfo {
    /// The job's id.
    pub id: Box<str>,
    /// What the job does.
    pub r#type: qmp_events::JobType,
    /// The job's state.
    pub status: qmp_events::JobStatus,
    /// Progress so far, in a unit of the job.
    #[serde(rename = "current-progress")]
    pub current_progress: i64,
    /// Estimated progress at the end; it may change.
    #[serde(rename = "total-progress")]
    pub total_progress: i64,
    /// Why the job failed.
    pub error: Option<Box<str>>,
}

/// A block job, in the reply to `query-block-jobs`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BlockJobInfo {
    /// What the job does.
    pub r#type: qmp_events::JobType,
    /// The job's id, or its device before 2.7.
    pub device: Box<str>,
    /// Estimated progress at the end, in bytes; it may change.
    pub len: i64,
    /// Progress so far, in bytes.
    pub offset: i64,
    /// The rate limit, in bytes a second; 0: none.
    pub speed: i64,
    /// Whether the job works at the moment. Since 1.3.
    pub busy: Option<bool>,
    /// Whether the job is paused. Since 1.3.
    pub paused: Option<bool>,
    /// Whether the job can be completed. Since 2.2.
    pub ready: Option<bool>,
    /// `ok`, `failed` or `nospace`. Since 1.3.
    #[serde(rename = "io-status")]
    pub io_status: Option<Box<str>>,
    /// The job's state. Since 2.12.
    pub status: Option<qmp_events::JobStatus>,
    /// Whether the job finalizes by itself. Since 2.12.
    #[serde(rename = "auto-finalize")]
    pub auto_finalize: Option<bool>,
    /// Whether the job is removed when it has concluded. Since 2.12.
    #[serde(rename = "auto-dismiss")]
    pub auto_dismiss: Option<bool>,
    /// Why the job failed. Since 2.12.1.
    pub error: Option<Box<str>>,
}

/// A block device, in the reply to `query-block`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BlockInfo {
    /// The name of the backend (`-drive id`); empty if it has none.
    pub device: Box<str>,
    /// The id or QOM path of the frontend. Since 2.10.
    pub qdev: Option<Box<str>>,
    /// Whether the medium can be changed.
    pub removable: bool,
    /// Whether the guest locks the tray.
    pub locked: bool,
    /// Whether the tray is open; `None` without a tray.
    pub tray_open: Option<bool>,
    /// `ok`, `failed` or `nospace`; absent without `stop` or `enospc`.
    #[serde(rename = "io-status")]
    pub io_status: Option<Box<str>>,
    /// The medium, if there is one.
    pub inserted: Option<BlockDeviceInfo>,
}

/// The medium of a block device.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BlockDeviceInfo {
    /// The image's file name.
    pub file: Box<str>,
    /// The name of the block node. Since 2.0.
    #[serde(rename = "node-name")]
    pub node_name: Option<Box<str>>,
    /// Whether it is read-only.
    pub ro: bool,
    /// The image's format, such as `qcow2`.
    pub drv: Box<str>,
}

/// The reply to `query-migrate`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct MigrationInfo {
    /// The state; `None` if no migration was started.
    pub status: Option<qmp_events::MigrationStatus>,
    /// Progress of the memory.
    pub ram: Option<MigrationRam>,
    /// Duration so far, in milliseconds. Since 1.2.
    #[serde(rename = "total-time")]
    pub total_time: Option<i64>,
    /// Expected pause of the guest, in milliseconds. Since 1.3.
    #[serde(rename = "expected-downtime")]
    pub expected_downtime: Option<i64>,
    /// Pause of the guest at the end, in milliseconds. Since 1.3.
    pub downtime: Option<i64>,
    /// Why it failed. Since 2.7.
    #[serde(rename = "error-desc")]
    pub error_desc: Option<Box<str>>,
}

/// Progress of the memory in a migration.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct MigrationRam {
    /// Sent so far, in bytes.
    pub transferred: i64,
    /// Left to send, in bytes.
    pub remaining: i64,
    /// Memory of the guest, in bytes.
    pub total: i64,
}

/// The reply to `query-balloon`.
///
/// Members that other releases add are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BalloonInfo {
    /// The size, in bytes.
    pub actual: i64,
}

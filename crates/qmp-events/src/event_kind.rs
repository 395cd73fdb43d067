// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! The kinds of events.
#![allow(clippy::doc_markdown, reason = "texts of the catalogue")]

/// The kind of an event, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The guest reported through ACPI how a hot-plug or hot-unplug of a memory module or processor goes.
    AcpiDeviceOst,
    /// The amount of memory that the guest has after ballooning changed.
    BalloonChange,
    /// A block export is gone and its identifier can be used again.
    BlockExportDeleted,
    /// The driver of an image format found the metadata of the image damaged.
    BlockImageCorrupted,
    /// A disk request of the guest failed.
    BlockIoError,
    /// A block job ended because it was cancelled.
    BlockJobCancelled,
    /// A block job ended by itself, with success unless `error` is there.
    BlockJobCompleted,
    /// A block job met an input/output error.
    BlockJobError,
    /// A block job without auto-finalize has done its work and waits for `job-finalize`.
    BlockJobPending,
    /// A block job has caught up with its source and can be completed at any time.
    BlockJobReady,
    /// The guest wrote beyond the mark that `block-set-write-threshold` had set on a node.
    BlockWriteThreshold,
    /// A VM left COLO fault-tolerance mode.
    ColoExit,
    /// A command was thrown away because too many were waiting on a monitor with out-of-band execution.
    CommandDropped,
    /// An s390x guest asked for another polarization of its processors.
    CpuPolarizationChange,
    /// The VM stopped for a debugger.
    Debug,
    /// A device object was destroyed, and its identifier is free again.
    DeviceDeleted,
    /// The tray of a drive with removable media was opened or closed, by the guest or by a command.
    DeviceTrayMoved,
    /// The guest refused to release a device, so the unplug did not happen.
    DeviceUnplugGuestError,
    /// A dump of guest memory that ran in the background has ended, well or not.
    DumpCompleted,
    /// The guest's driver accepted virtio-net failover, so the hidden primary device is being plugged in.
    FailoverNegotiated,
    /// The guest panicked, but deals with it itself, for instance in a crash kernel that writes a dump.
    GuestCrashloaded,
    /// The guest's operating system panicked.
    GuestPanicked,
    /// The guest asked to be shut down through the pvpanic device.
    GuestPvshutdown,
    /// A guest with the Hyper-V balloon driver sent a report on its memory.
    HvBalloonStatusReport,
    /// A background job entered another stage of its life.
    JobStatusChange,
    /// A memory device provides more or less memory to the guest than before.
    MemoryDeviceSizeChange,
    /// The host's hardware reported failed memory.
    MemoryFailure,
    /// A memory device could not be unplugged.
    MemUnplugError,
    /// A migration entered another phase, on either side.
    Migration,
    /// The source of a migration begins another pass over the guest's memory.
    MigrationPass,
    /// A stream network backend has its peer.
    NetdevStreamConnected,
    /// A stream network backend lost its peer.
    NetdevStreamDisconnected,
    /// A vhost-user network backend has its process on the other end.
    NetdevVhostUserConnected,
    /// A vhost-user network backend lost the process on the other end.
    NetdevVhostUserDisconnected,
    /// The guest changed which frames a network device is to receive.
    NicRxFilterChanged,
    /// The power button of the machine was pressed: the guest is asked to switch itself off.
    Powerdown,
    /// A persistent reservation manager found or lost its helper process.
    PrManagerStatusChanged,
    /// A quorum node could not serve a request: too few of its children agreed.
    QuorumFailure,
    /// A child of a quorum node failed, or returned other data than the majority.
    QuorumReportBad,
    /// The guest's driver of a paravirtual RDMA device added or removed a global identifier (GID).
    RdmaGidStatusChanged,
    /// The machine was reset.
    Reset,
    /// The VM runs again, or for the first time.
    Resume,
    /// The guest set its real-time clock.
    RtcChange,
    /// An s390x guest told the machine what it is: system type, name, level and sysplex.
    SclpCpiInfoAvailable,
    /// The VM has shut down, and QEMU is about to exit unless it was configured to stay.
    Shutdown,
    /// A SPICE client opened a connection for a channel.
    SpiceConnected,
    /// The connection of a SPICE channel was closed.
    SpiceDisconnected,
    /// A SPICE channel is up: the client has proved who it is, and the channel works.
    SpiceInitialized,
    /// The SPICE clients have been handed over to the destination of a migration.
    SpiceMigrateCompleted,
    /// The VM is stopped.
    Stop,
    /// The guest went to sleep with its memory powered (ACPI S3).
    Suspend,
    /// The guest hibernated to its disk (ACPI S4).
    SuspendDisk,
    /// The source of a migration has the primary device of a failover pair unplugged from the guest.
    UnplugPrimary,
    /// The migration state of a VFIO device changed.
    VfioMigration,
    /// The client of a vfio-user server closed its connection.
    VfuClientHangup,
    /// A VNC client opened a connection.
    VncConnected,
    /// The connection of a VNC client was closed.
    VncDisconnected,
    /// A VNC client has proved who it is, where that is asked for, and its session has begun.
    VncInitialized,
    /// The guest opened or closed a virtio-serial port.
    VserportChange,
    /// The guest woke from ACPI S3 and runs.
    Wakeup,
    /// A watchdog expired: the guest has not reset it in time.
    Watchdog,
}

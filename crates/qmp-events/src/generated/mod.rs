// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! The catalogue as Rust.
#![allow(clippy::doc_markdown, reason = "texts of the catalogue")]
#![allow(clippy::large_enum_variant, reason = "events are decoded and read, not stored")]

pub(crate) mod desc;
mod types;

pub use types::*;

use crate::desc::EventDesc;
use crate::event_kind::EventKind;

/// All events, sorted by name.
pub(crate) static EVENTS: [EventDesc; 61] = [
    desc::acpi::ACPI_DEVICE_OST,
    desc::machine::BALLOON_CHANGE,
    desc::block_export::BLOCK_EXPORT_DELETED,
    desc::block_core::BLOCK_IMAGE_CORRUPTED,
    desc::block_core::BLOCK_IO_ERROR,
    desc::block_core::BLOCK_JOB_CANCELLED,
    desc::block_core::BLOCK_JOB_COMPLETED,
    desc::block_core::BLOCK_JOB_ERROR,
    desc::block_core::BLOCK_JOB_PENDING,
    desc::block_core::BLOCK_JOB_READY,
    desc::block_core::BLOCK_WRITE_THRESHOLD,
    desc::migration::COLO_EXIT,
    desc::misc::COMMAND_DROPPED,
    desc::machine_s390x::CPU_POLARIZATION_CHANGE,
    desc::run_state::DEBUG,
    desc::qdev::DEVICE_DELETED,
    desc::block_core::DEVICE_TRAY_MOVED,
    desc::qdev::DEVICE_UNPLUG_GUEST_ERROR,
    desc::dump::DUMP_COMPLETED,
    desc::net::FAILOVER_NEGOTIATED,
    desc::run_state::GUEST_CRASHLOADED,
    desc::run_state::GUEST_PANICKED,
    desc::run_state::GUEST_PVSHUTDOWN,
    desc::machine::HV_BALLOON_STATUS_REPORT,
    desc::job::JOB_STATUS_CHANGE,
    desc::machine::MEMORY_DEVICE_SIZE_CHANGE,
    desc::run_state::MEMORY_FAILURE,
    desc::machine::MEM_UNPLUG_ERROR,
    desc::migration::MIGRATION,
    desc::migration::MIGRATION_PASS,
    desc::net::NETDEV_STREAM_CONNECTED,
    desc::net::NETDEV_STREAM_DISCONNECTED,
    desc::net::NETDEV_VHOST_USER_CONNECTED,
    desc::net::NETDEV_VHOST_USER_DISCONNECTED,
    desc::net::NIC_RX_FILTER_CHANGED,
    desc::run_state::POWERDOWN,
    desc::block_core::PR_MANAGER_STATUS_CHANGED,
    desc::block_core::QUORUM_FAILURE,
    desc::block_core::QUORUM_REPORT_BAD,
    desc::rdma::RDMA_GID_STATUS_CHANGED,
    desc::run_state::RESET,
    desc::run_state::RESUME,
    desc::misc::RTC_CHANGE,
    desc::machine_s390x::SCLP_CPI_INFO_AVAILABLE,
    desc::run_state::SHUTDOWN,
    desc::ui::SPICE_CONNECTED,
    desc::ui::SPICE_DISCONNECTED,
    desc::ui::SPICE_INITIALIZED,
    desc::ui::SPICE_MIGRATE_COMPLETED,
    desc::run_state::STOP,
    desc::run_state::SUSPEND,
    desc::run_state::SUSPEND_DISK,
    desc::migration::UNPLUG_PRIMARY,
    desc::vfio::VFIO_MIGRATION,
    desc::misc::VFU_CLIENT_HANGUP,
    desc::ui::VNC_CONNECTED,
    desc::ui::VNC_DISCONNECTED,
    desc::ui::VNC_INITIALIZED,
    desc::char::VSERPORT_CHANGE,
    desc::run_state::WAKEUP,
    desc::run_state::WATCHDOG,
];

crate::event::wire_events! {
    /// The guest reported through ACPI how a hot-plug or hot-unplug of a memory module or processor goes.
    AcpiDeviceOst(AcpiDeviceOst),
    /// The amount of memory that the guest has after ballooning changed.
    BalloonChange(BalloonChange),
    /// A block export is gone and its identifier can be used again.
    BlockExportDeleted(BlockExportDeleted),
    /// The driver of an image format found the metadata of the image damaged.
    BlockImageCorrupted(BlockImageCorrupted),
    /// A disk request of the guest failed.
    BlockIoError(BlockIoError),
    /// A block job ended because it was cancelled.
    BlockJobCancelled(BlockJobCancelled),
    /// A block job ended by itself, with success unless `error` is there.
    BlockJobCompleted(BlockJobCompleted),
    /// A block job met an input/output error.
    BlockJobError(BlockJobError),
    /// A block job without auto-finalize has done its work and waits for `job-finalize`.
    BlockJobPending(BlockJobPending),
    /// A block job has caught up with its source and can be completed at any time.
    BlockJobReady(BlockJobReady),
    /// The guest wrote beyond the mark that `block-set-write-threshold` had set on a node.
    BlockWriteThreshold(BlockWriteThreshold),
    /// A VM left COLO fault-tolerance mode.
    ColoExit(ColoExit),
    /// A command was thrown away because too many were waiting on a monitor with out-of-band execution.
    CommandDropped(CommandDropped),
    /// An s390x guest asked for another polarization of its processors.
    CpuPolarizationChange(CpuPolarizationChange),
    /// The VM stopped for a debugger.
    Debug(crate::wire::UnknownMembers),
    /// A device object was destroyed, and its identifier is free again.
    DeviceDeleted(DeviceDeleted),
    /// The tray of a drive with removable media was opened or closed, by the guest or by a command.
    DeviceTrayMoved(DeviceTrayMoved),
    /// The guest refused to release a device, so the unplug did not happen.
    DeviceUnplugGuestError(DeviceUnplugGuestError),
    /// A dump of guest memory that ran in the background has ended, well or not.
    DumpCompleted(DumpCompleted),
    /// The guest's driver accepted virtio-net failover, so the hidden primary device is being plugged in.
    FailoverNegotiated(FailoverNegotiated),
    /// The guest panicked, but deals with it itself, for instance in a crash kernel that writes a dump.
    GuestCrashloaded(GuestCrashloaded),
    /// The guest's operating system panicked.
    GuestPanicked(GuestPanicked),
    /// The guest asked to be shut down through the pvpanic device.
    GuestPvshutdown(crate::wire::UnknownMembers),
    /// A guest with the Hyper-V balloon driver sent a report on its memory.
    HvBalloonStatusReport(HvBalloonStatusReport),
    /// A background job entered another stage of its life.
    JobStatusChange(JobStatusChange),
    /// A memory device provides more or less memory to the guest than before.
    MemoryDeviceSizeChange(MemoryDeviceSizeChange),
    /// The host's hardware reported failed memory.
    MemoryFailure(MemoryFailure),
    /// A memory device could not be unplugged.
    MemUnplugError(MemUnplugError),
    /// A migration entered another phase, on either side.
    Migration(Migration),
    /// The source of a migration begins another pass over the guest's memory.
    MigrationPass(MigrationPass),
    /// A stream network backend has its peer.
    NetdevStreamConnected(NetdevStreamConnected),
    /// A stream network backend lost its peer.
    NetdevStreamDisconnected(NetdevStreamDisconnected),
    /// A vhost-user network backend has its process on the other end.
    NetdevVhostUserConnected(NetdevVhostUserConnected),
    /// A vhost-user network backend lost the process on the other end.
    NetdevVhostUserDisconnected(NetdevVhostUserDisconnected),
    /// The guest changed which frames a network device is to receive.
    NicRxFilterChanged(NicRxFilterChanged),
    /// The power button of the machine was pressed: the guest is asked to switch itself off.
    Powerdown(crate::wire::UnknownMembers),
    /// A persistent reservation manager found or lost its helper process.
    PrManagerStatusChanged(PrManagerStatusChanged),
    /// A quorum node could not serve a request: too few of its children agreed.
    QuorumFailure(QuorumFailure),
    /// A child of a quorum node failed, or returned other data than the majority.
    QuorumReportBad(QuorumReportBad),
    /// The guest's driver of a paravirtual RDMA device added or removed a global identifier (GID).
    RdmaGidStatusChanged(RdmaGidStatusChanged),
    /// The machine was reset.
    Reset(Reset),
    /// The VM runs again, or for the first time.
    Resume(crate::wire::UnknownMembers),
    /// The guest set its real-time clock.
    RtcChange(RtcChange),
    /// An s390x guest told the machine what it is: system type, name, level and sysplex.
    SclpCpiInfoAvailable(crate::wire::UnknownMembers),
    /// The VM has shut down, and QEMU is about to exit unless it was configured to stay.
    Shutdown(Shutdown),
    /// A SPICE client opened a connection for a channel.
    SpiceConnected(SpiceConnected),
    /// The connection of a SPICE channel was closed.
    SpiceDisconnected(SpiceDisconnected),
    /// A SPICE channel is up: the client has proved who it is, and the channel works.
    SpiceInitialized(SpiceInitialized),
    /// The SPICE clients have been handed over to the destination of a migration.
    SpiceMigrateCompleted(crate::wire::UnknownMembers),
    /// The VM is stopped.
    Stop(crate::wire::UnknownMembers),
    /// The guest went to sleep with its memory powered (ACPI S3).
    Suspend(crate::wire::UnknownMembers),
    /// The guest hibernated to its disk (ACPI S4).
    SuspendDisk(crate::wire::UnknownMembers),
    /// The source of a migration has the primary device of a failover pair unplugged from the guest.
    UnplugPrimary(UnplugPrimary),
    /// The migration state of a VFIO device changed.
    VfioMigration(VfioMigration),
    /// The client of a vfio-user server closed its connection.
    VfuClientHangup(VfuClientHangup),
    /// A VNC client opened a connection.
    VncConnected(VncConnected),
    /// The connection of a VNC client was closed.
    VncDisconnected(VncDisconnected),
    /// A VNC client has proved who it is, where that is asked for, and its session has begun.
    VncInitialized(VncInitialized),
    /// The guest opened or closed a virtio-serial port.
    VserportChange(VserportChange),
    /// The guest woke from ACPI S3 and runs.
    Wakeup(crate::wire::UnknownMembers),
    /// A watchdog expired: the guest has not reset it in time.
    Watchdog(Watchdog),
}

crate::event::dataless_events! {
    /// The VM stopped for a debugger.
    Debug,
    /// The guest asked to be shut down through the pvpanic device.
    GuestPvshutdown,
    /// The power button of the machine was pressed: the guest is asked to switch itself off.
    Powerdown,
    /// The VM runs again, or for the first time.
    Resume,
    /// An s390x guest told the machine what it is: system type, name, level and sysplex.
    SclpCpiInfoAvailable,
    /// The SPICE clients have been handed over to the destination of a migration.
    SpiceMigrateCompleted,
    /// The VM is stopped.
    Stop,
    /// The guest went to sleep with its memory powered (ACPI S3).
    Suspend,
    /// The guest hibernated to its disk (ACPI S4).
    SuspendDisk,
    /// The guest woke from ACPI S3 and runs.
    Wakeup,
}

impl EventKind {
    /// Returns the event of that name; `None` if it is not in the catalogue.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.len() {
            4 => match name {
                "STOP" => Self::Stop,
                _ => return None,
            },
            5 => match name {
                "DEBUG" => Self::Debug,
                "RESET" => Self::Reset,
                _ => return None,
            },
            6 => match name {
                "RESUME" => Self::Resume,
                "WAKEUP" => Self::Wakeup,
                _ => return None,
            },
            7 => match name {
                "SUSPEND" => Self::Suspend,
                _ => return None,
            },
            8 => match name {
                "SHUTDOWN" => Self::Shutdown,
                "WATCHDOG" => Self::Watchdog,
                _ => return None,
            },
            9 => match name {
                "COLO_EXIT" => Self::ColoExit,
                "MIGRATION" => Self::Migration,
                "POWERDOWN" => Self::Powerdown,
                _ => return None,
            },
            10 => match name {
                "RTC_CHANGE" => Self::RtcChange,
                _ => return None,
            },
            12 => match name {
                "SUSPEND_DISK" => Self::SuspendDisk,
                _ => return None,
            },
            13 => match name {
                "VNC_CONNECTED" => Self::VncConnected,
                _ => return None,
            },
            14 => match name {
                "BALLOON_CHANGE" => Self::BalloonChange,
                "BLOCK_IO_ERROR" => Self::BlockIoError,
                "DEVICE_DELETED" => Self::DeviceDeleted,
                "DUMP_COMPLETED" => Self::DumpCompleted,
                "GUEST_PANICKED" => Self::GuestPanicked,
                "MEMORY_FAILURE" => Self::MemoryFailure,
                "MIGRATION_PASS" => Self::MigrationPass,
                "QUORUM_FAILURE" => Self::QuorumFailure,
                "UNPLUG_PRIMARY" => Self::UnplugPrimary,
                "VFIO_MIGRATION" => Self::VfioMigration,
                _ => return None,
            },
            15 => match name {
                "ACPI_DEVICE_OST" => Self::AcpiDeviceOst,
                "BLOCK_JOB_ERROR" => Self::BlockJobError,
                "BLOCK_JOB_READY" => Self::BlockJobReady,
                "COMMAND_DROPPED" => Self::CommandDropped,
                "SPICE_CONNECTED" => Self::SpiceConnected,
                "VNC_INITIALIZED" => Self::VncInitialized,
                "VSERPORT_CHANGE" => Self::VserportChange,
                _ => return None,
            },
            16 => match name {
                "GUEST_PVSHUTDOWN" => Self::GuestPvshutdown,
                "MEM_UNPLUG_ERROR" => Self::MemUnplugError,
                "VNC_DISCONNECTED" => Self::VncDisconnected,
                _ => return None,
            },
            17 => match name {
                "BLOCK_JOB_PENDING" => Self::BlockJobPending,
                "DEVICE_TRAY_MOVED" => Self::DeviceTrayMoved,
                "GUEST_CRASHLOADED" => Self::GuestCrashloaded,
                "JOB_STATUS_CHANGE" => Self::JobStatusChange,
                "QUORUM_REPORT_BAD" => Self::QuorumReportBad,
                "SPICE_INITIALIZED" => Self::SpiceInitialized,
                "VFU_CLIENT_HANGUP" => Self::VfuClientHangup,
                _ => return None,
            },
            18 => match name {
                "SPICE_DISCONNECTED" => Self::SpiceDisconnected,
                _ => return None,
            },
            19 => match name {
                "BLOCK_JOB_CANCELLED" => Self::BlockJobCancelled,
                "BLOCK_JOB_COMPLETED" => Self::BlockJobCompleted,
                "FAILOVER_NEGOTIATED" => Self::FailoverNegotiated,
                _ => return None,
            },
            20 => match name {
                "BLOCK_EXPORT_DELETED" => Self::BlockExportDeleted,
                _ => return None,
            },
            21 => match name {
                "BLOCK_IMAGE_CORRUPTED" => Self::BlockImageCorrupted,
                "BLOCK_WRITE_THRESHOLD" => Self::BlockWriteThreshold,
                "NIC_RX_FILTER_CHANGED" => Self::NicRxFilterChanged,
                _ => return None,
            },
            23 => match name {
                "CPU_POLARIZATION_CHANGE" => Self::CpuPolarizationChange,
                "NETDEV_STREAM_CONNECTED" => Self::NetdevStreamConnected,
                "RDMA_GID_STATUS_CHANGED" => Self::RdmaGidStatusChanged,
                "SCLP_CPI_INFO_AVAILABLE" => Self::SclpCpiInfoAvailable,
                "SPICE_MIGRATE_COMPLETED" => Self::SpiceMigrateCompleted,
                _ => return None,
            },
            24 => match name {
                "HV_BALLOON_STATUS_REPORT" => Self::HvBalloonStatusReport,
                _ => return None,
            },
            25 => match name {
                "DEVICE_UNPLUG_GUEST_ERROR" => Self::DeviceUnplugGuestError,
                "MEMORY_DEVICE_SIZE_CHANGE" => Self::MemoryDeviceSizeChange,
                "PR_MANAGER_STATUS_CHANGED" => Self::PrManagerStatusChanged,
                _ => return None,
            },
            26 => match name {
                "NETDEV_STREAM_DISCONNECTED" => Self::NetdevStreamDisconnected,
                _ => return None,
            },
            27 => match name {
                "NETDEV_VHOST_USER_CONNECTED" => Self::NetdevVhostUserConnected,
                _ => return None,
            },
            30 => match name {
                "NETDEV_VHOST_USER_DISCONNECTED" => Self::NetdevVhostUserDisconnected,
                _ => return None,
            },
            _ => return None,
        })
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `block-core`.

wire_enum! {
    /// What was decided about an input/output error.
    BlockErrorAction {
        /// The error is passed over; a job that goes on may fail later. Since 0.13.
        Ignore = "ignore",
        /// The error is handed on: to the guest's device, or to the job, which then fails. Since 0.13.
        Report = "report",
        /// The VM is being stopped (BLOCK\_IO\_ERROR), or the job is being paused (BLOCK\_JOB\_ERROR). Since 0.13.
        Stop = "stop",
    }
}

wire_enum! {
    /// Operation of a quorum node that a child failed at.
    QuorumOpType {
        /// A read. Since 2.6.
        Read = "read",
        /// A write. Since 2.6.
        Write = "write",
        /// A flush; it concerns no particular sectors. Since 2.6.
        Flush = "flush",
    }
}

wire_struct! {
    /// Data of `BLOCK_IMAGE_CORRUPTED`: the driver of an image format found the metadata of the image damaged.
    BlockImageCorrupted {
        required {
            /// Name of the block device; empty when the image is attached to none that has a name.
            device: Box<str> = "device",
            /// Text for people on what is damaged.
            msg: Box<str> = "msg",
        }
        recent {
            /// Whether the image is unusable from here on, and closed; so it is also after damage to its tables that reading ran into. Since 2.2.
            fatal: bool = "fatal",
        }
        optional {
            /// Name of the node in the block graph. Since 2.4.
            node_name: Box<str> = "node-name",
            /// Where in the image file the access would have gone; only when an access found the damage. Unit: bytes.
            offset: i64 = "offset",
            /// Length of that access. Unit: bytes.
            size: i64 = "size",
        }
        printed {
            device = "device",
            msg = "msg",
            offset = "offset",
            node_name = "node-name",
            fatal = "fatal",
            size = "size",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_IO_ERROR`: a disk request of the guest failed.
    BlockIoError {
        required {
            /// Name of the block device; empty when it has none.
            device: Box<str> = "device",
            /// What the guest wanted.
            operation: super::common::IoOperationType = "operation",
            /// What was decided about the error.
            action: BlockErrorAction = "action",
        }
        recent {
            /// Path of the disk device in the object tree; may be empty. Since 9.2.
            qom_path: Box<str> = "qom-path",
            /// The host's error as text for people; not made for parsing. Since 2.2.
            reason: Box<str> = "reason",
        }
        optional {
            /// Name of the node in the block graph. Since 2.8.
            node_name: Box<str> = "node-name",
            /// Whether the host's storage is full. Since 2.2.
            nospace: bool = "nospace",
        }
        printed {
            device = "device",
            nospace = "nospace",
            node_name = "node-name",
            qom_path = "qom-path",
            reason = "reason",
            operation = "operation",
            action = "action",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_JOB_CANCELLED`: a block job ended because it was cancelled.
    BlockJobCancelled {
        required {
            /// What the job did.
            r#type: super::job::JobType = "type",
            /// Identifier of the job, by default the name of its block device; before 2.7 always that name.
            device: Box<str> = "device",
            /// Value of `offset` at which the job would have been done. Unit: progress units of the job.
            len: i64 = "len",
            /// How far the job came. Unit: progress units of the job.
            offset: i64 = "offset",
            /// Limit on the job's speed; 0 for none. Unit: bytes per second.
            speed: i64 = "speed",
        }
        recent {}
        optional {}
        printed {
            device = "device",
            len = "len",
            offset = "offset",
            speed = "speed",
            r#type = "type",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_JOB_COMPLETED`: a block job ended by itself, with success unless `error` is there.
    BlockJobCompleted {
        required {
            /// What the job did.
            r#type: super::job::JobType = "type",
            /// Identifier of the job, by default the name of its block device; before 2.7 always that name.
            device: Box<str> = "device",
            /// Value of `offset` at which the job is done. Unit: progress units of the job.
            len: i64 = "len",
            /// How far the job came: `len` on success, less on failure. Unit: progress units of the job.
            offset: i64 = "offset",
            /// Limit on the job's speed; 0 for none. Unit: bytes per second.
            speed: i64 = "speed",
        }
        recent {}
        optional {
            /// Text for people on why the job failed; absent on success and not made for parsing.
            error: Box<str> = "error",
        }
        printed {
            device = "device",
            len = "len",
            offset = "offset",
            speed = "speed",
            r#type = "type",
            error = "error",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_JOB_ERROR`: a block job met an input/output error.
    BlockJobError {
        required {
            /// Identifier of the job, by default the name of its block device; before 2.7 always that name.
            device: Box<str> = "device",
            /// Whether reading the source or writing the target failed.
            operation: super::common::IoOperationType = "operation",
            /// What was decided about the error.
            action: BlockErrorAction = "action",
        }
        recent {}
        optional {}
        printed {
            device = "device",
            operation = "operation",
            action = "action",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_JOB_PENDING`: a block job without auto-finalize has done its work and waits for `job-finalize`.
    BlockJobPending {
        required {
            /// What the job did.
            r#type: super::job::JobType = "type",
            /// Identifier of the job.
            id: Box<str> = "id",
        }
        recent {}
        optional {}
        printed {
            r#type = "type",
            id = "id",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_JOB_READY`: a block job has caught up with its source and can be completed at any time.
    BlockJobReady {
        required {
            /// What the job does.
            r#type: super::job::JobType = "type",
            /// Identifier of the job, by default the name of its block device; before 2.7 always that name.
            device: Box<str> = "device",
            /// Value of `offset` at which the job is done. Unit: progress units of the job.
            len: i64 = "len",
            /// How far the job came: `len` when it has caught up. Unit: progress units of the job.
            offset: i64 = "offset",
            /// Limit on the job's speed; 0 for none. Unit: bytes per second.
            speed: i64 = "speed",
        }
        recent {}
        optional {}
        printed {
            device = "device",
            len = "len",
            offset = "offset",
            speed = "speed",
            r#type = "type",
        }
    }
}

wire_struct! {
    /// Data of `BLOCK_WRITE_THRESHOLD`: the guest wrote beyond the mark that `block-set-write-threshold` had set on a node.
    BlockWriteThreshold {
        required {
            /// Name of the node in the block graph.
            node_name: Box<str> = "node-name",
            /// How far beyond the mark the write went. Unit: bytes.
            amount_exceeded: u64 = "amount-exceeded",
            /// The mark, as offset from the start of the node. Unit: bytes.
            write_threshold: u64 = "write-threshold",
        }
        recent {}
        optional {}
        printed {
            node_name = "node-name",
            write_threshold = "write-threshold",
            amount_exceeded = "amount-exceeded",
        }
    }
}

wire_struct! {
    /// Data of `DEVICE_TRAY_MOVED`: the tray of a drive with removable media was opened or closed, by the guest or by a command.
    DeviceTrayMoved {
        required {
            /// Name of the block device; empty when it has none.
            device: Box<str> = "device",
            /// Whether the tray is open.
            tray_open: bool = "tray-open",
        }
        recent {
            /// Identifier of the drive, or its path in the object tree when it has none. Since 2.8.
            id: Box<str> = "id",
        }
        optional {}
        printed {
            device = "device",
            tray_open = "tray-open",
            id = "id",
        }
    }
}

wire_struct! {
    /// Data of `PR_MANAGER_STATUS_CHANGED`: a persistent reservation manager found or lost its helper process.
    PrManagerStatusChanged {
        required {
            /// Identifier of the manager object.
            id: Box<str> = "id",
            /// Whether the helper process is connected.
            connected: bool = "connected",
        }
        recent {}
        optional {}
        printed {
            connected = "connected",
            id = "id",
        }
    }
}

wire_struct! {
    /// Data of `QUORUM_FAILURE`: a quorum node could not serve a request: too few of its children agreed.
    QuorumFailure {
        required {
            /// Name of the block device of the quorum, or of its node when it has no device.
            reference: Box<str> = "reference",
            /// First sector of the request. Unit: sectors of 512 bytes.
            sector_num: i64 = "sector-num",
            /// Length of the request. Unit: sectors of 512 bytes.
            sectors_count: i64 = "sectors-count",
        }
        recent {}
        optional {}
        printed {
            reference = "reference",
            sectors_count = "sectors-count",
            sector_num = "sector-num",
        }
    }
}

wire_struct! {
    /// Data of `QUORUM_REPORT_BAD`: a child of a quorum node failed, or returned other data than the majority.
    QuorumReportBad {
        required {
            /// Name of the child's node in the block graph.
            node_name: Box<str> = "node-name",
            /// First sector of the request. Unit: sectors of 512 bytes.
            sector_num: i64 = "sector-num",
            /// Length of the request; 0 for a flush. Unit: sectors of 512 bytes.
            sectors_count: i64 = "sectors-count",
        }
        recent {
            /// Operation that the child failed at. Since 2.6.
            r#type: QuorumOpType = "type",
        }
        optional {
            /// The host's error as text for people; absent when the child merely lost the vote.
            error: Box<str> = "error",
        }
        printed {
            node_name = "node-name",
            sectors_count = "sectors-count",
            sector_num = "sector-num",
            r#type = "type",
            error = "error",
        }
    }
}

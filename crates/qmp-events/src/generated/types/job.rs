// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `job`.

wire_enum! {
    /// What a background job does.
    JobType {
        /// Writes the data of an overlay down into its backing file (`block-commit`). Since 1.3.
        Commit = "commit",
        /// Pulls data of backing files up into an overlay (`block-stream`). Since 1.1.
        Stream = "stream",
        /// Copies a node to a target and keeps both alike (`blockdev-mirror`, `drive-mirror`). Since 1.3.
        Mirror = "mirror",
        /// Copies a node as it was at one moment (`blockdev-backup`, `drive-backup`). Since 1.6.
        Backup = "backup",
        /// Creates an image (`blockdev-create`). Since 3.0.
        Create = "create",
        /// Changes options of an image (`x-blockdev-amend`). Since 5.1.
        Amend = "amend",
        /// Loads an internal snapshot with its VM state. Since 6.0.
        SnapshotLoad = "snapshot-load",
        /// Saves an internal snapshot with the VM state. Since 6.0.
        SnapshotSave = "snapshot-save",
        /// Deletes an internal snapshot. Since 6.0.
        SnapshotDelete = "snapshot-delete",
    }
}

wire_enum! {
    /// Stage of a background job's life.
    JobStatus {
        /// Stage before the first; not seen in events. Since 3.0.
        Undefined = "undefined",
        /// The job exists and has not begun. Since 3.0.
        Created = "created",
        /// The job works. Since 3.0.
        Running = "running",
        /// The job rests, by a command, after an error with action `stop`, or while QEMU drains its input and output. Since 3.0.
        Paused = "paused",
        /// The job has caught up and waits for the word to complete. Since 3.0.
        Ready = "ready",
        /// The job is ready, and paused. Since 3.0.
        Standby = "standby",
        /// The job has done its work and waits for the others of its transaction. Since 3.0.
        Waiting = "waiting",
        /// Only the final changes are left; without auto-finalize they wait for `job-finalize`. Since 3.0.
        Pending = "pending",
        /// The job is being rolled back and will end with an error or as cancelled. Since 3.0.
        Aborting = "aborting",
        /// The job is over; without auto-dismiss it stays listed until `job-dismiss`. Since 3.0.
        Concluded = "concluded",
        /// The job has been removed and its identifier is free. Since 3.0.
        Null = "null",
    }
}

wire_struct! {
    /// Data of `JOB_STATUS_CHANGE`: a background job entered another stage of its life.
    JobStatusChange {
        required {
            /// Identifier of the job.
            id: Box<str> = "id",
            /// Stage that the job entered.
            status: JobStatus = "status",
        }
        recent {}
        optional {}
        printed {
            status = "status",
            id = "id",
        }
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `migration`.

wire_enum! {
    /// Phase of a migration, outgoing or incoming.
    MigrationStatus {
        /// No migration was started. Since 2.4.
        None = "none",
        /// The migration is being prepared, the connection being made. Since 2.4.
        Setup = "setup",
        /// A cancellation was asked for and is being carried out. Since 2.4.
        Cancelling = "cancelling",
        /// The migration was cancelled. Since 2.4.
        Cancelled = "cancelled",
        /// State is being transferred. Since 2.4.
        Active = "active",
        /// The destination loads the device state before postcopy begins. Since 10.2.
        PostcopyDevice = "postcopy-device",
        /// The guest runs on the destination, and memory follows on demand. Since 2.5.
        PostcopyActive = "postcopy-active",
        /// The connection broke during postcopy; the migration waits to be recovered. Since 3.0.
        PostcopyPaused = "postcopy-paused",
        /// A recovery of postcopy is being prepared. Since 9.1.
        PostcopyRecoverSetup = "postcopy-recover-setup",
        /// A recovery of postcopy is under way. Since 3.0.
        PostcopyRecover = "postcopy-recover",
        /// The migration is done. Since 2.4.
        Completed = "completed",
        /// The migration has failed and is being cleaned up. Since 11.0.
        Failing = "failing",
        /// The migration has failed. Since 2.4.
        Failed = "failed",
        /// Both sides run in COLO fault-tolerance mode. Since 2.8.
        Colo = "colo",
        /// All but the last state is transferred, and the source waits for `migrate-continue`. Since 2.11.
        PreSwitchover = "pre-switchover",
        /// The device state is being transferred; the guest is stopped. Since 2.11.
        Device = "device",
        /// The source waits for the guest to release failover devices. Since 4.2.
        WaitUnplug = "wait-unplug",
    }
}

wire_enum! {
    /// Side of a VM in COLO fault tolerance.
    COLOMode {
        /// COLO is off. Since 3.1.
        None = "none",
        /// The VM that serves. Since 3.1.
        Primary = "primary",
        /// The VM that stands by. Since 3.1.
        Secondary = "secondary",
    }
}

wire_enum! {
    /// Why COLO mode was left.
    COLOExitReason {
        /// No failover has happened; seen in `query-colo-status`, not in the event. Since 3.1.
        None = "none",
        /// A client requested it. Since 3.1.
        Request = "request",
        /// An error inside QEMU forced it. Since 3.1.
        Error = "error",
        /// A failover is under way; seen in `query-colo-status`, not in the event. Since 4.0.
        Processing = "processing",
    }
}

wire_struct! {
    /// Data of `COLO_EXIT`: a VM left COLO fault-tolerance mode.
    ColoExit {
        required {
            /// Side that this VM had.
            mode: COLOMode = "mode",
            /// Why the mode was left.
            reason: COLOExitReason = "reason",
        }
        recent {}
        optional {}
        printed {
            mode = "mode",
            reason = "reason",
        }
    }
}

wire_struct! {
    /// Data of `MIGRATION`: a migration entered another phase, on either side.
    Migration {
        required {
            /// Phase that the migration entered.
            status: MigrationStatus = "status",
        }
        recent {}
        optional {}
        printed {
            status = "status",
        }
    }
}

wire_struct! {
    /// Data of `MIGRATION_PASS`: the source of a migration begins another pass over the guest's memory.
    MigrationPass {
        required {
            /// Number of the pass, one more than the last.
            pass: i64 = "pass",
        }
        recent {}
        optional {}
        printed {
            pass = "pass",
        }
    }
}

wire_struct! {
    /// Data of `UNPLUG_PRIMARY`: the source of a migration has the primary device of a failover pair unplugged from the guest.
    UnplugPrimary {
        required {
            /// Identifier of the primary device.
            device_id: Box<str> = "device-id",
        }
        recent {}
        optional {}
        printed {
            device_id = "device-id",
        }
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `vfio`.

wire_enum! {
    /// Migration state of a VFIO device.
    QapiVfioMigrationState {
        /// Stopped. Since 9.1.
        Stop = "stop",
        /// Running. Since 9.1.
        Running = "running",
        /// Stopped, and its state can be read. Since 9.1.
        StopCopy = "stop-copy",
        /// Stopped, and a state is being loaded into it. Since 9.1.
        Resuming = "resuming",
        /// Running, but starts no access to other devices. Since 9.1.
        RunningP2p = "running-p2p",
        /// Running, while its state is tracked and can be read. Since 9.1.
        PreCopy = "pre-copy",
        /// As `pre-copy`, but starts no access to other devices. Since 9.1.
        PreCopyP2p = "pre-copy-p2p",
        /// About to enter `pre-copy-p2p`. Since 11.0.
        PreCopyP2pPrepare = "pre-copy-p2p-prepare",
    }
}

wire_struct! {
    /// Data of `VFIO_MIGRATION`: the migration state of a VFIO device changed.
    VfioMigration {
        required {
            /// Identifier of the device; the empty string when it has none.
            device_id: Box<str> = "device-id",
            /// Path of the device in the object tree.
            qom_path: Box<str> = "qom-path",
            /// State that the device entered.
            device_state: QapiVfioMigrationState = "device-state",
        }
        recent {}
        optional {}
        printed {
            device_state = "device-state",
            device_id = "device-id",
            qom_path = "qom-path",
        }
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `misc`.

wire_enum! {
    /// Why a command was thrown away.
    CommandDropReason {
        /// The queue of the monitor already held as many commands as it takes. Since 2.12.
        QueueFull = "queue-full",
    }
}

wire_struct! {
    /// Data of `COMMAND_DROPPED`: a command was thrown away because too many were waiting on a monitor with out-of-band execution.
    CommandDropped {
        required {
            /// The `id` of the command.
            id: crate::wire::RawJson = "id",
            /// Why it was thrown away.
            reason: CommandDropReason = "reason",
        }
        recent {}
        optional {}
        printed {
            reason = "reason",
            id = "id",
        }
    }
}

wire_struct! {
    /// Data of `RTC_CHANGE`: the guest set its real-time clock.
    RtcChange {
        required {
            /// How far the guest's clock is ahead of the base clock. Unit: seconds.
            offset: i64 = "offset",
        }
        recent {
            /// Path of the clock device in the object tree. Since 7.0.
            qom_path: Box<str> = "qom-path",
        }
        optional {}
        printed {
            offset = "offset",
            qom_path = "qom-path",
        }
    }
}

wire_struct! {
    /// Data of `VFU_CLIENT_HANGUP`: the client of a vfio-user server closed its connection.
    VfuClientHangup {
        required {
            /// Identifier of the server object.
            vfu_id: Box<str> = "vfu-id",
            /// Path of the server object in the object tree.
            vfu_qom_path: Box<str> = "vfu-qom-path",
            /// Identifier of the PCI device that was served.
            dev_id: Box<str> = "dev-id",
            /// Path of that device in the object tree.
            dev_qom_path: Box<str> = "dev-qom-path",
        }
        recent {}
        optional {}
        printed {
            vfu_qom_path = "vfu-qom-path",
            vfu_id = "vfu-id",
            dev_qom_path = "dev-qom-path",
            dev_id = "dev-id",
        }
    }
}

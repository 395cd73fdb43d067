// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `machine`.

wire_struct! {
    /// Data of `BALLOON_CHANGE`: the amount of memory that the guest has after ballooning changed.
    BalloonChange {
        required {
            /// Memory of the guest, the same number as `query-balloon` returns. Unit: bytes.
            actual: i64 = "actual",
        }
        recent {}
        optional {}
        printed {
            actual = "actual",
        }
    }
}

wire_struct! {
    /// Data of `HV_BALLOON_STATUS_REPORT`: a guest with the Hyper-V balloon driver sent a report on its memory.
    HvBalloonStatusReport {
        required {
            /// Memory that the guest uses, together with what it cannot use because it is ballooned out or offline. Unit: bytes.
            committed: u64 = "committed",
            /// Memory that the guest has free. Unit: bytes.
            available: u64 = "available",
        }
        recent {}
        optional {}
        printed {
            available = "available",
            committed = "committed",
        }
    }
}

wire_struct! {
    /// Data of `MEMORY_DEVICE_SIZE_CHANGE`: a memory device provides more or less memory to the guest than before.
    MemoryDeviceSizeChange {
        required {
            /// How much memory the device provides. Unit: bytes.
            size: u64 = "size",
        }
        recent {
            /// Path of the device in the object tree. Since 6.2.
            qom_path: Box<str> = "qom-path",
        }
        optional {
            /// Identifier of the device; absent when it has none.
            id: Box<str> = "id",
        }
        printed {
            size = "size",
            qom_path = "qom-path",
            id = "id",
        }
    }
}

wire_struct! {
    /// Data of `MEM_UNPLUG_ERROR`: a memory device could not be unplugged.
    MemUnplugError {
        required {
            /// Identifier of the memory device.
            device: Box<str> = "device",
            /// Text for people on why it failed.
            msg: Box<str> = "msg",
        }
        recent {}
        optional {}
        printed {
            device = "device",
            msg = "msg",
        }
    }
}

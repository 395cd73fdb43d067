// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `qdev`.

wire_struct! {
    /// Data of `DEVICE_DELETED`: a device object was destroyed, and its identifier is free again.
    DeviceDeleted {
        required {
            /// Path that the device had in the object tree.
            path: Box<str> = "path",
        }
        recent {}
        optional {
            /// Identifier of the device; absent when it has none.
            device: Box<str> = "device",
        }
        printed {
            device = "device",
            path = "path",
        }
    }
}

wire_struct! {
    /// Data of `DEVICE_UNPLUG_GUEST_ERROR`: the guest refused to release a device, so the unplug did not happen.
    DeviceUnplugGuestError {
        required {
            /// Path of the device in the object tree.
            path: Box<str> = "path",
        }
        recent {}
        optional {
            /// Identifier of the device; absent when it has none.
            device: Box<str> = "device",
        }
        printed {
            device = "device",
            path = "path",
        }
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `char`.

wire_struct! {
    /// Data of `VSERPORT_CHANGE`: the guest opened or closed a virtio-serial port.
    VserportChange {
        required {
            /// Identifier of the port device.
            id: Box<str> = "id",
            /// Whether the guest has the port open.
            open: bool = "open",
        }
        recent {}
        optional {}
        printed {
            open = "open",
            id = "id",
        }
    }
}

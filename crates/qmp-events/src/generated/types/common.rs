// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `common`.

wire_enum! {
    /// Direction of an input/output operation.
    IoOperationType {
        /// Data was to be read. Since 0.13.
        Read = "read",
        /// Data was to be written. Since 0.13.
        Write = "write",
    }
}

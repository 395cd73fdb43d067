// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `block-export`.

wire_struct! {
    /// Data of `BLOCK_EXPORT_DELETED`: a block export is gone and its identifier can be used again.
    BlockExportDeleted {
        required {
            /// Identifier of the export.
            id: Box<str> = "id",
        }
        recent {}
        optional {}
        printed {
            id = "id",
        }
    }
}

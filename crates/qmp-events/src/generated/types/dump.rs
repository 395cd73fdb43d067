// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `dump`.

wire_enum! {
    /// How far a dump of guest memory is.
    DumpStatus {
        /// No dump was asked for yet; not seen in the event. Since 2.6.
        None = "none",
        /// A dump is being written; not seen in the event. Since 2.6.
        Active = "active",
        /// The last dump was written whole. Since 2.6.
        Completed = "completed",
        /// The last dump broke off. Since 2.6.
        Failed = "failed",
    }
}

wire_struct! {
    /// State and progress of the last dump of guest memory, as `query-dump` returns it too.
    DumpQueryResult {
        required {
            /// How the dump ended.
            status: DumpStatus = "status",
            /// How much was written, counted before compression. Unit: bytes.
            completed: i64 = "completed",
            /// How much there was to write, counted before compression. Unit: bytes.
            total: i64 = "total",
        }
        recent {}
        optional {}
        printed {
            total = "total",
            status = "status",
            completed = "completed",
        }
    }
}

wire_struct! {
    /// Data of `DUMP_COMPLETED`: a dump of guest memory that ran in the background has ended, well or not.
    DumpCompleted {
        required {
            /// Final state and size.
            result: DumpQueryResult = "result",
        }
        recent {}
        optional {
            /// Text for people on what went wrong; absent on success and not made for parsing.
            error: Box<str> = "error",
        }
        printed {
            result = "result",
            error = "error",
        }
    }
}

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `machine-s390x`.

wire_enum! {
    /// How the processors of an s390x guest want to be provided for.
    S390CpuPolarization {
        /// All virtual processors get the same share. Since 8.2.
        Horizontal = "horizontal",
        /// Shares differ from processor to processor. Since 8.2.
        Vertical = "vertical",
    }
}

wire_struct! {
    /// Data of `CPU_POLARIZATION_CHANGE`: an s390x guest asked for another polarization of its processors.
    CpuPolarizationChange {
        required {
            /// Polarization that the guest asked for.
            polarization: S390CpuPolarization = "polarization",
        }
        recent {}
        optional {}
        printed {
            polarization = "polarization",
        }
    }
}

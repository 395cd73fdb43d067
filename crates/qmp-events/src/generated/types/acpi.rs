// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `acpi`.

wire_enum! {
    /// What sits in a hot-plug slot.
    ACPISlotType {
        /// A memory module. Since 2.1.
        Dimm = "DIMM",
        /// A logical processor. Since 2.7.
        Cpu = "CPU",
    }
}

wire_struct! {
    /// What the guest's ACPI code reported about one slot through its \_OST method.
    ACPIOSTInfo {
        required {
            /// Number of the slot as text, unique within its `slot-type`.
            slot: Box<str> = "slot",
            /// Kind of the slot.
            slot_type: ACPISlotType = "slot-type",
            /// ACPI source event of the report: 1 for an insertion, 3 for an ejection.
            source: i64 = "source",
            /// ACPI status code: 0 for success, 132 for an ejection in progress, 130 for a device in use, 1 for a failure without reason.
            status: i64 = "status",
        }
        recent {}
        optional {
            /// Identifier of the device in the slot; absent when it has none or is gone already.
            device: Box<str> = "device",
        }
        printed {
            device = "device",
            source = "source",
            status = "status",
            slot = "slot",
            slot_type = "slot-type",
        }
    }
}

wire_struct! {
    /// Data of `ACPI_DEVICE_OST`: the guest reported through ACPI how a hot-plug or hot-unplug of a memory module or processor goes.
    AcpiDeviceOst {
        required {
            /// The report of the guest.
            info: ACPIOSTInfo = "info",
        }
        recent {}
        optional {}
        printed {
            info = "info",
        }
    }
}

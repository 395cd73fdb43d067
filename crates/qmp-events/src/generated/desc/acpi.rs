// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `acpi`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) static ACPISlotType: EnumDesc = EnumDesc {
    name: "ACPISlotType",
    summary: "What sits in a hot-plug slot.",
    values: &[
        ValueDesc {
            name: "DIMM",
            summary: "A memory module.",
            since: Some(Release::new(2, 1)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "CPU",
            summary: "A logical processor.",
            since: Some(Release::new(2, 7)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    source: "qapi/acpi.json",
};

pub(crate) static ACPIOSTInfo: StructDesc = StructDesc {
    name: "ACPIOSTInfo",
    summary: "What the guest's ACPI code reported about one slot through its _OST method.",
    members: &[
        MemberDesc {
            name: "device",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Identifier of the device in the slot; absent when it has none or is gone already.",
            since: None,
            removed: None,
            optional: true,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "slot",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Number of the slot as text, unique within its `slot-type`.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "slot-type",
            ty: TypeRef::Enum(&ACPISlotType),
            summary: "Kind of the slot.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "source",
            ty: TypeRef::Builtin(Builtin::Int),
            summary: "ACPI source event of the report: 1 for an insertion, 3 for an ejection.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "status",
            ty: TypeRef::Builtin(Builtin::Int),
            summary: "ACPI status code: 0 for success, 132 for an ejection in progress, 130 for a device in use, 1 for a failure without reason.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    union: None,
    source: "qapi/acpi.json",
};

pub(crate) const ACPI_DEVICE_OST: EventDesc = EventDesc {
    kind: EventKind::AcpiDeviceOst,
    name: "ACPI_DEVICE_OST",
    module: "acpi",
    since: Release::new(2, 1),
    severity: EventSeverity::Info,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "The guest reported through ACPI how a hot-plug or hot-unplug of a memory module or processor goes.",
    notes: &[
        "All members sit inside `info`; the document of 2016 shows them flat.",
        "One ejection can give several reports: in progress first, success or refusal later.",
    ],
    members: &[MemberDesc {
        name: "info",
        ty: TypeRef::Struct(&ACPIOSTInfo),
        summary: "The report of the guest.",
        since: Some(Release::new(2, 1)),
        removed: None,
        optional: false,
        optional_since: None,
        unit: None,
        deprecated: None,
        unstable: false,
        condition: None,
    }],
    throttle: None,
    sequels: &[],
    ends: &[],
    rules: &[],
    examples: &[
        "{\"info\": {\"device\": \"dimm3\", \"slot\": \"3\", \"slot-type\": \"DIMM\", \"source\": 3, \"status\": 132}}",
        "{\"info\": {\"slot\": \"2\", \"slot-type\": \"CPU\", \"source\": 1, \"status\": 0}}",
    ],
    source: "qapi/acpi.json",
};

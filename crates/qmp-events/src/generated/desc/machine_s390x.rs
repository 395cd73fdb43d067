// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `machine-s390x`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) static S390CpuPolarization: EnumDesc = EnumDesc {
    name: "S390CpuPolarization",
    summary: "How the processors of an s390x guest want to be provided for.",
    values: &[
        ValueDesc {
            name: "horizontal",
            summary: "All virtual processors get the same share.",
            since: Some(Release::new(8, 2)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "vertical",
            summary: "Shares differ from processor to processor.",
            since: Some(Release::new(8, 2)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    source: "qapi/machine-s390x.json",
};

pub(crate) const CPU_POLARIZATION_CHANGE: EventDesc = EventDesc {
    kind: EventKind::CpuPolarizationChange,
    name: "CPU_POLARIZATION_CHANGE",
    module: "machine-s390x",
    since: Release::new(8, 2),
    severity: EventSeverity::Info,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: true,
    condition: Some("TARGET_S390X and CONFIG_KVM"),
    condition_since: None,
    condition_removed: Some(Release::new(10, 1)),
    data_since: None,
    summary: "An s390x guest asked for another polarization of its processors.",
    notes: &["Raised by s390x machines only, also where the build of every target knows it."],
    members: &[MemberDesc {
        name: "polarization",
        ty: TypeRef::Enum(&S390CpuPolarization),
        summary: "Polarization that the guest asked for.",
        since: Some(Release::new(8, 2)),
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
    examples: &["{\"polarization\": \"vertical\"}"],
    source: "qapi/machine-s390x.json",
};

pub(crate) const SCLP_CPI_INFO_AVAILABLE: EventDesc = EventDesc {
    kind: EventKind::SclpCpiInfoAvailable,
    name: "SCLP_CPI_INFO_AVAILABLE",
    module: "machine-s390x",
    since: Release::new(10, 2),
    severity: EventSeverity::Info,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: true,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "An s390x guest told the machine what it is: system type, name, level and sysplex.",
    notes: &[
        "The event carries no data; the values are properties of the control-program identification object in the object tree, read with `qom-get`.",
        "Raised by s390x machines only.",
    ],
    members: &[],
    throttle: None,
    sequels: &[],
    ends: &[],
    rules: &[],
    examples: &[],
    source: "qapi/machine-s390x.json",
};

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `qdev`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) const DEVICE_DELETED: EventDesc = EventDesc {
    kind: EventKind::DeviceDeleted,
    name: "DEVICE_DELETED",
    module: "qdev",
    since: Release::new(1, 5),
    severity: EventSeverity::Info,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "A device object was destroyed, and its identifier is free again.",
    notes: &[
        "`device_del` only asks for the removal; this event is its end. Without the cooperation of the guest it may come late, at the next RESET, or never.",
        "One unplug can give several events: a virtio device first gives one for its backend, without `device`, then one with `device`.",
        "Raised without the guest too, whenever the object goes.",
        "Of a processor, 7.2 without KVM reports only the end of its `lapic`, without `device`; the end of the processor is reported by ACPI_DEVICE_OST with source 3 and status 0.",
    ],
    members: &[
        MemberDesc {
            name: "device",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Identifier of the device; absent when it has none.",
            since: Some(Release::new(1, 5)),
            removed: None,
            optional: true,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "path",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Path that the device had in the object tree.",
            since: Some(Release::new(1, 5)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    throttle: None,
    sequels: &[],
    ends: &[],
    rules: &[],
    examples: &[
        "{\"path\": \"/machine/peripheral/net7/virtio-backend\"}",
        "{\"device\": \"net7\", \"path\": \"/machine/peripheral/net7\"}",
    ],
    source: "qapi/qdev.json",
};

pub(crate) const DEVICE_UNPLUG_GUEST_ERROR: EventDesc = EventDesc {
    kind: EventKind::DeviceUnplugGuestError,
    name: "DEVICE_UNPLUG_GUEST_ERROR",
    module: "qdev",
    since: Release::new(6, 2),
    severity: EventSeverity::Warning,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "The guest refused to release a device, so the unplug did not happen.",
    notes: &["Not every guest reports its refusal: an unplug may also end in silence."],
    members: &[
        MemberDesc {
            name: "device",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Identifier of the device; absent when it has none.",
            since: Some(Release::new(6, 2)),
            removed: None,
            optional: true,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "path",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Path of the device in the object tree.",
            since: Some(Release::new(6, 2)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    throttle: None,
    sequels: &[],
    ends: &[],
    rules: &[],
    examples: &["{\"device\": \"cpu5\", \"path\": \"/machine/peripheral/cpu5\"}"],
    source: "qapi/qdev.json",
};

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `rdma`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) const RDMA_GID_STATUS_CHANGED: EventDesc = EventDesc {
    kind: EventKind::RdmaGidStatusChanged,
    name: "RDMA_GID_STATUS_CHANGED",
    module: "rdma",
    since: Release::new(4, 0),
    severity: EventSeverity::Info,
    failure: None,
    removed: Some(Release::new(9, 1)),
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "The guest's driver of a paravirtual RDMA device added or removed a global identifier (GID).",
    notes: &["Went away together with the pvrdma device."],
    members: &[
        MemberDesc {
            name: "netdev",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Name of the Ethernet device that carries the RDMA traffic.",
            since: Some(Release::new(4, 0)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "gid-status",
            ty: TypeRef::Builtin(Builtin::Bool),
            summary: "True when the identifier was added, false when it was removed.",
            since: Some(Release::new(4, 0)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "subnet-prefix",
            ty: TypeRef::Builtin(Builtin::Uint64),
            summary: "First half of the identifier.",
            since: Some(Release::new(4, 0)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "interface-id",
            ty: TypeRef::Builtin(Builtin::Uint64),
            summary: "Second half of the identifier; uses all 64 bits.",
            since: Some(Release::new(4, 0)),
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
        "{\"netdev\": \"rdmabr0\", \"gid-status\": true, \"subnet-prefix\": 4660, \"interface-id\": 14987979559889010696}",
    ],
    source: "qapi/rdma.json",
};

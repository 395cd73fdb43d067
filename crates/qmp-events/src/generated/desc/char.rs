// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `char`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) const VSERPORT_CHANGE: EventDesc = EventDesc {
    kind: EventKind::VserportChange,
    name: "VSERPORT_CHANGE",
    module: "char",
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
    summary: "The guest opened or closed a virtio-serial port.",
    notes: &[
        "Not raised for a port without an `id`.",
        "Equal values can follow each other: between two events that were sent, others may have been replaced by the rate limit.",
        "The state cannot be had from events alone; `query-chardev` tells it in `frontend-open`.",
    ],
    members: &[
        MemberDesc {
            name: "id",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Identifier of the port device.",
            since: Some(Release::new(2, 1)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "open",
            ty: TypeRef::Builtin(Builtin::Bool),
            summary: "Whether the guest has the port open.",
            since: Some(Release::new(2, 1)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    throttle: Some(ThrottleDesc {
        interval_ms: 1000,
        since: Release::new(2, 1),
        keys: &[KeyDesc { member: "id", since: Release::new(2, 5) }],
        exempt: None,
    }),
    sequels: &[],
    ends: &[],
    rules: &[],
    examples: &["{\"id\": \"agent-port1\", \"open\": true}", "{\"id\": \"agent-port1\", \"open\": false}"],
    source: "qapi/char.json; rate: monitor/monitor.c",
};

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `dump`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) static DumpStatus: EnumDesc = EnumDesc {
    name: "DumpStatus",
    summary: "How far a dump of guest memory is.",
    values: &[
        ValueDesc {
            name: "none",
            summary: "No dump was asked for yet; not seen in the event.",
            since: Some(Release::new(2, 6)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "active",
            summary: "A dump is being written; not seen in the event.",
            since: Some(Release::new(2, 6)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "completed",
            summary: "The last dump was written whole.",
            since: Some(Release::new(2, 6)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "failed",
            summary: "The last dump broke off.",
            since: Some(Release::new(2, 6)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    source: "qapi/dump.json",
};

pub(crate) static DumpQueryResult: StructDesc = StructDesc {
    name: "DumpQueryResult",
    summary: "State and progress of the last dump of guest memory, as `query-dump` returns it too.",
    members: &[
        MemberDesc {
            name: "status",
            ty: TypeRef::Enum(&DumpStatus),
            summary: "How the dump ended.",
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
            name: "completed",
            ty: TypeRef::Builtin(Builtin::Int),
            summary: "How much was written, counted before compression.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: Some("bytes"),
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "total",
            ty: TypeRef::Builtin(Builtin::Int),
            summary: "How much there was to write, counted before compression.",
            since: None,
            removed: None,
            optional: false,
            optional_since: None,
            unit: Some("bytes"),
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    union: None,
    source: "qapi/dump.json",
};

pub(crate) const DUMP_COMPLETED: EventDesc = EventDesc {
    kind: EventKind::DumpCompleted,
    name: "DUMP_COMPLETED",
    module: "dump",
    since: Release::new(2, 6),
    severity: EventSeverity::Success,
    failure: Some(FailureDesc { member: "error", value: None }),
    removed: None,
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "A dump of guest memory that ran in the background has ended, well or not.",
    notes: &["Only for `dump-guest-memory` with `detach`; without it the reply itself is the end."],
    members: &[
        MemberDesc {
            name: "result",
            ty: TypeRef::Struct(&DumpQueryResult),
            summary: "Final state and size.",
            since: Some(Release::new(2, 6)),
            removed: None,
            optional: false,
            optional_since: None,
            unit: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        MemberDesc {
            name: "error",
            ty: TypeRef::Builtin(Builtin::Str),
            summary: "Text for people on what went wrong; absent on success and not made for parsing.",
            since: Some(Release::new(2, 6)),
            removed: None,
            optional: true,
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
        "{\"result\": {\"status\": \"completed\", \"completed\": 536870912, \"total\": 536870912}}",
        "{\"result\": {\"status\": \"failed\", \"completed\": 4194304, \"total\": 536870912}, \"error\": \"disk quota exceeded\"}",
    ],
    source: "qapi/dump.json",
};

// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `block-export`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) const BLOCK_EXPORT_DELETED: EventDesc = EventDesc {
    kind: EventKind::BlockExportDeleted,
    name: "BLOCK_EXPORT_DELETED",
    module: "block-export",
    since: Release::new(5, 2),
    severity: EventSeverity::Info,
    failure: None,
    removed: None,
    deprecated: None,
    unstable: false,
    condition: None,
    condition_since: None,
    condition_removed: None,
    data_since: None,
    summary: "A block export is gone and its identifier can be used again.",
    notes: &["`block-export-del` answers before the export is gone; this event is the end of it."],
    members: &[MemberDesc {
        name: "id",
        ty: TypeRef::Builtin(Builtin::Str),
        summary: "Identifier of the export.",
        since: Some(Release::new(5, 2)),
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
    examples: &["{\"id\": \"nbd-backup0\"}"],
    source: "qapi/block-export.json",
};

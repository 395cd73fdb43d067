// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Descriptions of the QAPI module `common`.
#![allow(non_upper_case_globals, unused_imports, reason = "types keep their names")]

use crate::desc::*;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::severity::EventSeverity;
use crate::throttle::{ExemptDesc, KeyDesc, ThrottleDesc};

pub(crate) static IoOperationType: EnumDesc = EnumDesc {
    name: "IoOperationType",
    summary: "Direction of an input/output operation.",
    values: &[
        ValueDesc {
            name: "read",
            summary: "Data was to be read.",
            since: Some(Release::new(0, 13)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
        ValueDesc {
            name: "write",
            summary: "Data was to be written.",
            since: Some(Release::new(0, 13)),
            removed: None,
            deprecated: None,
            unstable: false,
            condition: None,
        },
    ],
    source: "qapi/common.json",
};

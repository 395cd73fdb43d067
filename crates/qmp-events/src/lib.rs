#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`Event::decode`] creates a typed event from a name and the raw JSON of `data`. Unknown events, members and
//!   enum values are kept as values; they are no errors.
//! - [`validate`] lists all violations of an event for the release that sent it.
//! - [`catalogue`] and [`EventKind::desc`] describe each event; [`describe`] formats that for users and scripts.
//! - [`introspection`] compares the reply to `query-qmp-schema` with the catalogue, and writes such a reply.

mod release;
mod releases;
mod version;
mod run_state;
mod event_kind;
mod severity;
mod throttle;
mod desc;
mod print;
#[macro_use]
mod wire;
mod event;
mod generated;
mod catalogue;
pub mod limiter;
mod json;
mod downstream;
mod text;
mod violation;
mod validate;
mod schema_type;
pub mod describe;
pub mod introspection;

pub use catalogue::{ParseEventKindError, catalogue};
pub use desc::{
    BranchDesc, Builtin, EndsDesc, EnumDesc, EventDesc, FailureDesc, MemberDesc, RuleDesc, Scalar,
    SequelDesc, StructDesc, TypeRef, UnionDesc, ValueDesc, WhenDesc,
};
pub use event::{DecodeError, HasData};
pub use event_kind::EventKind;
pub use generated::*;
pub use json::JsonType;
pub use print::{Print, Printer};
pub use release::{ParseReleaseError, Release};
pub use releases::RELEASES;
pub use run_state::{ParseRunStateError, RUN_STATES, RunState};
pub use severity::EventSeverity;
pub use throttle::{ExemptDesc, KeyDesc, Throttle, ThrottleDesc};
pub use validate::validate;
pub use violation::{Violation, ViolationKind};
pub use wire::{RawJson, UnknownMembers};

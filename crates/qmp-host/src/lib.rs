//! What the crates ask of the operating system by the number of a descriptor, or by a request of its own.
//!
//! The only `unsafe` code of the workspace.

#![allow(unsafe_code)]

mod exit_status;
mod inherited;

pub use exit_status::exit_status;
pub use inherited::{Family, Inherited, InheritedError, InheritedListener, take};

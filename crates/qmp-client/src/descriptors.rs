//! What the operating system tells of a descriptor by its number or by a request of its own. The only `unsafe` of the
//! project.

#![allow(unsafe_code)]

mod exit_status;
mod inherited;

pub(crate) use exit_status::exit_status;
pub(crate) use inherited::{Family, Inherited, take};
pub use inherited::{InheritedError, InheritedListener};

//! Parsing of text written by people: spans of time, sizes, names that may be misspelt, and TOML documents, in which
//! all problems are reported at once, each with its line.
//!
//! Pure: text in, values or problems out. The crate never knows files, VMs, the keys of the hub or of a script.

pub mod size;
pub mod span;

pub mod suggest;

mod problem;

mod document;

mod table;

pub use document::{Document, TomlKey, TomlValue};
pub use problem::{Location, Problem, one_a_line};
pub use table::Settings;

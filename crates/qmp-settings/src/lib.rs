//! What people write: lengths of time, sizes, names that may be misspelt, and TOML documents in which each problem is
//! reported with its line, all at once.
//!
//! Pure: text in, values or problems out. It never knows files, VMs, the hub's keys or a script's.

pub mod size;
pub mod span;

pub mod suggest;

mod problem;

mod document;

mod table;

pub use document::{Document, Key, Value};
pub use problem::{Place, Problem, one_a_line};
pub use table::Settings;

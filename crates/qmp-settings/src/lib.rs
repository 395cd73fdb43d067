#![doc = include_str!("../README.md")]

pub mod size;
pub mod span;

pub mod suggest;

mod problem;

#[cfg(feature = "toml")]
mod document;

pub mod schema;

#[cfg(feature = "toml")]
mod table;

#[cfg(feature = "toml")]
pub use document::{Document, TomlKey, TomlValue};
pub use problem::{Location, Problem, one_a_line};
#[cfg(feature = "toml")]
pub use table::Settings;

#![doc = include_str!("../README.md")]

pub mod size;
pub mod span;

pub mod suggest;

mod problem;

mod document;

pub mod schema;

mod table;

pub use document::{Document, TomlKey, TomlValue};
pub use problem::{Location, Problem, one_a_line};
pub use table::Settings;

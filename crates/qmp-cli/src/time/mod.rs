//! Times and spans for people: parsing and formatting.

pub mod parse;
pub mod write;

pub use qmp_settings::span;

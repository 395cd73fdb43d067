//! Times and spans as people write and read them.

pub mod parse;
pub mod write;

pub use qmp_settings::span;

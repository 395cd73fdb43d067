//! Times and spans as people write and read them.

pub mod parse;
pub mod span;
pub mod write;

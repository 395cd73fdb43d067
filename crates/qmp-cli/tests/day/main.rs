//! An operator's day: what an operator asks of the program, and of its rules.

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod machine;
mod records;
mod rules;
mod settings;
mod silence;

//! QEMU's dialect of JSON: the input that a server accepts, its errors for other input, and its output format.
//!
//! A QEMU reads a *stream of values*, delimited only by their brackets; it accepts single quotes, recovers from any
//! garbage, and replies to each invalid message with an error whose text depends on the release. It prints ASCII
//! only, integers exactly, and the members of an object in the order of its hash table.
//!
//! Input goes lexer → grammar → [`Input`]; output is [`Value::print`], and [`write()`] for anything
//! that serde can serialize.

mod utf8;
mod string;
mod lexer;
mod bucket;
mod value;
mod number;
mod grammar;
mod input;
mod read;
mod print;
mod serialize;
mod deserialize;
mod table;

pub use deserialize::ReadError;
pub use input::{ErrorTexts, Input, InputError, TOKENS_MAX};
pub use print::reprint;
pub use serialize::{Hidden, WriteError, write, write_object};
pub use table::first_of;
pub use value::{Object, Value};

//! JSON for the wire: validated in one pass, split into members, kept byte for byte.
//!
//! [`Scan`] walks over an object once, and can pause at any byte and continue there when more bytes arrive.
//! [`Members`] is the same walk over a complete and valid object.

mod word;
mod string;
mod nesting;
mod number;
mod scan;
mod members;

pub(crate) use members::Members;
pub use nesting::NESTING_MAX;
pub(crate) use scan::{Scan, Span, Step, Stop, is_white_space, trim_white_space};
pub(crate) use string::{Piece, decode, pieces, write_string};
pub(crate) use word::{plain_run, word_at};

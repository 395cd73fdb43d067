//! JSON as the wire needs it: validated in one pass, cut into members, kept byte for byte.
//!
//! [`Scan`] walks over an object once, and can stop at any byte and go on there when more have come.
//! [`Members`] is the same walk over an object that is known to be valid and whole.

mod members;
mod nesting;
mod number;
mod scan;
mod string;
mod word;

pub(crate) use members::Members;
pub use nesting::NESTING_MAX;
pub(crate) use scan::{Scan, Span, Step, Stop, is_white_space, trim_white_space};
pub(crate) use string::{Piece, decode, pieces, write_string};
pub(crate) use word::{plain_run, word_at};

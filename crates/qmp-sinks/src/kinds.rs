//! The list of the kinds of sinks.

use super::kind::SinkKind;
use super::{file, journald, run, webhook};

/// Every kind. A new kind is a file and its line here.
pub static KINDS: [&SinkKind; 4] = [&run::KIND, &webhook::KIND, &journald::KIND, &file::KIND];

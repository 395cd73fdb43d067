//! The list of the kinds of sinks.

use qmp_settings::schema::Variant;

use super::kind::SinkKind;
use super::{file, journald, run, webhook};

/// Every kind. A new kind is a file and its line here.
pub static KINDS: [&SinkKind; 4] = [&run::KIND, &webhook::KIND, &journald::KIND, &file::KIND];

/// The keys of each kind.
pub static VARIANTS: [&Variant; 4] = [KINDS[0].variant, KINDS[1].variant, KINDS[2].variant, KINDS[3].variant];

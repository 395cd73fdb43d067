//! The list of the kinds of sinks.

use qmp_settings::schema::Variant;

use super::kind::SinkKind;
use super::{file, journald, nats, otlp, run, webhook};

/// Every kind. A new kind is a file and its line here.
pub static KINDS: &[&SinkKind] =
    &[&run::KIND, &webhook::KIND, &otlp::KIND, &journald::KIND, &file::KIND, &nats::KIND];

/// The keys of each kind.
pub static VARIANTS: [&Variant; KINDS.len()] = {
    let mut variants = [KINDS[0].variant; KINDS.len()];
    let mut index = 0;
    while index < KINDS.len() {
        variants[index] = KINDS[index].variant;
        index += 1;
    }
    variants
};

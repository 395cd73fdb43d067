//! The memory of a record.

use qmp_wire::{Body, Record};

/// The length of the texts of a record, in bytes.
pub(super) fn text_bytes(record: &Record<'_>) -> usize {
    let optional = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let body = match &record.body {
        Body::Attached { snapshot } => snapshot.len(),
        Body::Event { name, sent_name, data, .. } => name.len() + optional(sent_name) + optional(data),
        Body::Finding { finding, summary, causes, data } => {
            finding.len() + summary.len() + size_of_val(causes.as_slice()) + optional(data)
        }
        Body::Detached { detail, .. } => optional(detail),
    };
    record.vm.len() + body
}

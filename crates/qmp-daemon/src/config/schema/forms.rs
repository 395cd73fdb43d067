//! Forms of values that several tables have.

use qmp_hub::{SILENT_AFTER_MAX, SILENT_AFTER_MIN};
use qmp_settings::schema::Form;

/// A span of silence, or "off".
pub(crate) const SILENT_AFTER: Form =
    Form::Any(&[Form::Span { min: SILENT_AFTER_MIN, max: SILENT_AFTER_MAX }, Form::Choice(|| vec!["off"])]);

/// The words for it in error messages.
pub(crate) const SILENT_AFTER_EXPECTED: &str = "a span such as \"30s\", or \"off\",";

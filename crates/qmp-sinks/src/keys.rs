//! The keys that several kinds of sinks have.

use std::time::Duration;

use qmp_settings::schema::{Form, KeySchema};

/// How often a record may be offered to a receiver that refuses it, at most: more would be without end.
pub(super) const SINK_ATTEMPTS_MAX: u32 = 1_000;

/// How long a command or a receiver may take.
pub(super) static TIMEOUT: KeySchema = KeySchema::new(
    "timeout",
    Form::Span { min: Duration::from_micros(1), max: Duration::MAX },
    "a span such as \"30s\"",
    "How long the command, or the reply of the receiver, may take.",
)
.default("\"30s\"")
.example("\"30s\"");

/// How often a record is offered to a receiver that refuses it.
pub(super) static ATTEMPTS: KeySchema = KeySchema::new(
    "attempts",
    Form::Number { min: 1, max: SINK_ATTEMPTS_MAX },
    "a number",
    "How often a record is offered to a command or a receiver that refuses it, before the record is given up.",
)
.default("1")
.example("3");

//! Tests of the crate as a whole: the two state machines over a stream that loses messages.

mod chain;

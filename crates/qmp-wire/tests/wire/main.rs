//! Tests of the public interface: conversations, unusual servers, properties, records.

// Clippy recognizes only functions marked as tests; shared functions may unwrap as well.
#![allow(clippy::unwrap_used)]

mod conversation;
mod properties;
mod records;
mod servers;
mod transcripts;

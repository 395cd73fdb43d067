//! The crate seen from outside: conversations, hostile servers, promises, records.

// Clippy knows only functions marked as tests; what they share may unwrap as well.
#![allow(clippy::unwrap_used)]

mod conversation;
mod properties;
mod records;
mod servers;
mod transcripts;

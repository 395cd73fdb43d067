//! Faults between a machine and its client, by rule and reproducible from a seed.
//!
//! The bytes from the machine are split into messages; each rule that matches a message may drop, delay, repeat,
//! cut or damage it, move it after the next one, or close the connection in the middle of it. The bytes from the
//! client pass unchanged; a rule may name the command whose replies it matches.
//!
//! [`Stage`] applies the rules with bytes and times as arguments; [`FaultProxy`] applies them to sockets, between a
//! listener and a machine. Each connection has its own random generators: the same rules, seed and messages give
//! the same bytes.
//!
//! ```
//! use std::time::Duration;
//! use qmp_machine::fault::{Fault, FaultKind, Faults, StageOutput, Stage};
//!
//! let faults = Faults::new(7).with(Fault::new(FaultKind::Truncate { bytes: Some(8) }).of_event("STOP"));
//! let mut stage = Stage::new(&faults, 1);
//! stage.handle_input(b"{\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n", Duration::ZERO);
//! assert_eq!(stage.poll_output(Duration::ZERO), Some(StageOutput::Bytes(b"{\"event\"".to_vec())));
//! ```

// From the lowest to the highest: a module imports only those listed before it.
mod messages;
mod requests;
mod rule;
mod split;
mod stage;
mod proxy;

pub use messages::Messages;
pub use proxy::FaultProxy;
pub use requests::Requests;
pub use rule::{Fault, FaultKind, Faults, REORDER_WITHIN};
pub use stage::{Stage, StageOutput};

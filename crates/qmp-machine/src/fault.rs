//! Faults between a machine and its client, by rule and reproducible from a seed.
//!
//! What the machine says is cut into messages; each rule that fits a message may drop, delay, repeat, cut or damage it,
//! put it behind the next one, or close the connection in the middle of it. What the client says passes untouched; a rule may
//! name the command whose replies it is about.
//!
//! [`Stage`] does it with bytes and times as arguments; [`FaultProxy`] stands between a listener and a machine with
//! sockets of its own. Every connection draws from generators of its own: the same rules, seed and messages give the
//! same bytes.
//!
//! ```
//! use std::time::Duration;
//! use qmp_machine::fault::{Fault, FaultKind, Faults, Output, Stage};
//!
//! let faults = Faults::new(7).with(Fault::new(FaultKind::Truncate { bytes: Some(8) }).of_event("STOP"));
//! let mut stage = Stage::new(&faults, 1);
//! stage.handle_input(b"{\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n", Duration::ZERO);
//! assert_eq!(stage.poll_output(Duration::ZERO), Some(Output::Bytes(b"{\"event\"".to_vec())));
//! ```

mod messages;
mod proxy;
mod requests;
mod rule;
mod split;
mod stage;

pub use messages::Messages;
pub use proxy::FaultProxy;
pub use requests::Requests;
pub use rule::{Fault, FaultKind, Faults, REORDER_WITHIN};
pub use stage::{Output, Stage};

//! The hub's HTTP interface, version 1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/hub` | the hub: version, journal, head, since when, process |
//! | `GET /v1/vms` | every VM and how it stands |
//! | `GET /v1/vms/{name}` | all that is known about one: run state, since when, why, last events, jobs |
//! | `GET /v1/relays` | the sockets that the hub serves in place of VMs, and who is at them |
//! | `GET /v1/records?…` | records as JSON Lines; with `follow=true` for ever |
//! | `GET /v1/events?…` | records as server-sent events, for ever |
//! | `GET /v1/catalogue?release=R` | what events there are |
//! | `GET /v1/sinks` | how the rules stand |
//! | `GET /v1/health` | whether the hub does its work |
//! | `GET /v1/openapi.json` | all this, for programs |
//! | `GET /metrics` | figures for Prometheus |
//! | `POST /v1/vms/{name}/execute` | a command's reply, after the events that came before it are committed |
//!
//! Errors are `{"error": {"class": …, "desc": …}}`.
//!
//! The crate never speaks QMP, and never knows the configuration file: it reads a journal and asks the hub.

mod address;
mod counts;
mod door;
mod exposition;
mod format;
mod hall;
mod listen;
mod openapi;
mod reads;
mod refusal;
mod catalogue;
mod guard;
mod caller;
mod answers;
mod json_body;
mod parameters;
mod patience;
mod rfc3339;
mod shared;
mod served;
mod relays;
mod run_states;
mod sinks;
mod metrics;
mod stall;
mod health;
mod status;
mod stream;
mod events;
mod records;
mod vm_path;
mod checkpoint;
mod execute;
mod left;
mod vms;
mod router;
mod connections;

pub use address::{HttpAddress, HttpAddressError};
pub use connections::serve;
pub use door::{HttpDoor, HttpDoorError, KeyFileError, TlsFiles};
pub use listen::ListenError;
pub use listen::{Listening, listen};
pub use served::Served;

#![doc = include_str!("../README.md")]
//!
//! # Requests
//!
//! | request | response |
//! |---|---|
//! | `GET /v1/hub` | the hub: version, journal, head, since when, process |
//! | `GET /v1/vms` | every VM with the state of its connection and its run state, also the VMs of other hosts |
//! | `GET /v1/vms/{name}` | everything known about one VM: run state, since when, why, last events, jobs |
//! | `GET /v1/relays` | the sockets that the hub serves in place of VMs, and their clients |
//! | `GET /v1/records?…` | records as JSON Lines; with `follow=true` without end |
//! | `GET /v1/events?…` | records as server-sent events, without end |
//! | `GET /v1/records/{offset}`, `GET /v1/vms/{name}/records/{epoch}/{seq}` | one record, with its causes and effects |
//! | `GET /v1/timeline?…` | the lanes of VMs in a window: states, gaps, findings, counts |
//! | `GET /v1/counts?…` | how many records by event, VM, host, kind, severity, finding, hour or weekday |
//! | `GET /v1/findings?…` | findings as intervals |
//! | `GET /v1/gaps?…` | the spans in which a VM was not watched |
//! | `GET /v1/catalogue?release=R` | the events of QEMU, or of one release |
//! | `GET /v1/sinks` | the state of each rule |
//! | `GET /v1/health` | whether the hub works |
//! | `GET /v1/openapi.json` | this interface in `OpenAPI` 3.1 |
//! | `GET /metrics` | metrics for Prometheus |
//! | `GET /`, `/vm/{name}`, `/event/{name}`, `/assets/{file}` | the page for people, without a token |
//! | `POST /v1/vms/{name}/execute` | a command's reply, after the events before it are committed |
//!
//! Errors are `{"error": {"class": …, "desc": …}}`.

mod address;
mod reader_count;
mod endpoint;
mod exposition;
mod format;
mod endpoint_state;
mod listen;
mod openapi;
mod reads;
mod error;
mod page_files;
mod browser_guard;
mod auth;
mod response_memory;
mod json_body;
mod query;
mod catalogue;
mod execute_timeout;
mod rfc3339;
mod fanout;
mod state;
mod vm_path;
mod foreign;
mod relays;
mod run_states;
mod sinks;
mod sources;
mod metrics;
mod stall;
mod health;
mod status;
mod stream;
mod events;
mod records;
mod history_query;
mod history;
mod detail;
mod checkpoint;
mod execute;
mod operator_record;
mod notes;
mod silences;
mod alerts;
mod left;
mod vms;
mod page;
mod router;
mod connections;

pub use address::{HttpAddress, HttpAddressError};
pub use connections::serve;
pub use endpoint::{HttpEndpoint, HttpEndpointError, KeyFileError, TlsFiles};
pub use listen::ListenError;
pub use listen::{HttpListener, listen};
pub use state::{ApiConfig, ApiState};

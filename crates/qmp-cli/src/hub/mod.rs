//! Client of the hub's HTTP interface.

mod address;
mod error;
mod info;
mod tls;
mod client;
mod lines;
mod request;
mod api;
mod access;
mod follow;

pub use access::HubArgs;
pub use address::HubAddress;
pub use api::page_path;
pub use client::HubClient;
pub use error::HubError;
pub use follow::{HubFollow, HubItem};
pub use info::{
    AlertInfo, ErrorInfo, ExecuteReply, FleetSourceInfo, GivenUpInfo, HubCheckpoint, HubInfo, SilenceInfo,
    SinkInfo, VmInfo, qualify, state_of_monitor,
};
pub use request::Query;

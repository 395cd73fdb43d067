//! The hub's HTTP API, seen from the outside.

mod error;
mod follow;
mod lines;
mod request;

use clap::Args;
use hyper::Method;
use qmp_hub::HttpAddress;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use error::HubError;
pub use follow::{HubFollow, HubItem};
pub use lines::Lines;
pub use request::Query;

use crate::paths::Places;

/// Where the hub is.
#[derive(Args, Clone, Debug)]
pub struct HubArgs {
    /// The hub's address, such as unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080
    #[arg(long, value_name = "ADDR", env = "QMP_HUB", hide_env_values = true)]
    pub hub: Option<HttpAddress>,
}

impl HubArgs {
    /// The hub that a command finds when its line names none.
    pub fn of_environment() -> Self {
        let hub = std::env::var("QMP_HUB").ok().and_then(|text| text.parse().ok());
        Self { hub }
    }

    /// Whether the environment names this hub.
    pub fn is_of_the_environment(&self) -> bool {
        self.hub.is_some() && self.hub == Self::of_environment().hub
    }

    /// The hub that was named, or the one of this user.
    pub fn client(&self) -> HubClient {
        let address = self.hub.clone().unwrap_or_else(|| Places::of_this_user().hub());
        HubClient { address }
    }
}

/// Talks to one hub; each request has its own connection.
#[derive(Clone, Debug)]
pub struct HubClient {
    address: HttpAddress,
}

/// What the hub says about itself.
#[derive(Clone, Debug, Deserialize)]
pub struct HubInfo {
    /// The offset of the newest record.
    pub head: u64,
    /// The file of its journal, as it was named where it was started.
    #[serde(default)]
    pub journal: Option<std::path::PathBuf>,
}

/// What the hub says about one of its VMs.
#[derive(Clone, Debug, Deserialize)]
pub struct VmInfo {
    /// Its name.
    pub vm: String,
    /// `attached`, `connecting` or `detached`.
    pub state: String,
    /// Why it is not attached.
    #[serde(default)]
    pub error: Option<String>,
}

impl VmInfo {
    /// Whether commands and events get through.
    pub fn is_attached(&self) -> bool {
        self.state == "attached"
    }
}

/// The reply to a command, and where in the journal it stands.
#[derive(Debug, Deserialize)]
pub struct Executed {
    /// The result, as the VM sent it.
    #[serde(rename = "return")]
    pub value: Option<Box<RawValue>>,
    /// The VM's refusal.
    pub error: Option<Refusal>,
    /// The head before the command was sent.
    pub since: Option<u64>,
    /// The head when the reply was released: events that came before the reply are not behind it.
    pub offset: Option<u64>,
}

/// Why a VM or the hub refused.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// Such as `GenericError`, `CommandNotFound`, or one of the hub's own.
    pub class: String,
    /// For people.
    pub desc: String,
}

impl HubClient {
    /// Where it is.
    pub fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// Asks the hub about itself.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        self.get_json("/v1/hub").await
    }

    /// Asks for the VMs.
    pub async fn vms(&self) -> Result<Vec<VmInfo>, HubError> {
        self.get_json("/v1/vms").await
    }

    /// Opens a stream of records.
    pub async fn records(&self, query: &Query) -> Result<Lines, HubError> {
        let response =
            request::send(&self.address, Method::GET, &format!("/v1/records{query}"), None).await?;
        Ok(Lines::new(response))
    }

    /// Executes a command; `request` is `{"execute": …, "arguments": …}`.
    pub async fn execute(&self, vm: &str, request: String) -> Result<Executed, HubError> {
        let path = format!("/v1/vms/{}/execute", request::encoded(vm));
        let response = request::send(&self.address, Method::POST, &path, Some(request)).await?;
        parse(&lines::whole(response).await?)
    }

    /// Asks for the VMs and all that is known of them in short, as JSON.
    pub async fn vms_json(&self) -> Result<Vec<Box<RawValue>>, HubError> {
        self.get_json("/v1/vms").await
    }

    /// Asks for all that is known of one VM, as JSON.
    pub async fn vm_json(&self, name: &str) -> Result<Box<RawValue>, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    async fn get_json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, HubError> {
        let response = request::send(&self.address, Method::GET, path, None).await?;
        parse(&lines::whole(response).await?)
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, HubError> {
    serde_json::from_slice(body).map_err(|error| HubError::NotAHub { what: format!("it sent {error}") })
}

//! The hub's HTTP API, seen from the outside.

mod access;
mod address;
mod error;
mod follow;
mod lines;
mod request;
mod tls;

use std::fmt;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_rustls::TlsConnector;

pub use access::HubArgs;
pub use address::HubAddress;
pub use error::HubError;
pub use follow::{HubFollow, HubItem};
pub use lines::Lines;
pub use request::Query;

/// The longest time for a reply that can be asked of a hub, in seconds: a day.
const EXECUTE_TIMEOUT_MAX_SECONDS: u64 = 86_400;

/// Talks to one hub; each request has its own connection.
#[derive(Clone)]
pub struct HubClient {
    address: HubAddress,
    /// Shown with each request.
    token: Option<Box<str>>,
    /// For an address of HTTPS.
    tls: Option<TlsConnector>,
}

/// Without the token.
impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubClient({})", self.address)
    }
}

/// What the hub says about itself.
#[derive(Clone, Debug, Deserialize)]
pub struct HubInfo {
    /// The offset of the newest record.
    pub head: u64,
    /// The file of its journal, as it was named where it was started.
    #[serde(default)]
    pub journal: Option<std::path::PathBuf>,
    /// When it was started.
    #[serde(default)]
    pub started: Option<String>,
    /// What of its journal is damaged, as far as it was read since the start.
    #[serde(default)]
    pub damaged: Vec<DamagedRecords>,
}

/// Records of a hub's journal of which something is damaged.
#[derive(Clone, Debug, Deserialize)]
pub struct DamagedRecords {
    /// The offset of the last one.
    pub last: u64,
    /// Whether readers get fewer records for it.
    pub lost: bool,
    /// What is damaged.
    pub desc: String,
}

/// What the hub says about one of its VMs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct VmInfo {
    /// Its name.
    pub vm: String,
    /// `attached`, `connecting`, `detached` or `taken`.
    pub state: String,
    /// Since when.
    #[serde(default)]
    pub since: Option<String>,
    /// Why it is not attached.
    #[serde(default)]
    pub error: Option<String>,
    /// The same in a word. A hub of an earlier release has none.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether its epoch is open in the journal; in the answer about one VM alone.
    #[serde(default)]
    pub attached: Option<bool>,
}

/// What the hub says about one of its rules.
#[derive(Clone, Debug, Deserialize)]
pub struct SinkInfo {
    /// Its name.
    pub rule: String,
    /// `delivering`, or what keeps it from that.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Records of the journal that it has not dealt with.
    pub lag_records: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How many records were given up since the hub started.
    #[serde(default)]
    pub given_up: u64,
    /// The last of them. A hub of an earlier release does not say.
    #[serde(default)]
    pub last_given_up: Option<GivenUpInfo>,
}

/// A record that a rule gave up because the receiver refused it.
#[derive(Clone, Debug, Deserialize)]
pub struct GivenUpInfo {
    /// Its place in the journal.
    pub offset: u64,
    /// The VM that it is of.
    pub vm: String,
    /// When.
    pub at: String,
    /// Why.
    pub error: String,
}

impl VmInfo {
    /// Whether commands and events get through.
    pub fn is_attached(&self) -> bool {
        self.state == "attached"
    }

    /// Whether QEMU is gone, or was never there: no process listens at its socket, or it closed the connection. One whose
    /// monitor cannot be reached for another reason may run.
    pub fn is_gone(&self) -> bool {
        let is_gone = ["peer-closed", "no-such-socket", "refused"];
        !self.is_attached() && self.reason.as_deref().is_some_and(|reason| is_gone.contains(&reason))
    }

    /// Whether this is more than a moment: an attempt to attach has succeeded or failed, and the journal has the end of
    /// the epoch of a VM that is not attached.
    pub fn is_settled(&self) -> bool {
        let is_known = self.state == "detached" || self.error.is_some();
        self.is_attached() || (is_known && self.attached != Some(true))
    }
}

/// The reply to a command, and where in the journal it stands.
#[derive(Debug, Default, Deserialize)]
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
    /// The journal had no room, and may lack events between the two.
    #[serde(default)]
    pub overrun: bool,
    /// `false` if the journal did not have the events ahead of the reply when it was released.
    pub journaled: Option<bool>,
}

/// The newest state of a VM's findings.
#[derive(Clone, Debug, Deserialize)]
pub struct HubCheckpoint {
    /// The last record of the VM that is in the state.
    pub offset: u64,
    /// Which code reads the state.
    pub version: Box<str>,
    /// Of VM, offset and state.
    pub checksum: i64,
    /// The state.
    pub state: Box<str>,
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
    /// Whether the hub runs on this host.
    pub fn is_on_this_host(&self) -> bool {
        matches!(self.address, HubAddress::Unix(_) | HubAddress::Tcp(_))
    }

    /// Asks the hub about itself.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        self.get_json("/v1/hub").await
    }

    /// Asks for the VMs.
    pub async fn vms(&self) -> Result<Vec<VmInfo>, HubError> {
        self.get_json("/v1/vms").await
    }

    /// Asks for one VM.
    pub async fn vm(&self, name: &str) -> Result<VmInfo, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Asks for the checkpoint of a VM; `None` if there is none. A hub of an earlier release has none.
    pub async fn checkpoint(&self, name: &str) -> Result<Option<HubCheckpoint>, HubError> {
        match self.get_json(&format!("/v1/vms/{}/checkpoint", request::encoded(name))).await {
            Err(HubError::Refused { status: 404, .. }) => Ok(None),
            checkpoint => checkpoint.map(Some),
        }
    }

    /// Opens a stream of records.
    pub async fn records(&self, query: &Query) -> Result<Lines, HubError> {
        let response = request::send(self, Method::GET, &format!("/v1/records{query}"), None).await?;
        Ok(Lines::new(response))
    }

    /// Executes a command; `request` is `{"execute": …, "arguments": …}`. A `timeout` of zero is for ever.
    pub async fn execute(&self, vm: &str, request: String, timeout: Duration) -> Result<Executed, HubError> {
        // The hub counts whole seconds, and takes a day of them. What is longer or shorter, the caller counts.
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let seconds = if seconds > EXECUTE_TIMEOUT_MAX_SECONDS { 0 } else { seconds };
        let path = format!("/v1/vms/{}/execute?timeout={seconds}", request::encoded(vm));
        let response = request::send(self, Method::POST, &path, Some(request)).await?;
        parse(&lines::whole(response).await?)
    }

    /// Asks for the VMs and all that is known of them in short, as JSON; with `left`, also for those that left the hub
    /// within that span. A hub of an earlier release lists none of these.
    pub async fn vms_json(&self, left: Option<Duration>) -> Result<Vec<Box<RawValue>>, HubError> {
        let mut query = Query::default();
        if let Some(left) = left {
            query.add("left", u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        }
        self.get_json(&format!("/v1/vms{query}")).await
    }

    /// Asks for all that is known of one VM, as JSON.
    pub async fn vm_json(&self, name: &str) -> Result<Box<RawValue>, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Asks how the rules stand. A hub of an earlier release has none.
    pub async fn sinks(&self) -> Result<Vec<SinkInfo>, HubError> {
        self.get_json("/v1/sinks").await
    }

    async fn get_json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, HubError> {
        let response = request::send(self, Method::GET, path, None).await?;
        parse(&lines::whole(response).await?)
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, HubError> {
    serde_json::from_slice(body).map_err(|error| HubError::NotAHub { what: format!("it sent {error}") })
}

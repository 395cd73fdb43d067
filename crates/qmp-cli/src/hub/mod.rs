//! Client of the hub's HTTP interface.

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
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio_rustls::TlsConnector;

pub use access::HubArgs;
pub use address::HubAddress;
pub use error::HubError;
pub use follow::{HubFollow, HubItem};
pub use lines::Lines;
pub use request::Query;

/// The longest time for a reply that a request to the hub may give, in seconds: a day.
const EXECUTE_TIMEOUT_MAX_SECONDS: u64 = 86_400;

/// A client of one hub; each request has its own connection.
#[derive(Clone)]
pub struct HubClient {
    address: HubAddress,
    /// Sent with each request.
    token: Option<Box<str>>,
    /// For an HTTPS address.
    tls: Option<TlsConnector>,
}

/// Omits the token.
impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubClient({})", self.address)
    }
}

/// The hub's description of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct HubInfo {
    /// The offset of the newest record.
    pub head: u64,
    /// The path of its journal, as given when the hub was started.
    #[serde(default)]
    pub journal: Option<std::path::PathBuf>,
    /// When it was started.
    #[serde(default)]
    pub started: Option<String>,
    /// The damaged parts of the journal, as far as the hub has read them since its start.
    #[serde(default)]
    pub damaged: Vec<DamagedRecords>,
}

/// A range of records of a hub's journal with damage.
#[derive(Clone, Debug, Deserialize)]
pub struct DamagedRecords {
    /// The offset of the last record.
    pub last: u64,
    /// Whether records are lost to readers.
    pub lost: bool,
    /// A description of the damage.
    pub desc: String,
}

/// The hub's description of a VM.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct VmInfo {
    /// Its name.
    pub vm: String,
    /// The address of its monitor.
    #[serde(default)]
    pub address: String,
    /// `attached`, `connecting`, `detached` or `in-use`.
    #[serde(deserialize_with = "state_of_monitor")]
    pub state: String,
    /// Since when it has been in that state.
    #[serde(default)]
    pub since: Option<String>,
    /// Why the monitor is not attached.
    #[serde(default)]
    pub error: Option<String>,
    /// The same reason in one word. A hub of an earlier release has none.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether its epoch is open in the journal; only in the response about a single VM.
    #[serde(default)]
    pub attached: Option<bool>,
}

/// The hub's description of a rule.
#[derive(Clone, Debug, Deserialize)]
pub struct SinkInfo {
    /// Its name.
    pub rule: String,
    /// `delivering`, or why it is not.
    pub state: String,
    /// Since when it has been in that state.
    pub since: String,
    /// Records of the journal that it has not processed.
    pub lag_records: u64,
    /// The last error.
    pub last_error: Option<String>,
    /// How many records were given up since the hub started, because the receiver refused them.
    #[serde(default)]
    pub given_up: u64,
    /// The last of them. A hub of an earlier release has none.
    #[serde(default)]
    pub last_given_up: Option<GivenUpInfo>,
}

/// A record that a rule gave up because the receiver refused it.
#[derive(Clone, Debug, Deserialize)]
pub struct GivenUpInfo {
    /// Its offset in the journal.
    pub offset: u64,
    /// The VM of the record.
    pub vm: String,
    /// When it was given up.
    pub at: String,
    /// The reason.
    pub error: String,
}

impl VmInfo {
    /// Whether the monitor is attached, so that commands and events pass.
    pub fn is_attached(&self) -> bool {
        self.state == "attached"
    }

    /// Whether QEMU has exited or was not started: no process listens at its socket, or the connection was closed by QEMU. A VM
    /// whose monitor cannot be reached for another reason may be running.
    pub fn is_gone(&self) -> bool {
        let is_gone = ["peer-closed", "no-such-socket", "refused"];
        !self.is_attached() && self.reason.as_deref().is_some_and(|reason| is_gone.contains(&reason))
    }

    /// Whether the state is final for now: an attempt to attach has succeeded or failed, and the journal has the end of the
    /// epoch of a VM that is not attached.
    pub fn is_settled(&self) -> bool {
        let is_known = self.state == "detached" || self.error.is_some();
        self.is_attached() || (is_known && self.attached != Some(true))
    }
}

/// The reply to a command, with its position in the journal.
#[derive(Debug, Default, Deserialize)]
pub struct ExecuteReply {
    /// The result, as the VM sent it.
    #[serde(rename = "return")]
    pub value: Option<Box<RawValue>>,
    /// The VM's error.
    pub error: Option<ErrorInfo>,
    /// The head before the command was sent.
    pub since: Option<u64>,
    /// The head when the reply was released: events before the reply have offsets up to it.
    pub offset: Option<u64>,
    /// The journal was full, and may lack events between the two.
    #[serde(default)]
    pub overrun: bool,
    /// `false` if the events before the reply were not committed when it was released.
    pub journaled: Option<bool>,
}

/// The newest saved state of a VM's correlators.
#[derive(Clone, Debug, Deserialize)]
pub struct HubCheckpoint {
    /// The last record of the VM that the state covers.
    pub offset: u64,
    /// The version of the code that can read the state.
    pub version: Box<str>,
    /// A checksum of VM, offset and state.
    pub checksum: i64,
    /// The state.
    pub state: Box<str>,
}

/// An error of a VM or of the hub.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorInfo {
    /// The class, such as `GenericError`, `CommandNotFound`, or one of the hub's own.
    pub class: String,
    /// The description, for people.
    pub desc: String,
}

impl HubClient {
    /// Whether the hub runs on this host.
    pub fn is_on_this_host(&self) -> bool {
        matches!(self.address, HubAddress::Unix(_) | HubAddress::Tcp(_))
    }

    /// Requests the status of the hub.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        self.get_json("/v1/hub").await
    }

    /// Requests the list of VMs.
    pub async fn vms(&self) -> Result<Vec<VmInfo>, HubError> {
        self.get_json("/v1/vms").await
    }

    /// Requests one VM.
    pub async fn vm(&self, name: &str) -> Result<VmInfo, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Requests the checkpoint of a VM; `None` if there is none, as at a hub of an earlier release.
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

    /// Executes a command; `request` is `{"execute": …, "arguments": …}`. A `timeout` of zero waits for ever.
    pub async fn execute(
        &self,
        vm: &str,
        request: String,
        timeout: Duration,
    ) -> Result<ExecuteReply, HubError> {
        // The hub takes whole seconds, a day at most. The caller enforces longer and finer limits.
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let seconds = if seconds > EXECUTE_TIMEOUT_MAX_SECONDS { 0 } else { seconds };
        let path = format!("/v1/vms/{}/execute?timeout={seconds}", request::encoded(vm));
        let response = request::send(self, Method::POST, &path, Some(request)).await?;
        parse(&lines::whole(response).await?)
    }

    /// Requests the list of VMs as JSON; with `left`, also those that left the hub within that span. A hub of an earlier release
    /// omits these.
    pub async fn vms_json(&self, left: Option<Duration>) -> Result<Vec<Box<RawValue>>, HubError> {
        let mut query = Query::default();
        if let Some(left) = left {
            query.add("left", u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        }
        self.get_json(&format!("/v1/vms{query}")).await
    }

    /// Requests everything known about one VM, as JSON.
    pub async fn vm_json(&self, name: &str) -> Result<Box<RawValue>, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Requests the state of the rules. A hub of an earlier release has none.
    pub async fn sinks(&self) -> Result<Vec<SinkInfo>, HubError> {
        self.get_json("/v1/sinks").await
    }

    async fn get_json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, HubError> {
        let response = request::send(self, Method::GET, path, None).await?;
        parse(&lines::whole(response).await?)
    }
}

/// Reads the state of a VM's monitor. A hub of an earlier release writes `taken` for `in-use`.
///
/// # Errors
///
/// Those of the deserializer: the state is a string.
pub fn state_of_monitor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let state = String::deserialize(deserializer)?;
    Ok(if state == "taken" { "in-use".to_owned() } else { state })
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, HubError> {
    serde_json::from_slice(body).map_err(|error| HubError::NotAHub { what: format!("it sent {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_earlier_hub_is_read_as_in_use() {
        for (state, expected) in [("taken", "in-use"), ("in-use", "in-use"), ("attached", "attached")] {
            let vm: VmInfo = serde_json::from_str(&format!(r#"{{"vm": "a", "state": "{state}"}}"#)).unwrap();
            assert_eq!(vm.state, expected);
        }
    }
}

//! The hub's descriptions of itself, its VMs and its rules.

use qmp_wire::QualifiedName;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The hub's description of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct HubInfo {
    /// The offset of the newest record.
    pub head: u64,
    /// The path of its journal, as given when the hub was started.
    #[serde(default)]
    pub journal: Option<std::path::PathBuf>,
    /// The journal's own name. A hub of an earlier release has none.
    #[serde(default)]
    pub journal_id: Option<Box<str>>,
    /// The name of its host. A hub of an earlier release has none.
    #[serde(default)]
    pub host: Option<Box<str>>,
    /// When it was started.
    #[serde(default)]
    pub started: Option<String>,
    /// The damaged parts of the journal, as far as the hub has read them since its start.
    #[serde(default)]
    pub damaged: Vec<DamagedRecords>,
    /// The streams with records of other hosts. A hub of an earlier release names none.
    #[serde(default)]
    pub from: Vec<FleetSourceInfo>,
    /// The addresses at which it serves. A hub of an earlier release names none.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// The hub's description of a stream with records of other hosts.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetSourceInfo {
    /// The servers and the stream.
    pub source: String,
    /// `reading`, or why it is not read.
    pub state: String,
    /// Since when it is in that state.
    pub since: String,
    /// Messages of the stream that were not read.
    pub lag_records: u64,
    /// The fault, with what to do.
    pub problem: Option<String>,
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
#[serde(remote = "Self")]
pub struct VmInfo {
    /// The host of a VM of another host.
    #[serde(default)]
    pub host: Option<String>,
    /// Its name; of a VM of another host, the qualified one.
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

impl<'de> Deserialize<'de> for VmInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function, by `remote`.
        let mut info = Self::deserialize(deserializer)?;
        qualify(info.host.as_deref(), &mut info.vm);
        Ok(info)
    }
}

/// Makes the name of a VM of another host, as JSON has it, the qualified one.
pub fn qualify(host: Option<&str>, vm: &mut String) {
    if let Some(name) = host.and_then(|host| QualifiedName::join(host, vm)) {
        *vm = name;
    }
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
    /// A fault of the receiver that does not stop the deliveries.
    #[serde(default)]
    pub problem: Option<String>,
    /// How many records were given up since the hub started, because the receiver refused them.
    #[serde(default)]
    pub given_up: u64,
    /// The last of them. A hub of an earlier release has none.
    #[serde(default)]
    pub last_given_up: Option<GivenUpInfo>,
}

/// An alert of a rule on states that is not resolved.
#[derive(Clone, Debug, Deserialize)]
pub struct AlertInfo {
    /// The host of a VM of another host.
    #[serde(default)]
    pub host: Option<String>,
    /// The VM; in the response of [`alerts`](super::HubClient::alerts) the qualified name.
    pub vm: String,
    /// The rule.
    pub rule: String,
    /// The state.
    pub state: String,
    /// When the state began.
    pub since: String,
}

/// A span in which rules do not deliver the records of some VMs.
#[derive(Clone, Debug, Deserialize)]
pub struct SilenceInfo {
    /// The pattern of the names of VMs.
    pub vms: String,
    /// The rule; `None` for all that do not take every record.
    #[serde(default)]
    pub rule: Option<String>,
    /// When it ends.
    pub until: String,
    /// Why.
    pub reason: String,
    /// The client that asked for it.
    pub client: String,
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

/// Reads the state of a VM's monitor. A hub of an earlier release writes `taken` for `in-use`.
///
/// # Errors
///
/// Those of the deserializer: the state is a string.
pub fn state_of_monitor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let state = String::deserialize(deserializer)?;
    Ok(if state == "taken" { "in-use".to_owned() } else { state })
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

    #[test]
    fn vm_of_other_host_has_its_qualified_name() {
        for (json, expected) in [
            (r#"{"host": "node1", "vm": "web1", "state": "attached"}"#, "node1/web1"),
            (r#"{"vm": "web1", "state": "attached"}"#, "web1"),
        ] {
            let info: VmInfo = serde_json::from_str(json).expect("a VM");
            assert_eq!(info.vm, expected);
        }
    }
}

//! The requests of the hub's HTTP interface.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::HubClient;
use super::error::HubError;
use super::info::{AlertInfo, ExecuteReply, HubCheckpoint, HubInfo, SilenceInfo, SinkInfo, VmInfo, qualify};
use super::lines::{self, Lines};
use super::request::{self, Query};

/// The longest time for a reply that a request to the hub may give, in seconds: a day.
const EXECUTE_TIMEOUT_MAX_SECONDS: u64 = 86_400;

impl HubClient {
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
        self.post_json(&format!("/v1/vms/{}/execute?timeout={seconds}", request::encoded(vm)), request).await
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

    /// Requests the states of all VMs, with the members that the caller reads.
    pub async fn vms_as<T: for<'de> Deserialize<'de>>(&self) -> Result<Vec<T>, HubError> {
        self.get_json("/v1/vms").await
    }

    /// Requests everything known about one VM, with the members that the caller reads.
    pub async fn vm_as<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Requests a part of the timeline, with the members that the caller reads.
    pub async fn timeline<T: for<'de> Deserialize<'de>>(&self, query: &Query) -> Result<T, HubError> {
        self.get_json(&format!("/v1/timeline{query}")).await
    }

    /// Requests everything known about one VM, as JSON.
    pub async fn vm_json(&self, name: &str) -> Result<Box<RawValue>, HubError> {
        self.get_json(&format!("/v1/vms/{}", request::encoded(name))).await
    }

    /// Requests the state of the rules. A hub of an earlier release has none.
    pub async fn sinks(&self) -> Result<Vec<SinkInfo>, HubError> {
        self.get_json("/v1/sinks").await
    }

    /// Requests the alerts that are raised at present. A hub of an earlier release has none.
    pub async fn alerts(&self) -> Result<Vec<AlertInfo>, HubError> {
        let mut alerts: Vec<AlertInfo> = self.get_json("/v1/alerts").await?;
        alerts.iter_mut().for_each(|alert| qualify(alert.host.as_deref(), &mut alert.vm));
        Ok(alerts)
    }

    /// Requests the silences that last at present. A hub of an earlier release has none.
    pub async fn silences(&self) -> Result<Vec<SilenceInfo>, HubError> {
        self.get_json("/v1/silences").await
    }

    /// Requests the silences that last at present, as JSON.
    pub async fn silences_json(&self) -> Result<Vec<Box<RawValue>>, HubError> {
        self.get_json("/v1/silences").await
    }

    /// Begins or ends a silence.
    pub async fn silence(&self, request: String) -> Result<Box<RawValue>, HubError> {
        self.post_json("/v1/silences", request).await
    }

    /// Writes a remark about a VM; returns the offset of its record.
    pub async fn note(&self, vm: &str, request: String) -> Result<u64, HubError> {
        #[derive(Deserialize)]
        struct Response {
            offset: u64,
        }
        let path = format!("/v1/vms/{}/notes", request::encoded(vm));
        self.post_json(&path, request).await.map(|Response { offset }| offset)
    }

    /// Requests counts of records.
    pub async fn counts<T: for<'de> Deserialize<'de>>(&self, query: &Query) -> Result<T, HubError> {
        self.get_json(&format!("/v1/counts{query}")).await
    }

    async fn post_json<T: for<'de> Deserialize<'de>>(&self, path: &str, json: String) -> Result<T, HubError> {
        let response = request::send(self, Method::POST, path, Some(json)).await?;
        parse(&lines::whole(response).await?)
    }

    async fn get_json<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, HubError> {
        let response = request::send(self, Method::GET, path, None).await?;
        parse(&lines::whole(response).await?)
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, HubError> {
    serde_json::from_slice(body).map_err(|error| HubError::NotAHub { what: format!("it sent {error}") })
}

/// The path of the page of a VM, or of all.
pub fn page_path(vm: Option<&str>) -> String {
    vm.map_or_else(|| "/".to_owned(), |vm| format!("/vm/{}", request::encoded(vm)))
}

//! `POST /v1/vms/{name}/execute`: a command through the hub's own connection, in order with the events.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use qmp_client::{CloseReason, ExecuteError, ForwardedCommand, ReplySink};
use qmp_hub::Audit;
use qmp_hub::FollowedVm;
use qmp_hub::InFlightGuard;
use qmp_hub::relay::only_asks;
use qmp_wire::Offset;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};

use super::auth::Principal;
use super::error::ApiError;
use super::execute_timeout;
use super::foreign;
use super::vm_path::VmPath;
use crate::state::ApiState;

/// A request in QMP's form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(default, deserialize_with = "text")]
    execute: Option<String>,
    #[serde(default, rename = "exec-oob", deserialize_with = "text")]
    exec_oob: Option<String>,
    #[serde(default, borrow)]
    arguments: Option<&'a RawValue>,
}

/// Deserializes a string, and refuses null.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// The VM's reply, and the range of the journal that contains all events between request and reply.
#[derive(Serialize)]
struct ExecuteResponse<'a> {
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorText<'a>>,
    since: u64,
    offset: u64,
    /// The journal was full, so events of that range may be missing from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    overrun: bool,
    /// False if the reply was released before the events of that range were committed.
    #[serde(skip_serializing_if = "is_true")]
    journaled: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

#[derive(Serialize)]
struct ErrorText<'a> {
    class: &'a str,
    desc: &'a str,
}

/// Receives the reply when it is released, whether or not the client still waits.
#[derive(Debug)]
struct ReplyReceiver {
    to: oneshot::Sender<ReleasedReply>,
    head: watch::Receiver<Offset>,
    audit: Option<Audit>,
    _in_flight: InFlightGuard,
}

/// A reply that was released.
#[derive(Debug)]
struct ReleasedReply {
    result: Result<Box<str>, ExecuteError>,
    /// The head when it was released.
    offset: Offset,
    /// Whether the events before it were committed by then.
    journaled: bool,
}

impl ReplyReceiver {
    fn end(self, result: Result<Box<str>, ExecuteError>, journaled: bool) {
        // Unless released early, a reply follows the commit of the events before it, so the head covers those.
        let offset = *self.head.borrow();
        if let Some(audit) = self.audit {
            audit.end(&result, journaled);
        }
        // A disconnected client needs no reply.
        let _ = self.to.send(ReleasedReply { result, offset, journaled });
    }
}

impl ReplySink for ReplyReceiver {
    fn is_cancelled(&self) -> bool {
        self.to.is_closed()
    }

    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.end(result, true);
    }

    fn deliver_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.end(result, false);
    }
}

pub(super) async fn execute(
    State(api): State<ApiState>,
    VmPath(name): VmPath,
    Query(parameters): Query<Vec<(String, String)>>,
    Extension(principal): Extension<Principal>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let timeout = execute_timeout::read(&parameters)?;
    let Some(vm) = api.vms.get(&name) else { return Err(foreign::not_here(&api, &name).await) };
    let (command, arguments, out_of_band) = read_request(&body)?;
    principal.may(&command)?;
    refuse_through_libvirt(&vm)?;
    let since = api.head();
    let identity = Arc::new(principal.identity());
    let audit = (!only_asks(&command))
        .then(|| Audit::begin(&api.appender, vm.name.as_str(), &identity, &command, arguments));
    let in_flight = vm.commands.begin(&command, &identity);
    let (to, reply) = oneshot::channel();
    let receiver = Box::new(ReplyReceiver { to, head: api.watch_head(), audit, _in_flight: in_flight });
    let passed = ForwardedCommand { command: &command, arguments, out_of_band, descriptors: Vec::new() };
    vm.forward(passed, receiver).map_err(|error| failed(&vm, &error))?;
    // The receiver is dropped without a reply only together with the connection's task.
    let gone = |_| ReleasedReply {
        result: Err(ExecuteError::Closed { reason: CloseReason::ClosedLocally }),
        offset: api.head(),
        journaled: true,
    };
    let replied = async { reply.await.unwrap_or_else(gone) };
    let ReleasedReply { result, offset, journaled } = match timeout {
        None => replied.await,
        // A late reply is written into the record of the command; a command not yet sent to the VM is not sent.
        Some(waited) => tokio::time::timeout(waited, replied)
            .await
            .map_err(|_| failed(&vm, &ExecuteError::TimedOut { waited }))?,
    };
    let overrun = vm.is_overrun();
    let response =
        |value, error| ExecuteResponse { value, error, since: since.0, offset: offset.0, overrun, journaled };
    match result {
        Ok(value) => {
            let value: &RawValue = serde_json::from_str(&value).map_err(|error| unreadable(&vm, &error))?;
            Ok(json(&response(Some(value), None)))
        }
        Err(ExecuteError::Refused(refused)) => {
            let error = ErrorText { class: &refused.class, desc: &refused.desc };
            Ok(json(&response(None, Some(error))))
        }
        Err(error) => Err(failed(&vm, &error)),
    }
}

fn read_request(body: &[u8]) -> Result<(String, Option<&str>, bool), ApiError> {
    let wrong = |error: String| {
        ApiError::bad_request(format!("{error}; send {{\"execute\": COMMAND, \"arguments\": {{…}}}}"))
    };
    // Serde would accept a list as the members in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong("a list is not a request".to_owned()));
    }
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let arguments = request.arguments.map(RawValue::get);
    if arguments.is_some_and(|arguments| !arguments.starts_with('{')) {
        return Err(ApiError::bad_request("\"arguments\" must be a JSON object"));
    }
    match (request.execute, request.exec_oob) {
        (Some(command), None) => Ok((command, arguments, false)),
        (None, Some(command)) => Ok((command, arguments, true)),
        _ => Err(ApiError::bad_request("name the command in either \"execute\" or \"exec-oob\"")),
    }
}

/// libvirt would execute the command, and mark the domain as tainted.
fn refuse_through_libvirt(vm: &FollowedVm) -> Result<(), ApiError> {
    if vm.takes_commands() {
        return Ok(());
    }
    let desc = format!(
        "{0} is followed through libvirt, which marks a VM that gets a command as tainted; if that may be, set commands = true \
         in the table [[discover]], or give the command with `virsh qemu-monitor-command {0}`, which marks it, too",
        vm.name
    );
    Err(ApiError::new(StatusCode::CONFLICT, "VmThroughLibvirt", desc))
}

fn failed(vm: &FollowedVm, error: &ExecuteError) -> ApiError {
    let class = match error {
        ExecuteError::NotAttached => "VmNotAttached",
        ExecuteError::Closed { .. } => "VmGone",
        ExecuteError::Busy { .. } => "VmBusy",
        ExecuteError::InvalidArguments { .. } => return ApiError::bad_request(error.to_string()),
        ExecuteError::TimedOut { .. } => {
            let desc = format!("{}: {error}", vm.name);
            return ApiError::new(StatusCode::GATEWAY_TIMEOUT, "VmTimedOut", desc);
        }
        _ => return ApiError::new(StatusCode::BAD_GATEWAY, "VmFailed", error.to_string()),
    };
    let why = vm.status().error.map(|why| format!(" ({why})")).unwrap_or_default();
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, class, format!("{}: {error}{why}", vm.name))
}

fn unreadable(vm: &FollowedVm, error: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "VmFailed", format!("{}: the reply is not JSON: {error}", vm.name))
}

fn json(response: &ExecuteResponse<'_>) -> Response {
    // Numbers and strings only, so serializing cannot fail.
    let body = serde_json::to_vec(response).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_read_in_the_form_of_qmp() {
        let cases: [(&str, &str); 14] = [
            (
                r#"["stop", null, {}]"#,
                "a list is not a request; send {\"execute\": COMMAND, \"arguments\": {…}}",
            ),
            (
                r#"{"execute": "stop", "exec-oob": null}"#,
                "invalid type: null, expected a string at line 1 column 36; send {\"execute\": COMMAND, \"arguments\": {…}}",
            ),
            (r#"{"execute": "stop"}"#, "stop"),
            (r#" {"arguments": {"b": 1, "a":2}, "execute": "x"} "#, r#"x {"b": 1, "a":2}"#),
            (r#"{"exec-oob": "yank"}"#, "yank out of band"),
            (r#"{"execute": "\u0073top"}"#, "stop"),
            (
                r#"{"execute": "x", "arguments": {"n": 18446744073709551615}}"#,
                r#"x {"n": 18446744073709551615}"#,
            ),
            (r#"{}"#, "name the command in either \"execute\" or \"exec-oob\""),
            (
                r#"{"execute": "a", "exec-oob": "b"}"#,
                "name the command in either \"execute\" or \"exec-oob\"",
            ),
            (r#"{"execute": "a", "arguments": [1]}"#, "\"arguments\" must be a JSON object"),
            (r#"{"execute": "a", "arguments": null}"#, "a"),
            (
                r#"{"execute": "a", "args": {}}"#,
                "unknown field `args`, expected one of `execute`, `exec-oob`, `arguments` at line 1 column 23; \
                 send {\"execute\": COMMAND, \"arguments\": {…}}",
            ),
            (
                "",
                "EOF while parsing a value at line 1 column 0; send {\"execute\": COMMAND, \"arguments\": {…}}",
            ),
            ("stop", "expected value at line 1 column 1; send {\"execute\": COMMAND, \"arguments\": {…}}"),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body), expected, "{body}");
        }
    }

    fn read(body: &str) -> String {
        match read_request(body.as_bytes()) {
            Err(error) => error.desc,
            Ok((command, arguments, out_of_band)) => {
                let arguments = arguments.map(|arguments| format!(" {arguments}")).unwrap_or_default();
                format!("{command}{arguments}{}", if out_of_band { " out of band" } else { "" })
            }
        }
    }
}

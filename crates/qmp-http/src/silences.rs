//! `GET` and `POST /v1/silences`: spans in which rules do not deliver the records of some VMs, on record.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use qmp_findings::SILENCE;
use qmp_host::clock;
use qmp_journal::Globs;
use qmp_settings::{span, suggest::nearest};
use qmp_sinks::{SILENCE_MAX, SILENCE_PATTERN_MAX_BYTES, Silence, SilenceError};
use qmp_wire::{Causes, UnixMicros};
use serde::{Deserialize, Serialize};

use super::auth::Principal;
use super::error::ApiError;
use super::foreign;
use super::operator_record::{WholeNumber, append, body, read_json};
use crate::state::ApiState;

/// The longest reason, in bytes: a sentence.
const REASON_MAX_BYTES: usize = 1 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    vms: Box<str>,
    #[serde(default)]
    rule: Option<Box<str>>,
    /// 0 ends the silences for the same VMs and rule.
    seconds: WholeNumber,
    #[serde(default)]
    reason: Box<str>,
}

/// The silence, the VMs that it is for at present, and the silence that it replaces or ends.
#[derive(Serialize)]
pub(super) struct SilenceResponse {
    until: String,
    vms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<Silence>,
}

pub(super) async fn silences(State(api): State<ApiState>) -> Json<Vec<Silence>> {
    Json(api.rules.silences(clock::now()))
}

pub(super) async fn silence(
    State(api): State<ApiState>,
    Extension(principal): Extension<Principal>,
    request: Bytes,
) -> Result<Json<SilenceResponse>, ApiError> {
    principal.may(SILENCE)?;
    let form = "{\"vms\": PATTERN, \"rule\": NAME, \"seconds\": N, \"reason\": TEXT}";
    let request: Request = read_json(&request, form)?;
    check(&api, &request)?;
    let vms = matching(&api, &request.vms, request.seconds.0 == 0).await?;
    let since = clock::now();
    let seconds = i64::try_from(request.seconds.0).unwrap_or(i64::MAX);
    let until = UnixMicros(since.0.saturating_add(seconds.saturating_mul(1_000_000)));
    let identity = principal.identity();
    let silence = Silence {
        vms: request.vms,
        rule: request.rule,
        since,
        until,
        reason: request.reason,
        client: identity.to_string().into(),
    };
    let mut data = identity.members();
    data.insert("vms".into(), silence.vms.to_string().into());
    data.insert("until".into(), until.to_string().into());
    data.insert("reason".into(), silence.reason.to_string().into());
    data.extend(silence.rule.as_ref().map(|rule| ("rule".to_owned(), rule.to_string().into())));
    let summary = summary(&silence, request.seconds.0, &identity.who());
    let replaced = api.rules.silence(silence).await.map_err(|error| refused(&error))?;
    append(&api, vms.iter().map(String::as_str), &body(SILENCE, summary, Causes::new(), data)).await?;
    Ok(Json(SilenceResponse { until: until.to_string(), vms, replaced }))
}

fn refused(error: &SilenceError) -> ApiError {
    match error {
        SilenceError::NotFound { .. } => {
            ApiError::new(StatusCode::NOT_FOUND, "SilenceNotFound", error.to_string())
        }
        _ => ApiError::bad_request(error.to_string()),
    }
}

fn check(api: &ApiState, request: &Request) -> Result<(), ApiError> {
    if request.seconds.0 > SILENCE_MAX.as_secs() {
        let max = span::describe(SILENCE_MAX.as_micros().try_into().unwrap_or(u64::MAX));
        return Err(ApiError::bad_request(format!("a silence lasts {max} at most")));
    }
    let is_end = request.seconds.0 == 0;
    if request.reason.len() > REASON_MAX_BYTES || (request.reason.trim().is_empty() && !is_end) {
        return Err(ApiError::bad_request(format!("the reason has 1 to {REASON_MAX_BYTES} bytes")));
    }
    // Before the pattern is read, which takes long.
    if request.vms.len() > SILENCE_PATTERN_MAX_BYTES {
        let error = SilenceError::LongPattern { bytes: request.vms.len() };
        return Err(ApiError::bad_request(error.to_string()));
    }
    let Some(rule) = &request.rule else { return Ok(()) };
    let statuses = api.rules.statuses();
    let names: Vec<&str> = statuses.iter().map(|status| &*status.rule).collect();
    if names.contains(&&**rule) {
        return Ok(());
    }
    let advice = match nearest(rule, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if names.is_empty() => "this hub has none".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    Err(ApiError::new(StatusCode::NOT_FOUND, "RuleNotFound", format!("no rule {rule:?} here; {advice}")))
}

/// The names of the VMs that match. A pattern may match only VMs that start later; a name is that of a VM that the hub follows,
/// or of which the journal has records, unless a silence of it is ended.
async fn matching(api: &ApiState, pattern: &str, is_end: bool) -> Result<Vec<String>, ApiError> {
    let globs = Globs::parse([pattern]).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let (all, in_journal) = (api.vms.all(), foreign::in_journal(api).await?);
    let here = all.iter().map(|vm| vm.name.as_str());
    let of_other_hosts = foreign::of_other_hosts(&in_journal).into_iter().map(|vm| &*vm.vm);
    let names = here.chain(of_other_hosts).filter(|name| globs.matches_vm(name));
    let names: Vec<String> = names.map(str::to_owned).collect();
    if !names.is_empty() || pattern.starts_with('!') || pattern.contains(['*', '?', '[', '{']) {
        return Ok(names);
    }
    let known = in_journal.iter().map(|vm| &*vm.vm).filter(|name| globs.matches_vm(name));
    let known: Vec<String> = known.map(str::to_owned).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    if is_end {
        return Ok(names);
    }
    let mut error = foreign::not_here(api, pattern).await;
    error.desc += "; a pattern, such as 'web*', is also for VMs that start later";
    Err(error)
}

fn summary(silence: &Silence, seconds: u64, who: &str) -> String {
    if seconds == 0 {
        // Another silence may be for the same VM.
        return format!("The silence of {} was ended ({who}).", silence.subject());
    }
    let rules = silence.rule.as_ref().map_or_else(|| "Rules".to_owned(), |rule| format!("The rule {rule}"));
    let verb = if silence.rule.is_some() { "is" } else { "are" };
    let length = span::describe(seconds.saturating_mul(1_000_000));
    format!("{rules} {verb} silenced for {length}: {} ({who}).", silence.reason)
}

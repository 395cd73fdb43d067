//! The snapshot of a domain: what libvirt says of it, and the process of its QEMU.

use qmp_libvirt::{Attachment, Began, FollowSocket, Source};
use serde_json::{Value, json};

use super::process_text::ProcessText;

/// Writes the snapshot with which an epoch opens; `before` is the process of the epoch before, unless libvirt said that it ended.
pub(super) fn snapshot(
    source: &Source,
    follow: &FollowSocket,
    attachment: &Attachment,
    process: Option<&ProcessText>,
    before: Option<&ProcessText>,
) -> String {
    let Attachment { domain, began, started, state } = attachment;
    let began = match began {
        Began::Found => "found",
        Began::Started => "started",
        Began::Reopened => "reopened",
    };
    let mut libvirt = json!({
        "socket": follow.socket().to_string_lossy(),
        "domain": {"name": domain.name, "uuid": domain.uuid.to_string(), "id": domain.id},
        "began": began,
    });
    let mut add = |member: &str, value: Option<Value>| {
        if let Some(value) = value {
            libvirt[member] = value;
        }
    };
    add("version", follow.info().version.map(|version| version.to_string().into()));
    add("started", started.map(|started| started.detail_word().into()));
    let same_process = process.zip(before).map(|(process, before)| process == before);
    add("same_process", same_process.map(Value::from));
    match state {
        Ok(state) => {
            add("state", Some(state.state_word().into()));
            add("reason", Some(state.reason_word().into()));
        }
        Err(error) => add("error", Some(error.to_string().into())),
    }
    let mut snapshot = json!({"address": format!("libvirt:{source}")});
    if let Some(process) = process {
        snapshot["process"] = json!(process);
    }
    snapshot["libvirt"] = libvirt;
    snapshot.to_string()
}

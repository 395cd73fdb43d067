//! Commands that change a VM, as records: the client, the command and the result.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use qmp_client::ExecuteError;
use qmp_findings::{COMMAND, assert_listed};
use qmp_host::{clock, permissions};
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::Body;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

/// The longest part of a line of the human monitor in a summary, in characters: most lines are shorter, and the data has the
/// whole line.
const LINE_MAX_CHARACTERS: usize = 120;

/// The longest arguments in a record, in bytes: those that people type have some hundred.
const ARGUMENTS_MAX_BYTES: usize = 4 << 10;

/// The text in place of a secret.
const MASKED: &str = "***";

/// Parts of names of arguments whose value is a secret. The name of a secret object (`key-secret`) is not a secret.
const SECRETS: [&str; 4] = ["password", "passwd", "passphrase", "token"];

/// The client that sent a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The other end of the connection.
    pub peer: Peer,
    /// The name of the token that the client presented.
    pub token: Option<Box<str>>,
    /// The socket or the port at which the client connected.
    pub at: Box<str>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this host.
    Process {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// `None` if the system did not report it.
        pid: Option<i32>,
        /// The program's name, of at most 15 bytes, when it connected; `None` if the process had ended.
        comm: Option<Box<str>>,
    },
    /// A client at this address.
    Remote(SocketAddr),
}

/// A command in flight, which is recorded when it has ended.
#[derive(Debug)]
pub struct Audit {
    appender: Appender,
    vm: Box<str>,
    identity: Arc<ClientIdentity>,
    execute: Box<str>,
    arguments: Value,
    began: Instant,
}

impl Peer {
    /// The process at the other end of `stream`.
    pub fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let peer = stream.peer_cred()?;
        let comm = peer.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        let comm = comm.map(|comm| comm.trim_end().into());
        Ok(Self::Process { uid: peer.uid(), gid: peer.gid(), pid: peer.pid(), comm })
    }
}

/// For people.
impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, pid, comm, .. } => {
                write!(formatter, "uid {uid}")?;
                if let Some(pid) = pid {
                    write!(formatter, " pid {pid}")?;
                }
                comm.iter().try_for_each(|comm| write!(formatter, " ({comm})"))
            }
            Self::Remote(address) => write!(formatter, "{address}"),
        }
    }
}

/// For people.
impl fmt::Display for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(token) = &self.token {
            write!(formatter, "token {token} of ")?;
        }
        write!(formatter, "{} at {}", self.peer, self.at)
    }
}

impl ClientIdentity {
    /// The person or the program, in short: the token, or else the user with its program.
    #[must_use]
    pub fn who(&self) -> String {
        match (&self.token, &self.peer) {
            (Some(token), _) => format!("token {token}"),
            (None, Peer::Process { uid, .. }) => permissions::user(*uid),
            (None, Peer::Remote(address)) => address.to_string(),
        }
    }

    /// The client as members of a record.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("client".into(), self.to_string().into());
        match &self.peer {
            Peer::Process { uid, gid, pid, comm } => {
                members.insert("uid".into(), (*uid).into());
                members.insert("gid".into(), (*gid).into());
                members.insert("pid".into(), json!(pid));
                members.insert("comm".into(), json!(comm));
            }
            Peer::Remote(address) => _ = members.insert("peer".into(), address.to_string().into()),
        }
        members.extend(self.token.iter().map(|token| ("token".to_owned(), json!(token))));
        members.insert("socket".into(), json!(self.at));
        members
    }
}

impl Audit {
    /// Begins the record of a command.
    #[must_use]
    pub fn begin(
        appender: &Appender,
        vm: &str,
        identity: &Arc<ClientIdentity>,
        execute: &str,
        arguments: Option<&str>,
    ) -> Self {
        Self {
            appender: appender.clone(),
            vm: vm.into(),
            identity: Arc::clone(identity),
            execute: execute.into(),
            arguments: masked(execute, arguments),
            began: Instant::now(),
        }
    }

    /// Appends the record, or spawns a task that appends it when the journal has room. `journaled` is false if the client got
    /// the reply before the events that precede it were committed.
    pub fn end(self, result: &Result<Box<str>, ExecuteError>, journaled: bool) {
        if matches!(result, Err(ExecuteError::NotAttached)) {
            // The command was not sent.
            return;
        }
        let identity = &self.identity;
        let (outcome, error) = match result {
            Ok(_) => ("done", None),
            Err(error) => match failure(error) {
                Some(failure) => ("failed", Some(failure)),
                None => ("unknown", None),
            },
        };
        let mut data = Value::Object(identity.members());
        data["execute"] = json!(self.execute);
        data["arguments"] = self.arguments.clone();
        data["result"] = outcome.into();
        data["took_ms"] = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).into();
        if !journaled {
            data["journaled"] = false.into();
        }
        if let Ok(returned) = result
            && let Some(bytes) = output_bytes(&self.execute, returned)
        {
            data["output_bytes"] = bytes.into();
        }
        let line = human_line(&self.execute, &self.arguments);
        let mut summary = format!("{}{line} by {identity}: {outcome}", self.execute);
        if let Some((class, desc)) = error {
            summary += &format!(" ({class}: {desc})");
            data["error"] = json!({"class": class, "desc": desc});
        }
        data.as_object().into_iter().for_each(|data| assert_listed(COMMAND, data));
        let data = Some(data.to_string().into());
        let (finding, causes) = (COMMAND.into(), Vec::new());
        let body = Body::Finding { finding, summary: summary.into(), causes, data };
        let mut batch = Batch::new();
        batch.push(&Draft { vm: &self.vm, received: clock::now(), body });
        append(self.appender, batch);
    }
}

/// The length of the human monitor's output, in bytes of UTF-8. Its errors are text too, and QMP reports success.
fn output_bytes(execute: &str, returned: &str) -> Option<usize> {
    let output: Option<Cow<'_, str>> =
        (execute == "human-monitor-command").then(|| serde_json::from_str(returned).ok()).flatten();
    output.map(|output| output.len())
}

/// Class and description of a failure; `None` if it is unknown whether the command failed.
fn failure(error: &ExecuteError) -> Option<(Box<str>, Box<str>)> {
    match error {
        ExecuteError::Refused(refused) => Some((refused.class.clone(), refused.desc.clone())),
        ExecuteError::Closed { .. } | ExecuteError::NotAttached | ExecuteError::TimedOut { .. } => None,
        other => Some(("GenericError".into(), format!("The command was not passed on: {other}").into())),
    }
}

fn append(appender: Appender, mut batch: Batch) {
    if appender.append(&mut batch).is_ok() {
        return;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(async move {
                if appender.append_when_room(&mut batch).await.is_err() {
                    tracing::error!("a command was carried out and is not in the journal, which has ended");
                }
            });
        }
        Err(_) => tracing::error!("a command was carried out and is not in the journal, which has no room"),
    }
}

/// The line of the human monitor in a command, shortened for the summary; empty for any other command.
fn human_line(execute: &str, arguments: &Value) -> String {
    let line = arguments.get("command-line").and_then(Value::as_str);
    let Some(line) = line.filter(|_| execute == "human-monitor-command") else { return String::new() };
    let shown: String = line.chars().take(LINE_MAX_CHARACTERS).collect();
    let more = if shown.len() < line.len() { "…" } else { "" };
    format!(" `{shown}{more}`")
}

/// The arguments without secrets.
fn masked(execute: &str, arguments: Option<&str>) -> Value {
    let Some(text) = arguments else { return json!({}) };
    if text.len() > ARGUMENTS_MAX_BYTES {
        return json!({"omitted_bytes": text.len()});
    }
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return json!({"omitted_bytes": text.len()});
    };
    mask(&mut value);
    if let Value::Object(members) = &mut value {
        mask_by_command(execute, members);
    }
    value
}

/// Masks members that are secrets by their name, and passwords in addresses.
fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if is_secret(name) { *value = MASKED.into() } else { mask(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::String(text) => mask_address(text),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret)) && !name.ends_with("-secret")
}

/// `https://user:password@host` keeps its user.
fn mask_address(text: &mut String) {
    let Some(start) = text.find("://").map(|at| at + 3) else { return };
    let authority = &text[start..];
    let authority = &authority[..authority.find('/').unwrap_or(authority.len())];
    let Some((login, _)) = authority.rsplit_once('@') else { return };
    if let Some((user, password)) = login.split_once(':') {
        let from = start + user.len() + 1;
        text.replace_range(from..from + password.len(), MASKED);
    }
}

/// Masks values that are secrets only in certain commands.
fn mask_by_command(execute: &str, members: &mut Map<String, Value>) {
    let says = |members: &Map<String, Value>, name: &str, is: fn(&str) -> bool| {
        members.get(name).and_then(Value::as_str).is_some_and(is)
    };
    let secret: &[&str] = match execute {
        // Typed keys may be a password.
        "send-key" => &["keys"],
        "input-send-event" => &["events"],
        "ringbuf-write" => &["data"],
        "object-add" if says(members, "qom-type", |kind| kind.starts_with("secret")) => &["data"],
        "qom-set" if says(members, "property", |name| is_secret(name) || name == "data") => &["value"],
        _ => &[],
    };
    for name in secret {
        if let Some(value) = members.get_mut(*name) {
            *value = MASKED.into();
        }
    }
    if execute == "object-add" && says(members, "qom-type", |kind| kind.starts_with("secret")) {
        // Before QEMU 6.0 the properties were in the object `props`.
        if let Some(data) = members.get_mut("props").and_then(|props| props.get_mut("data")) {
            *data = MASKED.into();
        }
    }
    if execute == "human-monitor-command"
        && let Some(Value::String(line)) = members.get_mut("command-line")
        && ["passw", "secret", "change", "sendkey"].iter().any(|word| line.to_lowercase().contains(word))
    {
        let command = line.split_whitespace().next().unwrap_or_default();
        *line = format!("{command} {MASKED}");
    }
}

#[cfg(test)]
mod tests;

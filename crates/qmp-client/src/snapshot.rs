//! The state of a VM at the start of an epoch, as one JSON object.
//!
//! The queries are sent together. `address`, `process` (PID, name and start, if the kernel knows the peer's process) and
//! `greeting` come first, then each reply under the name of its query, byte for byte. A query that the release lacks is
//! left out. A query that failed, or has no reply in time, is listed in `errors` with class and description. Before QEMU
//! 3.0, `query-block-jobs` replaces `query-jobs`.

use std::collections::BTreeMap;

use qmp_wire::{Address, CommandError, CommandId, Greeting, Version};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::connection::Connection;
use crate::peer_process::PeerProcess;

/// The queries, in the order of sending and of the text: fewer than the eight commands that QEMU accepts at a time.
const QUERIES: [&str; 6] =
    ["query-status", "query-name", "query-uuid", "query-version", NEW_JOBS, "query-migrate"];

const NEW_JOBS: &str = "query-jobs";

/// The query in place of `query-jobs` where that is unknown.
const OLD_JOBS: &str = "query-block-jobs";

/// The class of an error of this client: no reply in time.
const TIMED_OUT: &str = "TimedOut";

/// The server's greeting.
#[derive(Clone, Debug, Default)]
pub(crate) struct GreetingInfo {
    pub(crate) version: Option<Version>,
    raw: Option<Box<RawValue>>,
}

/// A snapshot that is being taken.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pending: BTreeMap<CommandId, &'static str>,
    replies: Vec<(&'static str, Box<RawValue>)>,
    errors: Vec<(&'static str, CommandError)>,
}

impl From<Greeting<'_>> for GreetingInfo {
    fn from(greeting: Greeting<'_>) -> Self {
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(rename = "QMP", borrow)]
            greeting: &'a RawValue,
        }
        // The parser classified it as a greeting, so it has the member; if not, the snapshot has none.
        let raw =
            serde_json::from_str::<Message<'_>>(greeting.raw).ok().map(|message| message.greeting.to_owned());
        Self { version: greeting.version, raw }
    }
}

impl Snapshot {
    /// Sends the queries.
    pub(crate) fn send_queries(&mut self, connection: &mut Connection) {
        for query in QUERIES {
            self.pending.insert(connection.execute(query, None), query);
        }
    }

    /// Stores the reply to a query; returns it if the command is none of the queries.
    pub(crate) fn reply<'a>(
        &mut self,
        id: CommandId,
        result: Result<&'a str, CommandError>,
    ) -> Option<Result<&'a str, CommandError>> {
        let Some(query) = self.pending.remove(&id) else { return Some(result) };
        match result {
            Ok(value) => match RawValue::from_string(value.to_owned()) {
                Ok(value) => self.replies.push((query, value)),
                Err(error) => {
                    let error = CommandError { class: "InvalidReply".into(), desc: error.to_string().into() };
                    self.errors.push((query, error));
                }
            },
            // `send_fallback` looks for an unknown `query-jobs`, and the finished text leaves it out.
            Err(error) => self.errors.push((query, error)),
        }
        None
    }

    /// Sends the older query about jobs if the VM does not know the newer one.
    pub(crate) fn send_fallback(&mut self, connection: &mut Connection) {
        let lacks_jobs = self.errors.iter().any(|(query, error)| *query == NEW_JOBS && is_unknown(error));
        if lacks_jobs {
            self.errors.retain(|(query, _)| *query != NEW_JOBS);
            self.pending.insert(connection.execute(OLD_JOBS, None), OLD_JOBS);
        }
    }

    /// Whether every query has its reply.
    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// The text of the snapshot, with the replies that arrived.
    pub(crate) fn finish(
        mut self,
        address: &Address,
        process: Option<&PeerProcess>,
        greeting: &GreetingInfo,
    ) -> Box<str> {
        for query in std::mem::take(&mut self.pending).into_values() {
            let desc = "no reply by the time the snapshot was closed".into();
            self.errors.push((query, CommandError { class: TIMED_OUT.into(), desc }));
        }
        self.errors.retain(|(_, error)| !is_unknown(error));
        let place = |query: &str| {
            let query = if query == OLD_JOBS { NEW_JOBS } else { query };
            QUERIES.iter().position(|name| *name == query)
        };
        self.replies.sort_by_key(|(query, _)| place(query));
        self.errors.sort_by_key(|(query, _)| place(query));
        let text = serde_json::to_string(&Text { address, process, greeting, snapshot: &self });
        text.unwrap_or_else(|error| unreachable!("strings and raw JSON always serialize: {error}")).into()
    }
}

fn is_unknown(error: &CommandError) -> bool {
    &*error.class == "CommandNotFound"
}

struct Text<'a> {
    address: &'a Address,
    process: Option<&'a PeerProcess>,
    greeting: &'a GreetingInfo,
    snapshot: &'a Snapshot,
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("address", &self.address.to_string())?;
        if let Some(process) = self.process {
            object.serialize_entry("process", &ProcessText::of(process))?;
        }
        if let Some(greeting) = &self.greeting.raw {
            object.serialize_entry("greeting", greeting)?;
        }
        for (query, reply) in &self.snapshot.replies {
            object.serialize_entry(query, reply)?;
        }
        if !self.snapshot.errors.is_empty() {
            object.serialize_entry("errors", &Errors(&self.snapshot.errors))?;
        }
        object.end()
    }
}

#[derive(serde::Serialize)]
struct ProcessText {
    pid: i32,
    name: String,
    /// With `boot_id`, it tells the process from a later one of the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ticks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<&'static str>,
}

impl ProcessText {
    fn of(process: &PeerProcess) -> Self {
        let (pid, name) = (process.pid(), process.name());
        Self { pid, name, start_ticks: process.start_ticks(), boot_id: qmp_host::process::boot_id() }
    }
}

struct Errors<'a>(&'a [(&'static str, CommandError)]);

impl Serialize for Errors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter().map(|(query, error)| {
            (query, BTreeMap::from([("class", &*error.class), ("desc", &*error.desc)]))
        });
        serializer.collect_map(entries)
    }
}

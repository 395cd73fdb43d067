//! The state of a VM at the start of an epoch, as one JSON object.
//!
//! The queries are sent together. `address`, `process` (number, name and start, where the system knows whose the other end
//! is) and `greeting` come first, then each answer under the name of its query,
//! byte for byte. A query that the release does not have is left out. One that failed, or was not answered in time,
//! stands under `errors` with class and description. Before QEMU 3.0, `query-block-jobs` stands for `query-jobs`.

use std::collections::BTreeMap;

use qmp_wire::{CommandError, CommandId, Greeting, Version};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::{Address, Connection, Process};

/// What is asked, in the order in which it is asked and shown: fewer than the eight that QEMU takes in at once.
const QUERIES: [&str; 6] =
    ["query-status", "query-name", "query-uuid", "query-version", NEW_JOBS, "query-migrate"];

const NEW_JOBS: &str = "query-jobs";

/// What is asked in the place of `query-jobs` where that is unknown.
const OLD_JOBS: &str = "query-block-jobs";

/// The class of an error of our own: no reply in time.
const TIMED_OUT: &str = "TimedOut";

/// What a server said of itself when it greeted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeted {
    pub(crate) version: Option<Version>,
    raw: Option<Box<RawValue>>,
}

/// A snapshot that is being taken.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    asked: BTreeMap<CommandId, &'static str>,
    answers: Vec<(&'static str, Box<RawValue>)>,
    errors: Vec<(&'static str, CommandError)>,
}

impl From<Greeting<'_>> for Greeted {
    fn from(greeting: Greeting<'_>) -> Self {
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(rename = "QMP", borrow)]
            greeting: &'a RawValue,
        }
        // The wire took it for a greeting, so it has the member; if not, the snapshot goes without.
        let raw =
            serde_json::from_str::<Message<'_>>(greeting.raw).ok().map(|message| message.greeting.to_owned());
        Self { version: greeting.version, raw }
    }
}

impl Snapshot {
    /// Asks for the VM's state, for the first time or again.
    pub(crate) fn ask(&mut self, connection: &mut Connection) {
        for query in QUERIES {
            self.asked.insert(connection.execute(query, None), query);
        }
    }

    /// Takes the reply to a query; gives it back if it is not the reply to one.
    pub(crate) fn reply<'a>(
        &mut self,
        id: CommandId,
        result: Result<&'a str, CommandError>,
    ) -> Option<Result<&'a str, CommandError>> {
        let Some(query) = self.asked.remove(&id) else { return Some(result) };
        match result {
            Ok(value) => match RawValue::from_string(value.to_owned()) {
                Ok(value) => self.answers.push((query, value)),
                Err(error) => {
                    let error = CommandError { class: "InvalidReply".into(), desc: error.to_string().into() };
                    self.errors.push((query, error));
                }
            },
            // `lacks_jobs` looks for this one, and the finished text leaves it out.
            Err(error) => self.errors.push((query, error)),
        }
        None
    }

    /// Asks the older query about jobs if the VM does not know the newer one.
    pub(crate) fn ask_again(&mut self, connection: &mut Connection) {
        let lacks_jobs = self.errors.iter().any(|(query, error)| *query == NEW_JOBS && is_unknown(error));
        if lacks_jobs {
            self.errors.retain(|(query, _)| *query != NEW_JOBS);
            self.asked.insert(connection.execute(OLD_JOBS, None), OLD_JOBS);
        }
    }

    /// Whether everything is answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.asked.is_empty()
    }

    /// The text of what is known.
    pub(crate) fn finish(
        mut self,
        address: &Address,
        process: Option<&Process>,
        greeted: &Greeted,
    ) -> Box<str> {
        for query in std::mem::take(&mut self.asked).into_values() {
            let desc = "no reply by the time the snapshot was closed".into();
            self.errors.push((query, CommandError { class: TIMED_OUT.into(), desc }));
        }
        self.errors.retain(|(_, error)| !is_unknown(error));
        let place = |query: &str| {
            let query = if query == OLD_JOBS { NEW_JOBS } else { query };
            QUERIES.iter().position(|name| *name == query)
        };
        self.answers.sort_by_key(|(query, _)| place(query));
        self.errors.sort_by_key(|(query, _)| place(query));
        let text = serde_json::to_string(&Text { address, process, greeted, snapshot: &self });
        text.unwrap_or_else(|error| unreachable!("strings and raw JSON always serialize: {error}")).into()
    }
}

fn is_unknown(error: &CommandError) -> bool {
    &*error.class == "CommandNotFound"
}

struct Text<'a> {
    address: &'a Address,
    process: Option<&'a Process>,
    greeted: &'a Greeted,
    snapshot: &'a Snapshot,
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("address", &self.address.to_string())?;
        if let Some(process) = self.process {
            object.serialize_entry("process", &ProcessText::of(process))?;
        }
        if let Some(greeting) = &self.greeted.raw {
            object.serialize_entry("greeting", greeting)?;
        }
        for (query, answer) in &self.snapshot.answers {
            object.serialize_entry(query, answer)?;
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
    /// Together they tell it from a later process of its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ticks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<&'static str>,
}

impl ProcessText {
    fn of(process: &Process) -> Self {
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

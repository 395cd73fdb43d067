//! Commands that were given through the hub, and the effects that they can cause.

use std::time::Duration;

use serde_json::Value;

use crate::persist::persist;

/// A command that was given through the hub.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) execute: Box<str>,
    pub(super) client: Option<Box<str>>,
    /// The first word of a line of the human monitor.
    word: Option<Box<str>>,
    /// The id of the job that it started.
    pub(super) job: Option<Box<str>>,
    /// The time from sending it to its record; `None` if the record lacks it.
    pub(super) took: Option<Duration>,
    /// Whether the human monitor printed an error.
    pub(super) has_failed: bool,
    /// Whether it explains nothing more: it was refused, its effect was seen, or its job is over.
    pub(super) is_spent: bool,
}

persist!(Command { execute, client, word, job, took, has_failed, is_spent });

impl Command {
    pub(super) fn read(execute: &str, data: &Value) -> Self {
        let line = data.pointer("/arguments/command-line").and_then(Value::as_str);
        let word = line.filter(|_| execute == "human-monitor-command");
        let word = word.and_then(|line| line.split_whitespace().next()).map(Box::from);
        let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(Box::from);
        let took = data.get("took_ms").and_then(Value::as_u64).map(Duration::from_millis);
        let output_bytes = data.get("output_bytes").and_then(Value::as_u64).unwrap_or_default();
        // The commands that explain something print nothing unless they fail.
        let has_failed = word.is_some() && output_bytes > 0;
        // Of these, some stop the VM before they fail.
        let stops_first = matches!(word.as_deref(), Some("savevm" | "loadvm"));
        Self {
            execute: execute.into(),
            client: text("/client"),
            word,
            job: text("/arguments/job-id"),
            took,
            has_failed,
            is_spent: has_failed && !stops_first,
        }
    }

    /// The command, or that of the human monitor.
    pub(super) fn name(&self) -> &str {
        self.word.as_deref().unwrap_or(&self.execute)
    }

    /// The cause of a STOP, if this command can be it.
    pub(super) fn stops(&self) -> Option<&'static str> {
        match self.name() {
            "stop" | "s" => Some("host-stop"),
            "snapshot-save" | "savevm" | "dump-guest-memory" => Some("save-vm"),
            "snapshot-load" | "loadvm" => Some("restore-vm"),
            _ => None,
        }
    }

    /// The cause of a RESUME, if this command can be it: a command that stops a VM for its own work resumes it
    /// afterwards.
    pub(super) fn resumes(&self) -> Option<&'static str> {
        let resumes =
            matches!(self.name(), "cont" | "c") || matches!(self.stops(), Some("save-vm" | "restore-vm"));
        resumes.then_some("resume")
    }

    pub(super) fn migrates(&self) -> bool {
        self.name() == "migrate" && !self.is_spent
    }

    pub(super) fn resets(&self) -> Option<&'static str> {
        (self.name() == "system_reset").then_some("host-qmp-system-reset")
    }

    pub(super) fn quits(&self) -> Option<&'static str> {
        matches!(self.name(), "quit" | "q").then_some("host-qmp-quit")
    }
}

//! A command that was given through the hub, and what it can be the cause of.

use serde_json::Value;

use crate::saved::saved;

/// A command that was given through the hub.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) execute: Box<str>,
    pub(super) client: Option<Box<str>>,
    /// The first word of a line of the human monitor.
    word: Option<Box<str>>,
}

saved!(Command { execute, client, word });

impl Command {
    pub(super) fn read(execute: &str, data: &Value) -> Self {
        let line = data.pointer("/arguments/command-line").and_then(Value::as_str);
        let word = line.filter(|_| execute == "human-monitor-command");
        let word = word.and_then(|line| line.split_whitespace().next()).map(Box::from);
        let client = data.get("client").and_then(Value::as_str).map(Box::from);
        Self { execute: execute.into(), client, word }
    }

    /// The command, or that of the human monitor.
    fn name(&self) -> &str {
        self.word.as_deref().unwrap_or(&self.execute)
    }

    /// The cause of a STOP that this command is.
    pub(super) fn stops(&self) -> Option<&'static str> {
        match self.name() {
            "stop" | "s" => Some("host-stop"),
            "snapshot-save" | "savevm" | "dump-guest-memory" => Some("save-vm"),
            "snapshot-load" | "loadvm" => Some("restore-vm"),
            _ => None,
        }
    }

    /// The cause of a RESUME that this command is: what stops a VM for its own work resumes it afterwards.
    pub(super) fn resumes(&self) -> Option<&'static str> {
        let resumes =
            matches!(self.name(), "cont" | "c") || matches!(self.stops(), Some("save-vm" | "restore-vm"));
        resumes.then_some("resume")
    }

    pub(super) fn resets(&self) -> Option<&'static str> {
        (self.name() == "system_reset").then_some("host-qmp-system-reset")
    }

    pub(super) fn quits(&self) -> Option<&'static str> {
        matches!(self.name(), "quit" | "q").then_some("host-qmp-quit")
    }
}

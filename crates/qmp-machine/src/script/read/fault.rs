//! Parses a `[[fault]]`.

use std::{ops::Range, time::Duration};

use toml::de::DeTable;

use super::values::{Key, ScriptReader, Value};
use crate::fault::{Fault, FaultKind, Messages};

const KINDS: [&str; 9] = [
    "drop",
    "delay",
    "duplicate",
    "reorder",
    "truncate",
    "corrupt",
    "close",
    "event-before-greeting",
    "never-greet",
];
const OF: [&str; 4] = ["event", "reply", "greeting", "any"];
pub(super) const KEYS: [&str; 13] = [
    "kind",
    "of",
    "event",
    "connection",
    "skip",
    "every",
    "repeat",
    "probability",
    "reply-to",
    "by",
    "jitter",
    "bytes",
    "data",
];

impl<'t> ScriptReader<'t> {
    /// Returns a rule; `None`, with a problem, if it is not valid.
    pub(super) fn fault(&mut self, table: &DeTable<'t>, span: Range<usize>) -> Option<Fault> {
        let problems_before = self.problems.len();
        for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
            self.unknown(key, &KEYS);
        }
        let Some(value) = table.get("kind") else {
            if self.problems.len() == problems_before {
                let message =
                    format!("this fault has no kind; add: kind = \"…\", one of {}", KINDS.join(", "));
                self.problem(&span, &message);
            }
            return None;
        };
        let name = self.string(value)?;
        let Some(kind) = self.kind(name, table) else {
            if self.problems.len() == problems_before {
                self.unknown_value(value, "kind of fault", &KINDS);
            }
            return None;
        };
        self.report_misplaced_in_fault(name, table);
        let mut fault = Fault::new(kind);
        self.messages(table, &mut fault);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "connection" => fault.connection = self.count(value),
                "skip" => fault.skip = self.whole(value).unwrap_or(0),
                "every" => fault.every = self.count(value).unwrap_or(1),
                "repeat" => fault.times = self.count(value),
                "probability" => fault.probability = self.probability(value).unwrap_or(1.0),
                _ => {}
            }
        }
        (self.problems.len() == problems_before).then_some(fault)
    }

    /// Returns the kind of that name; `None` if there is no such kind, or with a problem.
    fn kind(&mut self, name: &str, table: &DeTable<'t>) -> Option<FaultKind> {
        let bytes = match table.get("bytes") {
            None => None,
            Some(value) => Some(usize::try_from(self.count(value)?).unwrap_or(usize::MAX)),
        };
        Some(match name {
            "drop" => FaultKind::Drop,
            "delay" => {
                let Some(by) = table.get("by") else {
                    let kind = table.get("kind").map(Value::span).unwrap_or_default();
                    self.problem(&kind, "a delay needs a length; add: by = \"200ms\"");
                    return None;
                };
                let jitter = table.get("jitter").map_or(Some(Duration::ZERO), |value| self.span(value));
                FaultKind::Delay { by: self.span(by)?, jitter: jitter? }
            }
            "duplicate" => FaultKind::Duplicate,
            "reorder" => FaultKind::Reorder,
            "truncate" => FaultKind::Truncate { bytes },
            "corrupt" => FaultKind::Corrupt { bytes: bytes.unwrap_or(1) },
            "close" => FaultKind::Close { bytes },
            "event-before-greeting" => FaultKind::EarlyEvent { message: self.early_message(table)? },
            "never-greet" => FaultKind::NeverGreet,
            _ => return None,
        })
    }

    /// Returns the message of an event before the greeting.
    fn early_message(&mut self, table: &DeTable<'t>) -> Option<Box<str>> {
        let name = table.get("event").map_or(Some("STOP"), |value| self.string(value))?;
        let data = match table.get("data") {
            None => String::new(),
            Some(value) => format!(", \"data\": {}", serde_json::Value::from(self.object(value)?)),
        };
        let name = serde_json::Value::from(name);
        // The message is the predecessor's: it does not use the clock of the machine.
        Some(
            format!(
                "{{\"timestamp\": {{\"seconds\": 1767225600, \"microseconds\": 0}}, \"event\": {name}{data}}}"
            )
            .into(),
        )
    }

    /// Parses the messages that the rule matches.
    fn messages(&mut self, table: &DeTable<'t>, fault: &mut Fault) {
        if matches!(fault.kind, FaultKind::EarlyEvent { .. } | FaultKind::NeverGreet) {
            return;
        }
        let of = table.get_key_value("of");
        let chosen: Vec<_> = [of, table.get_key_value("event"), table.get_key_value("reply-to")]
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
            .collect();
        if chosen.len() > 1 {
            return self.only_one(&chosen);
        }
        if let Some(pattern) = table.get("reply-to") {
            fault.messages = Messages::ReplyTo(self.string(pattern).unwrap_or("*").into());
        }
        if let Some(pattern) = table.get("event") {
            fault.messages = Messages::Event(self.string(pattern).unwrap_or("*").into());
        }
        if let Some((_, value)) = of {
            fault.messages = match self.string(value) {
                Some("event") | None => Messages::Event("*".into()),
                Some("reply") => Messages::Reply,
                Some("greeting") => Messages::Greeting,
                Some("any") => Messages::Any,
                Some(_) => return self.unknown_value(value, "kind of message", &OF),
            };
        }
    }

    /// Reports keys that do not apply to this kind.
    fn report_misplaced_in_fault(&mut self, kind: &str, table: &DeTable<'t>) {
        let is_of_connection = matches!(kind, "event-before-greeting" | "never-greet");
        let misplaced = |key: &&Key<'t>| match key.get_ref().as_ref() {
            "by" | "jitter" => kind != "delay",
            "bytes" => !matches!(kind, "truncate" | "corrupt" | "close"),
            "data" => kind != "event-before-greeting",
            "event" => kind == "never-greet",
            "reply-to" | "of" | "skip" | "every" | "repeat" => is_of_connection,
            _ => false,
        };
        for key in table.keys().filter(misplaced) {
            self.problem(&key.span(), &format!("\"{}\" does not belong to \"{kind}\"", key.get_ref()));
        }
    }
}

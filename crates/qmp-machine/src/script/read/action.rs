//! Parses the action of a step: `guest`, `host`, `execute` or `emit`, or `any-of` several of them.

use std::{ops::Range, sync::OnceLock};

use toml::de::DeTable;

use super::values::{Key, ScriptReader, Value};
use crate::{action::Action, devices};

/// The keys of an action.
pub(super) const KEYS: [&str; 7] = ["guest", "host", "execute", "arguments", "emit", "data", "any-of"];

const VERBS: [&str; 5] = ["guest", "host", "execute", "emit", "any-of"];

impl<'t> ScriptReader<'t> {
    /// Returns the alternative actions of a table; `others` are its other valid keys.
    pub(super) fn choices(
        &mut self,
        table: &DeTable<'t>,
        span: &Range<usize>,
        others: &[&str],
    ) -> Vec<Action> {
        let known: Vec<&str> = KEYS.iter().chain(others).copied().collect();
        let verbs: Vec<&Key<'t>> =
            table.keys().filter(|key| VERBS.contains(&key.get_ref().as_ref())).collect();
        let mut is_sound = true;
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            self.unknown(key, &known);
            is_sound = false;
        }
        self.only_one(&verbs);
        let Some(verb) = verbs.first() else {
            // A misspelt key is reported as unknown; do not report it as missing, too.
            if is_sound {
                let message =
                    "no action given; add guest = \"…\", host = \"…\", execute = \"…\" or emit = \"…\"";
                self.problem(span, message);
            }
            return Vec::new();
        };
        self.report_misplaced(table, verb);
        let value = &table[*verb];
        if verb.get_ref() == "any-of" {
            let Some(choices) = self.list(value) else { return Vec::new() };
            if choices.is_empty() {
                self.problem(&value.span(), "the list of choices is empty");
            }
            return choices.iter().flat_map(|choice| self.choice(choice)).collect();
        }
        self.action(table, verb.get_ref(), value).into_iter().collect()
    }

    fn choice(&mut self, value: &Value<'t>) -> Vec<Action> {
        match self.table(value) {
            Some(table) if table.contains_key("any-of") => {
                self.problem(&value.span(), "a choice cannot have choices of its own");
                Vec::new()
            }
            Some(table) => self.choices(table, &value.span(), &[]),
            None => Vec::new(),
        }
    }

    /// Reports misplaced keys: `arguments` belong to commands, `data` to raw events.
    fn report_misplaced(&mut self, table: &DeTable<'t>, verb: &Key<'t>) {
        let verb = verb.get_ref().as_ref();
        for (key, _) in table {
            let belongs = match key.get_ref().as_ref() {
                "arguments" => matches!(verb, "guest" | "host" | "execute"),
                "data" => verb == "emit",
                _ => true,
            };
            if !belongs {
                self.problem(&key.span(), &format!("\"{}\" does not belong to \"{verb}\"", key.get_ref()));
            }
        }
    }

    fn action(&mut self, table: &DeTable<'t>, verb: &str, value: &Value<'t>) -> Option<Action> {
        let name = self.string(value)?;
        if verb == "emit" {
            let mut action = Action::new("x-emit").with("event", name);
            if let Some(data) = table.get("data") {
                action = action.with("data", self.object(data)?);
            }
            return Some(action);
        }
        let prefix = match verb {
            "guest" => "x-guest-",
            "host" => "x-host-",
            _ => "",
        };
        let mut action = Action::new(&format!("{prefix}{name}"));
        if !commands().contains(&&*action.execute) {
            let known: Vec<&str> = commands().iter().filter_map(|name| name.strip_prefix(prefix)).collect();
            let what = if prefix.is_empty() { "command".to_owned() } else { format!("action of the {verb}") };
            self.unknown_value(value, &what, &known);
        }
        if let Some(arguments) = table.get("arguments") {
            action.arguments = self.object(arguments)?;
        }
        Some(action)
    }
}

/// The commands of all releases: the machine checks which ones the claimed release has.
fn commands() -> &'static [&'static str] {
    static COMMANDS: OnceLock<Vec<&str>> = OnceLock::new();
    COMMANDS.get_or_init(|| devices::tables().iter().map(|entry| entry.name).collect())
}

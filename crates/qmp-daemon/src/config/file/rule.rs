//! The tables `[[rule]]`: a selection of records, a limit of deliveries, and one action.
//!
//! The options of each kind of sink are read by that kind, through [`Settings`].

use qmp_findings as findings;
use qmp_hub::conditions::RecordSelection;
use qmp_journal::{Globs, RecordKind, WherePath};
use qmp_settings::suggest::nearest;
use qmp_settings::{Settings, TomlValue};
use qmp_sinks::{DeliveryLimit, KINDS, RuleConfig, Selection, SinkKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::ConfigDocument;

/// Keys of every rule, for any action.
const KEYS: [&str; 8] = ["name", "event", "finding", "kind", "vm", "where", "at-most", "from"];

/// The longest name of a rule, in bytes: the name is a label of metrics.
const RULE_NAME_MAX_BYTES: usize = 64;

impl<'t> ConfigDocument<'t> {
    pub(super) fn rules(&mut self, value: &TomlValue<'t>) -> Vec<RuleConfig> {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(&value.span(), "a rule is written as [[rule]], in double brackets");
            return Vec::new();
        };
        self.unique_names(tables, "rule");
        tables.iter().filter_map(|table| self.rule(table)).collect()
    }

    fn rule(&mut self, value: &TomlValue<'t>) -> Option<RuleConfig> {
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(&value.span(), "a rule is a table with a name and an action");
            return None;
        };
        let problems_before = self.problems.len();
        let kind = self.kind_of_sink(value, table);
        if let Some(kind) = kind {
            table.iter().for_each(|(key, _)| self.known_key(key, kind));
        }
        let text = self.text_of(table);
        let mut settings = Settings { document: self, table };
        let name: Option<Box<str>> = rule_name(&mut settings, &value.span()).map(Into::into);
        let selection = selection(&mut settings);
        let at_most: Option<DeliveryLimit> = settings.parsed("at-most", "how often, such as \"1 per 10m\"");
        if let Some(kind) = kind.filter(|kind| at_most.is_some() && !kind.may_hold_back) {
            let message = format!("`{}` takes every record; leave `at-most` out", kind.key);
            settings.problem("at-most", &message);
        }
        let from_start = match settings.text("from", "\"start\" or \"now\"") {
            Some("start") => true,
            None | Some("now") => false,
            Some(_) => {
                let message = "write from = \"start\" for the whole journal, or \"now\" for new records";
                settings.problem("from", message);
                false
            }
        };
        let action = kind.and_then(|kind| (kind.read)(&mut settings));
        if self.problems.len() > problems_before {
            return None;
        }
        let (name, action, kind) = (name?, action?, kind?.key);
        Some(RuleConfig { name, selection, at_most, from_start, kind, action, text })
    }

    /// The kind of the one action of a rule.
    fn kind_of_sink(&mut self, value: &TomlValue<'t>, table: &DeTable<'t>) -> Option<&'static SinkKind> {
        let has = |kind: &&SinkKind| table.iter().any(|(key, _)| key.get_ref() == kind.key);
        let found: Vec<&SinkKind> = KINDS.iter().copied().filter(|kind| has(kind)).collect();
        match found.as_slice() {
            [kind] => KINDS.iter().copied().find(|known| known.key == kind.key),
            [] => {
                let problems_before = self.problems.len();
                self.known_keys_of_any(table);
                // A misspelt key would otherwise be reported twice.
                if self.problems.len() == problems_before {
                    let examples: Vec<&str> = KINDS.iter().map(|kind| kind.example).collect();
                    let message = format!("this rule has no action; add one of: {}", examples.join(", or "));
                    self.problem(&value.span(), &message);
                }
                None
            }
            several => {
                self.known_keys_of_any(table);
                let keys: Vec<String> = several.iter().map(|kind| format!("`{}`", kind.key)).collect();
                let message = format!("this rule has {}; write a rule for each", keys.join(" and "));
                self.problem(&value.span(), &message);
                None
            }
        }
    }

    /// Adds a problem for each key that no kind of rule has.
    fn known_keys_of_any(&mut self, table: &DeTable<'t>) {
        let options = KINDS.iter().flat_map(|kind| [&[kind.key], kind.options].concat());
        let known: Vec<&str> = KEYS.into_iter().chain(options).collect();
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&&**key.get_ref())) {
            self.unknown(key, &known);
        }
    }

    fn known_key(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, kind: &SinkKind) {
        let name = key.get_ref().as_ref();
        let known = [&KEYS[..], &[kind.key], kind.options].concat();
        if known.contains(&name) {
            return;
        }
        match KINDS.iter().find(|other| other.options.contains(&name)) {
            Some(other) => {
                let message =
                    format!("`{name}` is an option of `{}`, and this rule has `{}`", other.key, kind.key);
                self.problem(&key.span(), &message);
            }
            None => self.unknown(key, &known),
        }
    }

    /// The rule as written in the file, with its keys sorted.
    fn text_of(&self, table: &DeTable<'t>) -> Box<str> {
        let mut lines: Vec<String> = table
            .iter()
            .map(|(key, value)| format!("{} = {}", key.get_ref(), self.text(value.span())))
            .collect();
        lines.sort_unstable();
        lines.join("\n").into()
    }
}

fn rule_name<'r>(settings: &mut Settings<'r, '_>, span: &std::ops::Range<usize>) -> Option<&'r str> {
    if settings.get("name").is_none() {
        settings
            .document
            .problem(span, "this rule has no name, which identifies its position; add: name = \"…\"");
    }
    let name = settings.text("name", "a name")?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > RULE_NAME_MAX_BYTES || !name.bytes().all(is_good) {
        let message =
            format!("a rule's name has 1 to {RULE_NAME_MAX_BYTES} characters out of A-Z a-z 0-9 . _ -");
        settings.problem("name", &message);
        return None;
    }
    Some(name)
}

fn selection(settings: &mut Settings<'_, '_>) -> Selection {
    let event = globs(settings, "event", "an event or a list of them, such as [\"SHUTDOWN\", \"BLOCK_*\"]");
    let finding = globs(settings, "finding", "a kind of finding, or a list of them, such as [\"why-*\"]");
    warn_unknown_names(settings);
    let vm =
        globs(settings, "vm", "a name of a VM, or a list, such as [\"web*\", \"db1\"]").unwrap_or_default();
    let kinds = settings.texts("kind", "a kind of record, or a list of them, such as [\"detached\"]");
    let kind = each(settings, "kind", kinds, |text| text.parse::<RecordKind>());
    let wheres = settings.texts("where", "a condition, or a list of them, such as [\"action=poweroff\"]");
    let where_ = each(settings, "where", wheres, |text| text.parse::<WherePath>());
    let selected = RecordSelection { event: event.as_ref(), finding: finding.as_ref(), kind: &kind };
    for warning in selected.warnings(&where_) {
        settings.warn("where", &warning);
    }
    Selection { event, finding, kind, vm, where_ }
}

fn globs(settings: &mut Settings<'_, '_>, key: &str, expected: &str) -> Option<Globs> {
    let texts = settings.texts(key, expected)?;
    Globs::parse(texts).inspect_err(|error| settings.problem(key, &error.to_string())).ok()
}

fn each<T, E: std::fmt::Display>(
    settings: &mut Settings<'_, '_>,
    key: &str,
    texts: Option<Vec<&str>>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let read = texts.unwrap_or_default().into_iter().map(read);
    read.filter_map(|read| read.inspect_err(|error| settings.problem(key, &error.to_string())).ok()).collect()
}

/// Warns about unknown names, which may be of a later release.
fn warn_unknown_names(settings: &mut Settings<'_, '_>) {
    let events: Vec<&str> = qmp_events::catalogue().iter().map(|event| event.name).collect();
    let findings: Vec<&str> = findings::kinds().collect();
    let lists = [("event", "event", &events[..]), ("finding", "finding", &findings[..])];
    for (key, what, known) in lists {
        let problems_before = settings.document.problems.len();
        for name in settings.texts(key, what).unwrap_or_default() {
            let is_pattern = name.contains(['*', '?', '[', '{']) || name.starts_with("__");
            if is_pattern || known.contains(&name) {
                continue;
            }
            let upper = known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
            let near = upper.or_else(|| nearest(name, known.iter().copied()));
            let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            settings.warn(key, &format!("unknown {what} {name}{advice}"));
        }
        // Problems of the list were reported before.
        settings.document.problems.truncate(problems_before);
    }
}

#[cfg(test)]
mod tests;

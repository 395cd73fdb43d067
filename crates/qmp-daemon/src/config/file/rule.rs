//! The tables `[[rule]]`: a selection of records, a limit of deliveries, and one action.
//!
//! The options of each kind of sink are read by that kind, through [`Settings`].

use qmp_findings as findings;
use qmp_hub::conditions::RecordSelection;
use qmp_journal::{Globs, RecordKind, WherePath};
use qmp_settings::schema::KeySchema;
use qmp_settings::suggest::nearest;
use qmp_settings::{Document, Location, Settings, TomlKey, TomlValue};
use qmp_sinks::{DeliveryLimit, KINDS, RuleConfig, Selection, SinkKind, StateSelection};
use toml::de::{DeTable, DeValue};

use super::unique_names::unique_names;
use crate::config::schema::rule as keys;

/// The longest name of a rule, in bytes: the name is a label of metrics.
const RULE_NAME_MAX_BYTES: usize = 64;

/// Most rules. Each is compared with every record, or with the state of its VM: the time of a record grows with the rules.
const RULES_MAX: usize = 1_000;

/// Reads all tables, each with the line of its action.
pub(super) fn rules<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<(RuleConfig, Location)> {
    let DeValue::Array(tables) = value.get_ref() else {
        document.problem(&value.span(), "a rule is written as [[rule]], in double brackets");
        return Vec::new();
    };
    unique_names(document, tables, "rule");
    if tables.len() > RULES_MAX {
        let message = format!("there are {} rules, and {RULES_MAX} at most are allowed", tables.len());
        document.problem(&value.span(), &message);
        return Vec::new();
    }
    tables.iter().filter_map(|table| rule(document, table)).collect()
}

fn rule<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<(RuleConfig, Location)> {
    let DeValue::Table(table) = value.get_ref() else {
        document.problem(&value.span(), "a rule is a table with a name and an action");
        return None;
    };
    let problems_before = document.problems.len();
    let text = text_of(document, table);
    let mut settings = Settings { document, table, schema: &keys::RULE };
    let kind = kind_of_sink(&mut settings, value);
    if let Some(kind) = kind {
        refuse_unknown_of_kind(&mut settings, kind);
    }
    let name: Option<Box<str>> = rule_name(&mut settings, &value.span()).map(Into::into);
    let mut states = state_selection(&mut settings);
    let mut selection = selection(&mut settings);
    if let Some(states) = &mut states {
        (states.vms, states.hosts) = (selection.vm, selection.host);
        selection = Selection::of_alerts(name.as_deref().unwrap_or_default());
    }
    let at_most: Option<DeliveryLimit> = settings.parsed(&keys::AT_MOST);
    if let Some(kind) = kind.filter(|kind| at_most.is_some() && !kind.may_hold_back) {
        let message = format!("`{}` takes every record; leave `at-most` out", kind.key());
        settings.problem(&keys::AT_MOST, &message);
    }
    let from_start = match settings.text(&keys::FROM) {
        Some("start") => true,
        None | Some("now") => false,
        Some(_) => {
            let message = "write from = \"start\" for the whole journal, or \"now\" for new records";
            settings.problem(&keys::FROM, message);
            false
        }
    };
    let action = kind.and_then(|kind| (kind.read)(&mut settings));
    let place = kind.and_then(|kind| settings.get(kind.variant.key));
    let location = settings.document.location(&place.unwrap_or(value).span());
    if document.problems.len() > problems_before {
        return None;
    }
    let (name, action, kind) = (name?, action?, kind?);
    let is_archive = states.is_none() && at_most.is_none() && selection.is_everything();
    let (takes_every_record, kind) = (is_archive || !kind.may_hold_back, kind.key());
    Some((
        RuleConfig { name, selection, states, at_most, from_start, kind, takes_every_record, action, text },
        location,
    ))
}

/// The kind of the one action of a rule.
fn kind_of_sink(settings: &mut Settings<'_, '_>, value: &TomlValue<'_>) -> Option<&'static SinkKind> {
    let has = |kind: &&SinkKind| settings.get(kind.variant.key).is_some();
    let found: Vec<&'static SinkKind> = KINDS.iter().copied().filter(has).collect();
    match found.as_slice() {
        [kind] => Some(kind),
        [] => {
            // A misspelt key would otherwise be reported twice.
            if !settings.refuse_unknown() {
                let example = |kind: &&SinkKind| format!("{} = {}", kind.key(), kind.variant.key.example);
                let examples: Vec<String> = KINDS.iter().map(example).collect();
                let message = format!("this rule has no action; add one of: {}", examples.join(", or "));
                settings.document.problem(&value.span(), &message);
            }
            None
        }
        several => {
            settings.refuse_unknown();
            let keys: Vec<String> = several.iter().map(|kind| format!("`{}`", kind.key())).collect();
            let message = format!("this rule has {}; write a rule for each", keys.join(" and "));
            settings.document.problem(&value.span(), &message);
            None
        }
    }
}

/// Adds a problem for each key that a rule with this kind of sink cannot have.
fn refuse_unknown_of_kind(settings: &mut Settings<'_, '_>, kind: &SinkKind) {
    let own = [kind.variant.key].into_iter().chain(kind.variant.options.iter().copied());
    let known: Vec<&str> = keys::RULE.keys.iter().copied().chain(own).map(|key| key.name).collect();
    for (key, _) in settings.table {
        if !known.contains(&key.get_ref().as_ref()) {
            refuse_key(settings, key, kind, &known);
        }
    }
}

fn refuse_key(settings: &mut Settings<'_, '_>, key: &TomlKey<'_>, kind: &SinkKind, known: &[&str]) {
    let name = key.get_ref().as_ref();
    match keys::RULE.owners(name).next() {
        Some(other) => {
            let (other, kind) = (other.key.name, kind.key());
            let message = format!("`{name}` is an option of `{other}`, and this rule has `{kind}`");
            settings.document.problem(&key.span(), &message);
        }
        None => settings.document.unknown(key, known),
    }
}

/// The rule as written in the file, with its keys sorted.
fn text_of(document: &Document<'_>, table: &DeTable<'_>) -> Box<str> {
    let mut lines: Vec<String> = table
        .iter()
        .map(|(key, value)| format!("{} = {}", key.get_ref(), document.text(value.span())))
        .collect();
    lines.sort_unstable();
    lines.join("\n").into()
}

fn rule_name<'r>(settings: &mut Settings<'r, '_>, span: &std::ops::Range<usize>) -> Option<&'r str> {
    if settings.get(&keys::NAME).is_none() {
        settings
            .document
            .problem(span, "this rule has no name, which identifies its position; add: name = \"…\"");
    }
    let name = settings.text(&keys::NAME)?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > RULE_NAME_MAX_BYTES || !name.bytes().all(is_good) {
        let message =
            format!("a rule's name has 1 to {RULE_NAME_MAX_BYTES} characters out of A-Z a-z 0-9 . _ -");
        settings.problem(&keys::NAME, &message);
        return None;
    }
    Some(name)
}

fn selection(settings: &mut Settings<'_, '_>) -> Selection {
    let event = globs(settings, &keys::EVENT);
    let finding = globs(settings, &keys::FINDING);
    warn_unknown_names(settings);
    let vm = globs(settings, &keys::VM).unwrap_or_default();
    let host = globs(settings, &keys::HOST).unwrap_or_default();
    let kind = each(settings, &keys::KIND, |text| text.parse::<RecordKind>());
    let where_ = each(settings, &keys::WHERE, |text| text.parse::<WherePath>());
    let selected = RecordSelection { event: event.as_ref(), finding: finding.as_ref(), kind: &kind };
    for warning in selected.warnings(&where_) {
        settings.warn(&keys::WHERE, &warning);
    }
    Selection { event, finding, kind, vm, host, where_, ..Selection::default() }
}

/// The states of a rule; `None` for a rule on records.
fn state_selection(settings: &mut Settings<'_, '_>) -> Option<StateSelection> {
    let lasts = settings.span(&keys::FOR);
    if settings.get(&keys::STATE).is_none() {
        if settings.get(&keys::FOR).is_some() {
            settings
                .problem(&keys::FOR, "`for` is the time of a state; add: state = [\"paused\", \"io-error\"]");
        }
        return None;
    }
    let of_records = [&keys::EVENT, &keys::FINDING, &keys::KIND, &keys::WHERE];
    for key in of_records {
        if settings.get(key).is_none() {
            continue;
        }
        let message = format!("a rule has either `state` or `{}`; write a rule for each", key.name);
        settings.problem(key, &message);
    }
    let states = settings.texts(&keys::STATE)?;
    Some(StateSelection {
        states: states.into_iter().map(Into::into).collect(),
        lasts: lasts.unwrap_or_default(),
        ..StateSelection::default()
    })
}

fn globs(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Option<Globs> {
    let texts = settings.texts(key)?;
    Globs::parse(texts).inspect_err(|error| settings.problem(key, &error.to_string())).ok()
}

fn each<T, E: std::fmt::Display>(
    settings: &mut Settings<'_, '_>,
    key: &KeySchema,
    read: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let read = settings.texts(key).unwrap_or_default().into_iter().map(read);
    read.filter_map(|read| read.inspect_err(|error| settings.problem(key, &error.to_string())).ok()).collect()
}

/// Warns about unknown names, which may be of a later release.
fn warn_unknown_names(settings: &mut Settings<'_, '_>) {
    let events = keys::event_names();
    let findings: Vec<&str> = findings::kinds().collect();
    let states = keys::states();
    let lists = [(&keys::EVENT, &events[..]), (&keys::FINDING, &findings[..]), (&keys::STATE, &states[..])];
    for (key, known) in lists {
        let problems_before = settings.document.problems.len();
        for name in settings.texts(key).unwrap_or_default() {
            let name = name.strip_prefix('!').unwrap_or(name);
            let is_pattern = name.contains(['*', '?', '[', '{']) || name.starts_with("__");
            if is_pattern || known.contains(&name) {
                continue;
            }
            let upper = known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
            let near = upper.or_else(|| nearest(name, known.iter().copied()));
            let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            settings.warn(key, &format!("unknown {} {name}{advice}", key.name));
        }
        // Problems of the list were reported before.
        settings.document.problems.truncate(problems_before);
    }
}

#[cfg(test)]
mod tests;

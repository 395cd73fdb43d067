//! Filters of events: patterns of names, and conditions on members of `data`.

use clap::Args;
use qmp_hub::conditions::RecordSelection;
use qmp_journal::{Globs, Query, QueryError, RecordKind, WherePath};
use qmp_settings::suggest;
use qmp_wire::{Body, Record, UnixMicros};

use crate::exit::Failure;

/// The filters of events.
#[derive(Args, Clone, Debug, Default)]
pub struct EventArgs {
    /// Only events whose name matches, such as SHUTDOWN or 'BLOCK_*'; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub event: Vec<String>,

    /// Only with this value of a member, such as action=pause or info.type=hyper-v; all conditions given must hold
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = place)]
    pub wheres: Vec<String>,
}

/// The filters of VMs.
#[derive(Args, Clone, Debug, Default)]
pub struct VmArgs {
    /// Only VMs whose name matches; a pattern with a / is compared with HOST/VM; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub vm: Vec<String>,

    /// Only VMs of other hosts whose host matches; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub host: Vec<String>,
}

/// The filters of records, but those by time.
#[derive(Args, Clone, Debug, Default)]
pub struct RecordArgs {
    #[command(flatten)]
    pub vms: VmArgs,

    #[command(flatten)]
    pub events: EventArgs,

    /// Only records of this kind: attached, event, finding or detached; may be given several times
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<RecordKind>,
}

impl RecordArgs {
    /// Returns the query of a journal for these records, received in a window.
    pub fn query(&self, since: Option<UnixMicros>, until: Option<UnixMicros>) -> Result<Query, Failure> {
        let events = self.events.query().map_err(Failure::usage)?;
        let Query { vm, host, .. } = self.vms.query()?;
        Ok(Query { vm, host, kind: self.kind.clone(), since, until, ..events })
    }

    /// Returns the warnings of [`EventArgs::warnings`] for these kinds.
    pub fn warnings(&self) -> Vec<String> {
        self.events.warnings(&self.kind)
    }
}

impl VmArgs {
    /// Returns the query of a journal for all records of these VMs.
    pub fn query(&self) -> Result<Query, Failure> {
        let globs = |option: &str, patterns: &[String]| {
            Globs::parse(patterns).map_err(|error| Failure::usage(format_args!("{option}: {error}")))
        };
        let (vm, host) = (globs("--vm", &self.vm)?, globs("--host", &self.host)?);
        Ok(Query { vm, host, ..Query::default() })
    }
}

/// Checks `PATH=VALUE` and returns its text, which the hub parses itself.
///
/// # Errors
///
/// [`QueryError`] if the text does not have that form.
pub fn place(text: &str) -> Result<String, QueryError> {
    text.parse::<WherePath>().map(|_| text.to_owned())
}

/// Decides about single records, for streams that are not filtered yet.
#[derive(Debug)]
pub struct EventFilter {
    query: Query,
    is_empty: bool,
}

impl EventArgs {
    /// Returns the filter.
    pub fn filter(&self) -> Result<EventFilter, Failure> {
        let query = self.query().map_err(Failure::usage)?;
        Ok(EventFilter { query, is_empty: self.event.is_empty() && self.wheres.is_empty() })
    }

    /// Returns the same as a query on a journal.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if a pattern is malformed.
    pub fn query(&self) -> Result<Query, QueryError> {
        let where_ = self.wheres.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Query { event: Globs::parse(&self.event)?, where_, ..Query::default() })
    }

    /// Warnings about names that no known QEMU has, and about conditions that no record of these kinds can fulfil (no kind means
    /// all). Names and members may be of a later release, so they are not errors.
    pub fn warnings(&self, kind: &[RecordKind]) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.event.iter().filter_map(|pattern| name_warning(pattern)).collect();
        if let Ok(query) = self.query() {
            let selected = match self.event.is_empty() {
                true => RecordSelection { kind, ..RecordSelection::default() },
                false => RecordSelection { event: Some(&query.event), ..RecordSelection::default() },
            };
            warnings.extend(selected.warnings(&query.where_));
        }
        warnings
    }
}

/// A warning about the name of an event that no known QEMU has.
pub fn name_warning(name: &str) -> Option<String> {
    let name = name.strip_prefix('!').unwrap_or(name);
    let is_pattern = name.contains(['*', '?', '[', '{']);
    if is_pattern || name.starts_with("__") || qmp_events::EventKind::from_name(name).is_some() {
        return None;
    }
    let known = || qmp_events::catalogue().iter().map(|event| event.name);
    // Part of a name is accepted like a misspelt name.
    let upper = name.to_uppercase();
    let holders: Vec<&str> = known().filter(|known| upper.len() > 2 && known.contains(&upper)).collect();
    let advice = match (suggest::nearest(name, known()), holders.as_slice()) {
        (Some(near), _) | (None, &[near]) => format!("did you mean {near}?"),
        (None, []) => "qmp events lists them".to_owned(),
        (None, holders) => format!("there are {}", holders.join(", ")),
    };
    Some(format!("no QEMU up to {} has an event {name}; {advice}", qmp_events::Release::newest()))
}

impl EventFilter {
    /// Selects records of these VMs and kinds alone, received from `since` on. Of these kinds all that match are shown: those of
    /// the beginning and the end of an epoch only if their kind is among them.
    pub fn within(self, vms: Query, kind: Vec<RecordKind>, since: Option<UnixMicros>) -> Self {
        let Query { vm, host, .. } = vms;
        Self { query: Query { vm, host, kind, since, ..self.query }, ..self }
    }

    /// The same as a query on a journal, but for the records that are always shown.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Whether findings, and events of every name, are shown.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether `record` is an event that matches.
    pub fn is_match(&self, record: &Record<'_>) -> bool {
        matches!(record.body, Body::Event { .. }) && self.query.matches(record)
    }

    /// Whether a live view shows `record`: without a selection of kinds, the beginning and the end of an epoch are always shown.
    pub fn shows(&self, record: &Record<'_>) -> bool {
        if !self.query.kind.is_empty() {
            return self.query.matches(record);
        }
        if !self.query.has_vm(&record.vm) || self.query.since.is_some_and(|since| record.received < since) {
            return false;
        }
        match &record.body {
            Body::Event { .. } => self.is_match(record),
            Body::Finding { .. } => self.is_empty,
            Body::Attached { .. } | Body::Detached { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Epoch, Seq, UnixMicros};

    use super::*;

    fn args(events: &[&str], wheres: &[&str]) -> EventArgs {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        EventArgs { event: owned(events), wheres: owned(wheres) }
    }

    fn record(body: Body<'static>) -> Record<'static> {
        Record { offset: None, vm: "vm".into(), epoch: Epoch(1), seq: Seq(1), received: UnixMicros(0), body }
    }

    fn matches(events: &[&str], wheres: &[&str], name: &'static str, data: Option<&'static str>) -> bool {
        let body =
            Body::Event { name: name.into(), sent_name: None, timestamp: None, data: data.map(Into::into) };
        args(events, wheres).filter().unwrap().is_match(&record(body))
    }

    #[test]
    fn filter_matches_events_by_name_and_data() {
        let data = Some(r#"{"action": "pause"}"#);
        let cases: [(&[&str], &[&str], &str, bool); 6] = [
            (&[], &[], "WATCHDOG", true),
            (&["STOP"], &[], "WATCHDOG", false),
            (&["STOP", "W*"], &[], "WATCHDOG", true),
            (&[], &["action=pause"], "WATCHDOG", true),
            (&[], &["action=reset"], "WATCHDOG", false),
            (&["WATCHDOG"], &["action=pause", "guest=true"], "WATCHDOG", false),
        ];
        for (events, wheres, name, expected) in cases {
            assert_eq!(matches(events, wheres, name, data), expected, "{events:?} {wheres:?}");
        }
    }

    #[test]
    fn records_of_gaps_are_always_shown() {
        let snapshot = Body::Attached { snapshot: "{}".into() };
        for (events, shows) in [(&["STOP"] as &[&str], true), (&[], true)] {
            let filter = args(events, &[]).filter().unwrap();
            assert_eq!(filter.shows(&record(snapshot.clone())), shows);
            assert!(!filter.is_match(&record(snapshot.clone())), "and never a match");
        }
    }

    #[test]
    fn name_that_no_qemu_has_gets_a_warning() {
        assert_eq!(name_warning("SHUTDOWN"), None);
        assert_eq!(name_warning("BLOCK_*"), None);
        assert_eq!(name_warning("__com.example_X"), None);
        assert!(name_warning("SHUTDWON").unwrap().ends_with("did you mean SHUTDOWN?"));
        assert!(name_warning("PANIC").unwrap().ends_with("did you mean GUEST_PANICKED?"));
        let holders = name_warning("unplug").unwrap();
        assert!(holders.contains("; there are ") && holders.contains("MEM_UNPLUG_ERROR"), "{holders}");
        assert!(name_warning("FOO").unwrap().ends_with("qmp events lists them"));
    }

    #[test]
    fn condition_without_a_value_is_refused() {
        for text in ["action", "=pause", "a..b=1", ""] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}

//! One rule: its selection, its limit, and its action.

use std::sync::Arc;
use std::time::Duration;

use qmp_findings::{ALERT, RESOLVED};
use qmp_journal::{Globs, Query, RecordKind, WherePath};
use qmp_wire::{Body, QualifiedName, Record};

use super::delivery::RuleAction;
use super::delivery_limit::DeliveryLimit;
use super::state_end::{END_EVENTS, end_findings};

/// A rule as configured.
#[derive(Clone, Debug)]
pub struct RuleConfig {
    /// Its name.
    pub name: Box<str>,
    /// The records that it selects.
    pub selection: Selection,
    /// The states of VMs of which the rule delivers the alerts.
    pub states: Option<StateSelection>,
    /// The limit of its deliveries.
    pub at_most: Option<DeliveryLimit>,
    /// Whether a new rule begins at the start of the journal.
    pub from_start: bool,
    /// The key of its kind of sink.
    pub kind: &'static str,
    /// Whether it delivers every record of its VMs, or writes a file, so that only a silence that names the rule applies.
    pub takes_every_record: bool,
    /// The action.
    pub action: Arc<dyn RuleAction>,
    /// The text of the rule: rules with the same text are the same.
    pub text: Box<str>,
}

/// The states of VMs that raise the alerts of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSelection {
    /// Run states, and `silent`.
    pub states: Vec<Box<str>>,
    /// Names of VMs.
    pub vms: Globs,
    /// Hosts of VMs.
    pub hosts: Globs,
    /// How long a VM is in one of them before the alert.
    pub lasts: Duration,
}

/// The records that a rule selects.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of events.
    pub event: Option<Globs>,
    /// Kinds of findings.
    pub finding: Option<Globs>,
    /// Kinds of records. Events, findings and kinds are alternatives; without any of them, every record is selected.
    pub kind: Vec<RecordKind>,
    /// Names of VMs.
    pub vm: Globs,
    /// Hosts of VMs.
    pub host: Globs,
    /// Conditions on the data, all of which must match.
    pub where_: Vec<WherePath>,
    /// Only records of this hub: of VMs of this host, and those that it added to the records of other hosts.
    pub of_this_hub: bool,
}

impl StateSelection {
    /// Whether the rule is about the VM that a journal keys by `name`.
    pub(super) fn has_vm(&self, name: &str) -> bool {
        self.vms.matches_vm(name) && self.hosts.matches_host(name)
    }
}

impl RuleConfig {
    /// The action and its target, such as `run /usr/local/bin/page`.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} {}", self.kind, self.action.target())
    }

    /// Whether it delivers ends of states, so that their receiver may wait for them.
    pub(super) fn reports_ends(&self) -> bool {
        self.states.is_none() && !self.takes_every_record && self.selection.has_ends()
    }

    /// Whether it selects every record of the journal.
    pub(super) fn selects_all(&self) -> bool {
        let Selection { event, finding, kind, vm, host, where_, of_this_hub } = &self.selection;
        !of_this_hub
            && self.states.is_none()
            && event.is_none()
            && finding.is_none()
            && kind.is_empty()
            && vm.is_any()
            && host.is_any()
            && where_.is_empty()
    }

    /// The name, which identifies its position in the journal.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for RuleConfig {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind, &self.text) == (&other.name, other.kind, &other.text)
    }
}

impl Selection {
    /// Selects the alerts that this hub raised for the rule `name`, and their ends, of all VMs: an alert ends when the rule
    /// does not select its VM any more.
    #[must_use]
    pub fn of_alerts(name: &str) -> Self {
        let own = format!("rule={}", serde_json::Value::from(name));
        Self {
            finding: Some(Globs::parse([ALERT, RESOLVED]).expect("two names are patterns")),
            where_: vec![own.parse().expect("a path and a value are a condition")],
            of_this_hub: true,
            ..Self::default()
        }
    }

    /// Whether every record of its VMs is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.event.is_none() && self.finding.is_none() && self.kind.is_empty() && self.where_.is_empty()
    }

    /// Whether it may select records that end a state.
    fn has_ends(&self) -> bool {
        let has_event = |globs: &Globs| END_EVENTS.iter().any(|name| globs.matches(name));
        let has_finding = |globs: &Globs| end_findings().any(|kind| globs.matches(kind));
        let is_unnamed = self.event.is_none() && self.finding.is_none() && self.kind.is_empty();
        is_unnamed
            || self.kind.iter().any(|kind| *kind != RecordKind::Detached)
            || self.event.as_ref().is_some_and(has_event)
            || self.finding.as_ref().is_some_and(has_finding)
    }

    /// The query of the rule's cursor, which may find more records; [`matches`](Self::matches) decides.
    pub(super) fn query(&self) -> Query {
        let mut kind = self.kind.clone();
        let mut event = Globs::default();
        match (&self.event, &self.finding) {
            (Some(names), None) if kind.is_empty() => event = names.clone(),
            (names, found) => {
                kind.extend(names.is_some().then_some(RecordKind::Event));
                kind.extend(found.is_some().then_some(RecordKind::Finding));
            }
        }
        let (vm, host, where_) = (self.vm.clone(), self.host.clone(), self.where_.clone());
        Query { vm, host, event, kind, where_, ..Query::default() }
    }

    /// Whether the rule selects a record that [`query`](Self::query) found.
    pub(super) fn matches(&self, record: &Record<'_>) -> bool {
        if self.of_this_hub && QualifiedName::parse(&record.vm).is_some() && !record.seq.is_added() {
            return false;
        }
        let named =
            |globs: &Option<Globs>, name: &str| globs.as_ref().is_some_and(|globs| globs.matches(name));
        let is_everything = self.event.is_none() && self.finding.is_none() && self.kind.is_empty();
        is_everything
            || self.kind.contains(&RecordKind::of(&record.body))
            || match &record.body {
                Body::Event { name, .. } => named(&self.event, name),
                Body::Finding { finding, .. } => named(&self.finding, finding),
                Body::Attached { .. } | Body::Detached { .. } => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{ADDED_SEQ_FIRST, DetachReason, Epoch, Seq, UnixMicros};

    use super::*;

    fn record(body: Body<'static>) -> Record<'static> {
        Record {
            offset: None,
            vm: "web1".into(),
            epoch: Epoch(1),
            seq: Seq(1),
            received: UnixMicros(0),
            body,
        }
    }

    #[test]
    fn names_and_kinds_of_selection_are_alternatives() {
        let event = record(Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None });
        let (finding, summary) = ("why-paused".into(), "".into());
        let finding = record(Body::Finding { finding, summary, causes: Vec::new(), data: None });
        let detached =
            record(Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None });
        //  event           finding          kinds               STOP   why-paused  detached
        type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [RecordKind], [bool; 3]);
        let cases: [Case<'_>; 7] = [
            (None, None, &[], [true, true, true]),
            (Some("S*"), None, &[], [true, false, false]),
            (Some("RESUME"), None, &[], [false, false, false]),
            (None, Some("why-*"), &[], [false, true, false]),
            (Some("STOP"), Some("why-*"), &[], [true, true, false]),
            (Some("STOP"), None, &[RecordKind::Detached], [true, false, true]),
            (Some("RESUME"), None, &[RecordKind::Event], [true, false, false]),
        ];
        for (event_glob, finding_glob, kind, expected) in cases {
            let globs = |glob: Option<&str>| glob.map(|glob| Globs::parse([glob]).expect("a glob"));
            let selection = Selection {
                event: globs(event_glob),
                finding: globs(finding_glob),
                kind: kind.to_vec(),
                ..Selection::default()
            };
            let query = selection.query();
            let found = [&event, &finding, &detached]
                .map(|record| query.matches(record) && selection.matches(record));
            assert_eq!(found, expected, "{event_glob:?} {finding_glob:?} {kind:?}");
        }
    }

    #[test]
    fn alerts_of_a_rule_are_those_that_this_hub_raised() {
        let selection = Selection::of_alerts("page");
        let added = Seq(ADDED_SEQ_FIRST + 1);
        let cases = [
            ("web1", Seq(1), "page", true),
            ("web1", Seq(1), "mail", false),
            ("node1/web1", Seq(1), "page", false),
            ("node1/web1", added, "page", true),
            ("node1/web1", added, "mail", false),
        ];
        for (vm, seq, rule, expected) in cases {
            let data = Some(format!(r#"{{"rule": "{rule}"}}"#).into());
            let body = Body::Finding { finding: ALERT.into(), summary: "".into(), causes: Vec::new(), data };
            let alert = Record { vm: vm.into(), seq, ..record(body) };
            let is_selected = selection.query().matches(&alert) && selection.matches(&alert);
            assert_eq!(is_selected, expected, "{vm} {seq:?} {rule}");
        }
    }
}

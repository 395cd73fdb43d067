//! One rule: which records, how often, and what to do.

use std::sync::Arc;

use qmp_journal::{Globs, Kind, Query, WherePath};
use qmp_wire::{Body, Record};

use super::at_most::AtMost;
use super::delivery::Action;

/// A rule as the configuration has it. It is read from the configuration file.
#[derive(Clone, Debug)]
pub struct RuleConfig {
    /// Its name.
    pub name: Box<str>,
    /// Which records it is about.
    pub selection: Selection,
    /// How often, at most.
    pub at_most: Option<AtMost>,
    /// Whether a rule that is first seen takes the whole journal.
    pub from_start: bool,
    /// The key of its kind of sink.
    pub kind: &'static str,
    /// What it does.
    pub action: Arc<dyn Action>,
    /// The rule as it was written: two that were written alike do the same.
    pub text: Box<str>,
}

/// Which records a rule is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of events.
    pub event: Option<Globs>,
    /// Kinds of findings.
    pub finding: Option<Globs>,
    /// Kinds of records. These three are alternatives; none of them means everything.
    pub kind: Vec<Kind>,
    /// Names of VMs.
    pub vm: Globs,
    /// Conditions on the data, all of which must hold.
    pub where_: Vec<WherePath>,
}

impl RuleConfig {
    /// What it does, and to whom, such as `run /usr/local/bin/page`.
    #[must_use]
    pub fn deed(&self) -> String {
        format!("{} {}", self.kind, self.action.target())
    }

    /// The name, by which its place in the journal is known.
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
    /// What a cursor is to look for. It may find more; [`matches`](Self::matches) decides.
    pub(super) fn query(&self) -> Query {
        let mut kind = self.kind.clone();
        let mut event = Globs::default();
        match (&self.event, &self.finding) {
            (Some(names), None) if kind.is_empty() => event = names.clone(),
            (names, found) => {
                kind.extend(names.is_some().then_some(Kind::Event));
                kind.extend(found.is_some().then_some(Kind::Finding));
            }
        }
        Query { vm: self.vm.clone(), event, kind, where_: self.where_.clone(), ..Query::default() }
    }

    /// Whether a record that [`query`](Self::query) found is meant.
    pub(super) fn matches(&self, record: &Record<'_>) -> bool {
        let named =
            |globs: &Option<Globs>, name: &str| globs.as_ref().is_some_and(|globs| globs.matches(name));
        let is_everything = self.event.is_none() && self.finding.is_none() && self.kind.is_empty();
        is_everything
            || self.kind.contains(&Kind::of(&record.body))
            || match &record.body {
                Body::Event { name, .. } => named(&self.event, name),
                Body::Finding { finding, .. } => named(&self.finding, finding),
                Body::Attached { .. } | Body::Detached { .. } => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{DetachReason, Epoch, Seq, UnixMicros};

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
    fn names_and_kinds_are_alternatives() {
        let event = record(Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None });
        let (finding, summary) = ("why-paused".into(), "".into());
        let finding = record(Body::Finding { finding, summary, causes: Vec::new(), data: None });
        let detached =
            record(Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None });
        //  event           finding          kinds               STOP   why-paused  detached
        type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [Kind], [bool; 3]);
        let cases: [Case<'_>; 7] = [
            (None, None, &[], [true, true, true]),
            (Some("S*"), None, &[], [true, false, false]),
            (Some("RESUME"), None, &[], [false, false, false]),
            (None, Some("why-*"), &[], [false, true, false]),
            (Some("STOP"), Some("why-*"), &[], [true, true, false]),
            (Some("STOP"), None, &[Kind::Detached], [true, false, true]),
            (Some("RESUME"), None, &[Kind::Event], [true, false, false]),
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
}

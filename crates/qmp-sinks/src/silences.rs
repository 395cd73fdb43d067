//! Silences: spans in which rules do not deliver the records of some VMs.
//!
//! A silence belongs to the records that are received while it lasts, whenever a rule reads them.

use std::time::Duration;

use qmp_journal::{Globs, QueryError};
use qmp_wire::{Record, UnixMicros};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rule::RuleConfig;

/// The longest silence: a planned outage takes hours, and a forgotten silence must end.
pub const SILENCE_MAX: Duration = Duration::from_secs(31 * 86_400);

/// How long a silence is kept after its end, for rules that read its records later because their receiver was unavailable.
const SILENCE_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Silences that are kept at a time: each is a line that an operator wrote, and every record is compared with them.
const SILENCES_MAX: usize = 1_000;

/// The most silences that an error lists.
const SILENCES_NAMED_MAX: usize = 8;

/// The longest pattern of a silence, in bytes: it is compared with the name of the VM of every record.
pub const SILENCE_PATTERN_MAX_BYTES: usize = 1 << 10;

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The pattern of the names of VMs.
    pub vms: Box<str>,
    /// The name of the rule; `None` for all rules except those that take every record, such as an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<str>>,
    /// When it begins.
    #[serde(serialize_with = "text", deserialize_with = "moment")]
    pub since: UnixMicros,
    /// When it ends.
    #[serde(serialize_with = "text", deserialize_with = "moment")]
    pub until: UnixMicros,
    /// Why.
    pub reason: Box<str>,
    /// The client that asked for it.
    pub client: Box<str>,
}

/// Errors of adding a silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SilenceError {
    /// The pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] QueryError),
    /// There is no silence to end.
    #[error("there is no silence of {wanted}; {present}")]
    NotFound {
        /// The VMs and the rule of the request.
        wanted: Box<str>,
        /// The silences that there are.
        present: Box<str>,
    },
    /// The pattern is too long.
    #[error("the pattern has {bytes} bytes, and {SILENCE_PATTERN_MAX_BYTES} at most are allowed")]
    LongPattern {
        /// Its bytes.
        bytes: usize,
    },
    /// There are too many silences.
    #[error("there are {SILENCES_MAX} silences; end some, or wait until some are over")]
    TooMany,
}

/// The silences of a hub.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Silences(Vec<ParsedSilence>);

/// A silence with its pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Silence", into = "Silence")]
struct ParsedSilence {
    silence: Silence,
    vms: Globs,
}

impl TryFrom<Silence> for ParsedSilence {
    type Error = QueryError;

    fn try_from(silence: Silence) -> Result<Self, QueryError> {
        let vms = Globs::parse([&*silence.vms])?;
        Ok(Self { silence, vms })
    }
}

impl From<ParsedSilence> for Silence {
    fn from(parsed: ParsedSilence) -> Self {
        parsed.silence
    }
}

impl Silences {
    /// Adds a silence, and ends the one for the same VMs and rule, which is returned. A silence that is over at once only ends
    /// one. Removes those that are long over.
    pub(super) fn add(&mut self, silence: Silence) -> Result<Option<Silence>, SilenceError> {
        let bytes = silence.vms.len();
        if bytes > SILENCE_PATTERN_MAX_BYTES {
            return Err(SilenceError::LongPattern { bytes });
        }
        let added = ParsedSilence::try_from(silence)?;
        let Silence { since, until, .. } = added.silence;
        let kept_us = i64::try_from(SILENCE_KEPT.as_micros()).unwrap_or(i64::MAX);
        self.0.retain(|other| other.silence.until.0.saturating_add(kept_us) > since.0);
        let is_end = until <= since;
        let is_same = |other: &Silence| {
            (&other.vms, &other.rule) == (&added.silence.vms, &added.silence.rule) && other.until > since
        };
        let ended = self.0.iter().map(|parsed| &parsed.silence).find(|other| is_same(other)).cloned();
        if is_end && ended.is_none() {
            let present = self.listed(since).into();
            return Err(SilenceError::NotFound { wanted: added.silence.subject().into(), present });
        }
        if !is_end && self.0.len() >= SILENCES_MAX {
            // Of those that are over, the one that ended first is discarded; then the one that is replaced.
            let is_over = |other: &Silence| other.until <= since || is_same(other);
            let over = self.0.iter().enumerate().filter(|(_, other)| is_over(&other.silence));
            let first = over.min_by_key(|(_, other)| other.silence.until).map(|(index, _)| index);
            self.0.remove(first.ok_or(SilenceError::TooMany)?);
        }
        for other in self.0.iter_mut().map(|parsed| &mut parsed.silence).filter(|other| is_same(other)) {
            other.until = since;
        }
        if !is_end {
            self.0.push(added);
        }
        Ok(ended)
    }

    /// The silences at `at`, for an error.
    fn listed(&self, at: UnixMicros) -> String {
        let silences = self.at(at);
        if silences.is_empty() {
            return "no rule is silenced".to_owned();
        }
        let shown = silences.iter().take(SILENCES_NAMED_MAX).map(Silence::subject);
        let shown = shown.collect::<Vec<_>>().join(", ");
        match silences.len().saturating_sub(SILENCES_NAMED_MAX) {
            0 => format!("there are silences of {shown}"),
            more => format!("there are silences of {shown} and {more} more"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The silences at `at`.
    pub(super) fn at(&self, at: UnixMicros) -> Vec<Silence> {
        let all = self.0.iter().map(|parsed| &parsed.silence);
        all.filter(|silence| silence.is_at(at)).cloned().collect()
    }

    /// Until when the rule is silenced for this VM, if it is silenced at `at`.
    pub(super) fn silenced_until(&self, rule: &RuleConfig, vm: &str, at: UnixMicros) -> Option<UnixMicros> {
        let of_rule = |silence: &Silence| match &silence.rule {
            Some(name) => *name == rule.name,
            None => !rule.takes_every_record,
        };
        let silences = self.0.iter().filter(|parsed| parsed.silence.is_at(at) && of_rule(&parsed.silence));
        silences.filter(|parsed| parsed.vms.matches_vm(vm)).map(|parsed| parsed.silence.until).max()
    }

    /// Whether the rule does not deliver this record. An alert of a rule on states is raised after the silence, so that a record of
    /// it is delivered.
    pub(super) fn withhold(&self, rule: &RuleConfig, record: &Record<'_>) -> bool {
        rule.states.is_none() && self.silenced_until(rule, &record.vm, record.received).is_some()
    }
}

impl Silence {
    fn is_at(&self, at: UnixMicros) -> bool {
        self.since <= at && at < self.until
    }

    /// The VMs and the rule, for people.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{} for the rule {rule}", self.vms),
            None => self.vms.to_string(),
        }
    }
}

fn text<S: Serializer>(at: &UnixMicros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMicros, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| serde::de::Error::custom("not a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(vms: &str, since: i64, until: i64) -> Silence {
        Silence {
            vms: vms.into(),
            rule: None,
            since: UnixMicros(since),
            until: UnixMicros(until),
            reason: "x".into(),
            client: "y".into(),
        }
    }

    #[test]
    fn end_of_no_silence_is_refused_with_the_present_ones() {
        let of_rule = |vms: &str, until: i64| Silence { rule: Some("page".into()), ..silence(vms, 0, until) };
        let mut silences = Silences::default();
        let refused = |silences: &mut Silences, end: Silence| silences.add(end).unwrap_err().to_string();
        insta::assert_snapshot!(refused(&mut silences, silence("web1", 0, 0)), @"there is no silence of web1; no rule is silenced");
        silences.add(silence("web*", 0, 100)).expect("added");
        silences.add(of_rule("db1", 100)).expect("added");
        let present = silences.at(UnixMicros(0));
        insta::assert_snapshot!(refused(&mut silences, of_rule("web1", 0)), @"there is no silence of web1 for the rule page; there are silences of web*, db1 for the rule page");
        assert!(silences.add(silence("db1", 0, 0)).is_err(), "the silence is of one rule");
        assert_eq!(silences.at(UnixMicros(0)), present, "a refusal changes nothing");
        silences.add(of_rule("db1", 0)).expect("ended");
        assert!(silences.add(of_rule("db1", 0)).is_err(), "it has ended");
    }

    #[test]
    fn ended_silences_leave_room_for_others() {
        let mut silences = Silences::default();
        for number in 0..i64::try_from(SILENCES_MAX).expect("few") {
            silences.add(silence(&format!("vm{number}"), 0, 100 + number)).expect("added");
        }
        assert_eq!(silences.add(silence("more", 50, 99)), Err(SilenceError::TooMany));
        for at in [100, 101] {
            silences.add(silence(&format!("more{at}"), at, 9_999)).expect("an ended one is discarded");
        }
        assert_eq!(silences.0.len(), SILENCES_MAX);
        assert_eq!(silences.add(silence("more", 101, 9_999)), Err(SilenceError::TooMany));
    }

    #[test]
    fn long_pattern_is_refused() {
        let mut silences = Silences::default();
        silences.add(silence(&"x".repeat(SILENCE_PATTERN_MAX_BYTES), 0, 1)).expect("added");
        let error =
            silences.add(silence(&"x".repeat(SILENCE_PATTERN_MAX_BYTES + 1), 0, 1)).expect_err("too long");
        assert_eq!(error.to_string(), "the pattern has 1025 bytes, and 1024 at most are allowed");
    }

    #[test]
    fn later_silence_of_the_same_vms_replaces_an_earlier_one() {
        let mut silences = Silences::default();
        silences.add(silence("web*", 0, 100)).expect("added");
        silences.add(silence("db1", 0, 100)).expect("added");
        silences.add(silence("web*", 10, 50)).expect("added");
        let ends = |at: i64| silences.at(UnixMicros(at)).iter().map(|one| one.until.0).collect::<Vec<_>>();
        assert_eq!(
            (ends(5), ends(20), ends(60), ends(100)),
            (vec![10, 100], vec![100, 50], vec![100], vec![])
        );
        assert!(silences.clone().add(silence("[", 0, 1)).is_err());
        let mut ended = silences.clone();
        let first = ended.add(silence("db1", 20, 20)).expect("ended").map(|one| one.until.0);
        assert_eq!((first, ended.at(UnixMicros(30)).len()), (Some(100), 1));
        let text = serde_json::to_string(&silences).expect("JSON");
        let read: Silences = serde_json::from_str(&text).expect("silences");
        assert_eq!(read.at(UnixMicros(20)), silences.at(UnixMicros(20)));
    }
}

//! How a rule stands, counted beside what it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use qmp_host::clock;
use qmp_wire::{Offset, Record, UnixMicros};
use serde::Serialize;

use super::rule::RuleConfig;

/// How much of an error is kept for people, in bytes.
const ERROR_MAX_BYTES: usize = 512;

/// How a rule stands, for whoever asks. Counts begin with the hub, or with the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The rule's name.
    pub rule: Box<str>,
    /// `run`, `webhook`, `journald` or `file`.
    pub kind: &'static str,
    /// To whom it delivers.
    pub target: Box<str>,
    /// Whether it delivers, and if not, why.
    pub state: SinkState,
    /// Since when it is in that state, RFC 3339.
    pub since: Box<str>,
    /// Everything up to this offset is dealt with.
    pub offset: u64,
    /// How many records of the journal lie behind that, wanted or not.
    pub lag_records: u64,
    /// Records that arrived.
    pub delivered: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Records that were given up because the receiver refused them.
    pub given_up: u64,
    /// Records that `at-most` held back.
    pub held_back: u64,
    /// Those of them of which nobody was told yet.
    pub held_back_waiting: u64,
    /// Records of the journal, wanted or not, that were removed before this rule came to them, or cannot be read.
    pub missed: u64,
    /// What went wrong last.
    pub last_error: Option<Box<str>>,
    /// The last record that was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_given_up: Option<GivenUpRecord>,
}

/// A record that a rule gave up because the receiver refused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GivenUpRecord {
    /// The record's place in the journal.
    pub offset: u64,
    /// The VM that it is of.
    pub vm: Box<str>,
    /// When it was given up, RFC 3339.
    pub at: Box<str>,
    /// Why the receiver refused it.
    pub error: Box<str>,
}

/// What a rule does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// It delivers, or waits for something to deliver.
    Delivering,
    /// The receiver is away, or refuses; it tries again.
    Retrying,
    /// It cannot read the journal.
    Blind,
}

/// What a rule counts.
#[derive(Debug)]
pub(super) struct Status {
    rule: Box<str>,
    kind: &'static str,
    target: Box<str>,
    pub(super) offset: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failures: AtomicU64,
    given_up: AtomicU64,
    pub(super) held_back: AtomicU64,
    pub(super) held_back_waiting: AtomicU64,
    pub(super) missed: AtomicU64,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    state: SinkState,
    since: UnixMicros,
    last_error: Option<Box<str>>,
    last_given_up: Option<GivenUpRecord>,
}

impl Status {
    pub(super) fn new(rule: &RuleConfig, at: Offset) -> Self {
        Self {
            rule: rule.name.clone(),
            kind: rule.kind,
            target: rule.action.target().into(),
            offset: AtomicU64::new(at.0),
            delivered: AtomicU64::default(),
            failures: AtomicU64::default(),
            given_up: AtomicU64::default(),
            held_back: AtomicU64::default(),
            held_back_waiting: AtomicU64::default(),
            missed: AtomicU64::default(),
            standing: Mutex::new(Standing {
                state: SinkState::Delivering,
                since: clock::now(),
                last_error: None,
                last_given_up: None,
            }),
        }
    }

    /// Notes what the rule does; whether it did something else before.
    pub(super) fn enter(&self, state: SinkState) -> bool {
        let mut standing = self.standing();
        if standing.state == state {
            return false;
        }
        (standing.state, standing.since) = (state, clock::now());
        true
    }

    pub(super) fn failed(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.standing().last_error = Some(cut(error, ERROR_MAX_BYTES).into());
    }

    /// Notes that the receiver refused a record so often that it is given up.
    pub(super) fn gave_up(&self, record: &Record<'_>, error: &str) {
        self.failed(error);
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.standing().last_given_up = Some(GivenUpRecord {
            offset: record.offset.unwrap_or_default().0,
            vm: record.vm.as_ref().into(),
            at: clock::now().to_string().into(),
            error: cut(error, ERROR_MAX_BYTES).into(),
        });
    }

    pub(super) fn read(&self, head: Offset) -> SinkStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let offset = count(&self.offset);
        let standing = self.standing();
        SinkStatus {
            rule: self.rule.clone(),
            kind: self.kind,
            target: self.target.clone(),
            state: standing.state,
            since: standing.since.to_string().into(),
            offset,
            lag_records: head.0.saturating_sub(offset),
            delivered: count(&self.delivered),
            failures: count(&self.failures),
            given_up: count(&self.given_up),
            held_back: count(&self.held_back),
            held_back_waiting: count(&self.held_back_waiting),
            missed: count(&self.missed),
            last_error: standing.last_error.clone(),
            last_given_up: standing.last_given_up.clone(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of a text, `max` bytes at most, with a mark if there is more.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

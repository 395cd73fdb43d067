//! The status of a rule, counted beside its work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use qmp_host::{clock, lock};
use qmp_wire::{Offset, Record, UnixMicros};
use serde::Serialize;

use super::rule::RuleConfig;

/// Bytes of an error that are kept for people, and logged: a receiver writes part of it.
pub(super) const ERROR_MAX_BYTES: usize = 512;

/// The status of a rule. Counts begin with the hub, or with the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The rule's name.
    pub rule: Box<str>,
    /// `run`, `webhook`, `otlp`, `journald`, `file` or `nats`.
    pub kind: &'static str,
    /// The receiver.
    pub target: Box<str>,
    /// The state.
    pub state: SinkState,
    /// Since when the rule has been in that state, RFC 3339.
    pub since: Box<str>,
    /// The offset up to which all records are handled.
    pub offset: u64,
    /// The number of selected records after that, as far as they are known: while the rule keeps up, there are none.
    pub lag_records: u64,
    /// Records that were delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Records that were given up because the receiver refused them.
    pub given_up: u64,
    /// Records that `at-most` held back.
    pub held_back: u64,
    /// Held-back records that were not reported yet.
    pub held_back_waiting: u64,
    /// Records that were not delivered because of a silence.
    pub silenced: u64,
    /// Records of the journal, selected or not, that were removed before this rule read them, or cannot be read.
    pub missed: u64,
    /// The last error.
    pub last_error: Option<Box<str>>,
    /// A fault of the receiver that does not stop the deliveries, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<str>>,
    /// The last record that was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_given_up: Option<GivenUpRecord>,
}

/// A record that a rule gave up because the receiver refused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GivenUpRecord {
    /// The offset of the record.
    pub offset: u64,
    /// The VM of the record.
    pub vm: Box<str>,
    /// When it was given up, RFC 3339.
    pub at: Box<str>,
    /// Why the receiver refused it.
    pub error: Box<str>,
}

/// The state of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// The rule delivers, or waits for records.
    Delivering,
    /// The receiver is unavailable, or refuses; the rule retries.
    Retrying,
    /// The rule cannot read the journal.
    Blind,
}

/// The counters of a rule.
#[derive(Debug)]
pub(super) struct Status {
    rule: Box<str>,
    kind: &'static str,
    target: Box<str>,
    pub(super) offset: AtomicU64,
    /// Selected records that are not handled.
    pub(super) waiting: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failures: AtomicU64,
    given_up: AtomicU64,
    pub(super) held_back: AtomicU64,
    pub(super) held_back_waiting: AtomicU64,
    pub(super) silenced: AtomicU64,
    pub(super) missed: AtomicU64,
    current: Mutex<CurrentState>,
}

#[derive(Debug)]
struct CurrentState {
    state: SinkState,
    since: UnixMicros,
    last_error: Option<Box<str>>,
    problem: Option<Box<str>>,
    last_given_up: Option<GivenUpRecord>,
}

impl Status {
    pub(super) fn new(rule: &RuleConfig, at: Offset) -> Self {
        Self {
            rule: rule.name.clone(),
            kind: rule.kind,
            target: rule.action.target().into(),
            offset: AtomicU64::new(at.0),
            waiting: AtomicU64::default(),
            delivered: AtomicU64::default(),
            failures: AtomicU64::default(),
            given_up: AtomicU64::default(),
            held_back: AtomicU64::default(),
            held_back_waiting: AtomicU64::default(),
            silenced: AtomicU64::default(),
            missed: AtomicU64::default(),
            current: Mutex::new(CurrentState {
                state: SinkState::Delivering,
                since: clock::now(),
                last_error: None,
                problem: None,
                last_given_up: None,
            }),
        }
    }

    /// Sets the state; returns whether it changed.
    pub(super) fn enter(&self, state: SinkState) -> bool {
        let mut current = self.current();
        if current.state == state {
            return false;
        }
        (current.state, current.since) = (state, clock::now());
        true
    }

    pub(super) fn failed(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.current().last_error = Some(cut(error, ERROR_MAX_BYTES).into());
    }

    /// Sets or clears the fault of the receiver; returns whether it is another one.
    pub(super) fn set_problem(&self, problem: Option<&str>) -> bool {
        let problem = problem.map(|problem| cut(problem, ERROR_MAX_BYTES).into());
        let mut current = self.current();
        let is_new = problem.is_some() && current.problem != problem;
        current.problem = problem;
        is_new
    }

    /// Counts records that were given up because the receiver refused them; `record` is the last one.
    pub(super) fn gave_up(&self, record: &Record<'_>, records: u64, error: &str) {
        self.failed(error);
        self.given_up.fetch_add(records, Ordering::Relaxed);
        self.current().last_given_up = Some(GivenUpRecord {
            offset: record.offset.unwrap_or_default().0,
            vm: record.vm.as_ref().into(),
            at: clock::now().to_string().into(),
            error: cut(error, ERROR_MAX_BYTES).into(),
        });
    }

    pub(super) fn read(&self) -> SinkStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let offset = count(&self.offset);
        let current = self.current();
        SinkStatus {
            rule: self.rule.clone(),
            kind: self.kind,
            target: self.target.clone(),
            state: current.state,
            since: current.since.to_string().into(),
            offset,
            lag_records: count(&self.waiting),
            delivered: count(&self.delivered),
            failures: count(&self.failures),
            given_up: count(&self.given_up),
            held_back: count(&self.held_back),
            held_back_waiting: count(&self.held_back_waiting),
            silenced: count(&self.silenced),
            missed: count(&self.missed),
            last_error: current.last_error.clone(),
            problem: current.problem.clone(),
            last_given_up: current.last_given_up.clone(),
        }
    }

    fn current(&self) -> MutexGuard<'_, CurrentState> {
        lock(&self.current)
    }
}

/// The beginning of a text, `max` bytes at most, with a mark if it was shortened.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

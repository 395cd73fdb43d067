//! Folds the changes of a VM into intervals: states, gaps, findings.
//!
//! The state of an attached VM is its run state. Of one that is not attached it is how QEMU ended, or else unknown. A gap
//! goes from the end of what is certain to the next attachment; its beginning may be before the record that says so.

use qmp_journal::{Change, ChangeKind};
use qmp_wire::{Offset, UnixMicros};

use crate::interner::Interner;
use crate::intervals::Intervals;
use crate::window::Window;
use crate::words::{END, STATE, WATCH, closing_kind, kind_of};

/// How long after its connection closed the end of a VM is concluded, in microseconds: the hub waits up to 2 s for how its process
/// ended. The state before is that end, too.
const ENDING_MAX: i64 = 5_000_000;

/// The state of a VM that is not attached.
const UNKNOWN: &str = "unknown";

/// The words of all VMs of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) states: Interner,
    pub(crate) reasons: Interner,
    pub(crate) kinds: Interner,
}

/// A finding, as an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FindingSpan {
    pub(crate) offset: Offset,
    pub(crate) from: i64,
    /// `None` if it had not ended by the end of the window.
    pub(crate) to: Option<i64>,
    /// A word of the kinds.
    pub(crate) kind: u32,
    /// The findings that are drawn as this one.
    pub(crate) count: u32,
}

/// The changes of a VM so far.
#[derive(Debug)]
pub(crate) struct VmFold {
    since: i64,
    until: i64,
    bucket: i64,
    states: Intervals,
    gaps: Intervals,
    findings: Vec<FindingSpan>,
    /// The run state while the VM is attached.
    run_state: Box<str>,
    /// How QEMU ended.
    end: Box<str>,
    is_attached: bool,
    /// The state that is shown, since when.
    shown: Option<(u32, i64)>,
    /// The reason of the gap that lasts, since when.
    gap: Option<(u32, i64)>,
    open: Vec<(Box<str>, FindingSpan)>,
}

impl VmFold {
    /// A VM of which nothing is known. With a window of no buckets, intervals are never joined.
    pub(crate) fn new(window: &Window, joins: bool) -> Self {
        let bucket = if joins { window.bucket } else { 0 };
        Self {
            since: window.since,
            until: window.until,
            bucket,
            states: Intervals::new(bucket, window.until, false),
            gaps: Intervals::new(bucket, window.until, true),
            findings: Vec::new(),
            run_state: UNKNOWN.into(),
            end: "".into(),
            is_attached: false,
            shown: None,
            gap: None,
            open: Vec::new(),
        }
    }

    /// Takes the next change.
    pub(crate) fn change(&mut self, words: &mut Words, offset: Offset, change: &Change<'_>) {
        let Change { at: UnixMicros(at), kind } = change;
        if *at >= self.until {
            return;
        }
        match kind {
            ChangeKind::Set { track: STATE, word } => self.run_state = word.as_ref().into(),
            ChangeKind::Set { track: WATCH, word } => self.watch(words, *at, word),
            ChangeKind::Set { track: END, word } => self.ended(words, *at, word),
            ChangeKind::Set { .. } => {}
            ChangeKind::Open { word } => {
                self.close(*at, |open| open == word.as_ref());
                let kind = words.kinds.id(kind_of(word));
                let span = FindingSpan { offset, from: *at, to: None, kind, count: 1 };
                self.open.push((word.as_ref().into(), span));
            }
            ChangeKind::Close { word } => {
                let closed = self.close(*at, |open| open == word.as_ref());
                // The record that opened it is not known: the one that closes it is a finding of its own.
                if let (0, Some(kind)) = (closed, closing_kind(word)) {
                    let kind = words.kinds.id(kind);
                    self.push_finding(FindingSpan { offset, from: *at, to: Some(*at), kind, count: 1 });
                }
            }
            ChangeKind::CloseAll => {
                self.close(*at, |_| true);
            }
            ChangeKind::Span { word, until } => {
                let kind = words.kinds.id(kind_of(word));
                let to = Some(until.0).filter(|to| *to < self.until).map(|to| to.max(*at));
                self.push_finding(FindingSpan { offset, from: *at, to, kind, count: 1 });
            }
        }
        self.show(words, *at);
    }

    fn watch(&mut self, words: &mut Words, at: i64, reason: &str) {
        if let Some((word, from)) = self.gap.take() {
            self.push_gap(word, from, Some(at.max(from)));
        }
        self.is_attached = reason.is_empty();
        if !self.is_attached {
            self.gap = Some((words.reasons.id(reason), at));
        }
    }

    /// Takes how QEMU ended. If the VM is attached again, that was before: its last unknown state has it.
    fn ended(&mut self, words: &mut Words, at: i64, word: &str) {
        if !self.is_attached {
            self.end = word.into();
            let (unknown, end) = (words.states.id(UNKNOWN), words.states.id(word));
            let is_unknown =
                |(shown, from): &(u32, i64)| *shown == unknown && at.saturating_sub(*from) <= ENDING_MAX;
            if let Some((_, from)) = self.shown.filter(|shown| !word.is_empty() && is_unknown(shown)) {
                self.shown = Some((end, from));
            }
        } else if !word.is_empty() {
            let (unknown, end) = (words.states.id(UNKNOWN), words.states.id(word));
            if let Some(interval) = self.states.last_of(unknown) {
                interval.word = end;
            }
        } else {
            self.end = "".into();
        }
    }

    /// Ends what `is_meant` of what lasts; returns how much that is.
    fn close(&mut self, at: i64, is_meant: impl Fn(&str) -> bool) -> usize {
        let (closed, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|(word, _)| is_meant(word));
        self.open = open;
        let count = closed.len();
        for (_, span) in closed {
            self.push_finding(FindingSpan { to: Some(at.max(span.from)), ..span });
        }
        count
    }

    /// Shows the present state from `at` on.
    fn show(&mut self, words: &mut Words, at: i64) {
        let state = match (self.is_attached, self.end.is_empty()) {
            (true, _) => &self.run_state,
            (false, false) => &self.end,
            // Nothing was known of the VM before its first attachment.
            (false, true) if self.gap.is_none() => return,
            (false, true) => UNKNOWN,
        };
        let state = words.states.id(state);
        match self.shown {
            Some((shown, _)) if shown == state => {}
            Some((shown, from)) => {
                let at = at.max(from);
                self.push_state(shown, from, Some(at));
                self.shown = Some((state, at));
            }
            None => self.shown = Some((state, at)),
        }
    }

    fn push_state(&mut self, word: u32, from: i64, to: Option<i64>) {
        if to.is_none_or(|to| to > self.since && to > from) {
            self.states.push(from, to, word);
        }
    }

    fn push_gap(&mut self, word: u32, from: i64, to: Option<i64>) {
        if to.is_none_or(|to| to > self.since) {
            self.gaps.push(from, to, word);
        }
    }

    fn push_finding(&mut self, span: FindingSpan) {
        if span.to.is_some_and(|to| to < self.since) {
            return;
        }
        let bucket = self.bucket;
        let same = |before: &&mut FindingSpan| {
            bucket > 0
                && before.kind == span.kind
                && before.to.is_some()
                && span.to.is_some()
                && before.from.div_euclid(bucket) == span.from.div_euclid(bucket)
                && span.to.unwrap_or(0).saturating_sub(span.from) < bucket
        };
        // Findings of other kinds may lie between: there are some twenty kinds.
        match self.findings.iter_mut().rev().take(32).find(same) {
            Some(before) => {
                before.to = before.to.max(span.to);
                before.count = before.count.saturating_add(1);
            }
            None => self.findings.push(span),
        }
    }

    /// The present state; `None` if nothing is known of the VM.
    pub(crate) fn shown(&self) -> Option<u32> {
        self.shown.map(|(state, _)| state)
    }

    /// The kinds of findings that last.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = u32> {
        self.open.iter().map(|(_, span)| span.kind)
    }

    /// Whether the VM is not attached, and since when and why.
    pub(crate) fn gap(&self) -> Option<(u32, i64)> {
        self.gap
    }

    /// States, gaps and findings up to the end of the window.
    pub(crate) fn finish(mut self) -> (Intervals, Intervals, Vec<FindingSpan>) {
        if let Some((word, from)) = self.shown {
            self.push_state(word, from, None);
        }
        if let Some((word, from)) = self.gap {
            self.push_gap(word, from, None);
        }
        let open: Vec<FindingSpan> = self.open.drain(..).map(|(_, span)| span).collect();
        self.findings.extend(open);
        self.findings.sort_unstable_by_key(|span| (span.from, span.offset));
        (self.states, self.gaps, self.findings)
    }
}

//! Findings as intervals: a storm until it is over, a stop until the VM runs again, a job from its begin to its end.

use std::collections::HashMap;

use qmp_findings::FindingKind;
use qmp_journal::{Change, CountKey, Globs, JournalError, Query, Reader, SummaryVisitor, VmSelection};
use qmp_wire::{Body, Causes, Offset, QualifiedName, UnixMicros};
use serde::Serialize;

use crate::fold::{FindingSpan, VmFold, Words};
use crate::reading::{RequestedContent, read};
use crate::selection::Selection;
use crate::window::{Scope, Window};

/// Which findings.
#[derive(Clone, Debug)]
pub struct FindingsRequest {
    /// The window.
    pub since: Option<UnixMicros>,
    /// Its end; without one, everything up to now.
    pub until: Option<UnixMicros>,
    /// The VMs.
    pub vm: Globs,
    /// Their hosts.
    pub host: Globs,
    /// The kinds.
    pub finding: Globs,
    /// Only those that last at the end of the window, or only those that have ended.
    pub open: Option<bool>,
    /// Only those after this record.
    pub after: Offset,
    /// How many, at most.
    pub limit: usize,
}

/// Findings in the order of the journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// The findings.
    pub findings: Vec<FindingEntry>,
    /// Ask for those after this one; null if there are no more.
    pub next: Option<u64>,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingEntry {
    /// Its kind.
    pub finding: Box<str>,
    /// The host of a VM of another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
    /// The VM that it concerns, on its host.
    pub vm: Box<str>,
    /// When it began.
    pub from: i64,
    /// When it ended; null if it lasted at the end of the window.
    pub to: Option<i64>,
    /// Whether it lasted at the end of the window.
    pub open: bool,
    /// One sentence for people; empty if the record is kept no longer.
    pub summary: Box<str>,
    /// Its record.
    pub offset: u64,
    /// Epoch and number of the records from which it was concluded.
    #[serde(serialize_with = "pairs")]
    pub causes: Causes,
}

fn pairs<S: serde::Serializer>(causes: &Causes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(causes.iter().map(|(epoch, seq)| (epoch.0, seq.0)))
}

/// Reads the findings that happened in a window.
///
/// # Errors
///
/// Errors of reading the journal.
pub fn findings(
    reader: &Reader,
    request: &FindingsRequest,
    now: UnixMicros,
) -> Result<Findings, JournalError> {
    let FindingsRequest { since, until, vm, host, .. } = request;
    let query =
        Query { vm: vm.clone(), host: host.clone(), since: *since, until: *until, ..Query::default() };
    let scope = Scope { query, ..Scope::default() };
    let selection = Selection::of(reader, &scope.query)?;
    let mut window = Window::of(reader, &scope, now, 1)?;
    (window.since, window.until) =
        (since.map_or(window.since, |since| since.0), until.map_or(i64::MAX, |until| until.0));
    let wanted =
        RequestedContent { together: false, counts: VmSelection::None, changes: selection.vm_selection() };
    let mut visitor = FindingVisitor { window: &window, words: Words::default(), vms: HashMap::new() };
    read(reader, &scope, &window, &selection, wanted, &mut visitor)?;
    let FindingVisitor { words, vms, .. } = visitor;
    let is_kind: Vec<bool> = words
        .kinds
        .clone()
        .into_words()
        .iter()
        .map(|kind| FindingKind::from_name(kind).is_some() && request.finding.matches(kind))
        .collect();
    let mut found: Vec<(FindingSpan, u32)> = Vec::new();
    for (vm, fold) in vms {
        let (.., spans) = fold.finish();
        let is_meant = |span: &FindingSpan| {
            span.offset > request.after
                && is_kind.get(span.kind as usize).copied().unwrap_or(false)
                && request.open.is_none_or(|open| span.to.is_none() == open)
        };
        found.extend(spans.into_iter().filter(is_meant).map(|span| (span, vm)));
    }
    found.sort_unstable_by_key(|(span, _)| span.offset);
    let has_more = found.len() > request.limit;
    found.truncate(request.limit);
    let next = found.last().filter(|_| has_more).map(|(span, _)| span.offset.0);
    let entries = found
        .into_iter()
        .map(|(span, vm)| entry(reader, &span, words.kinds.word(span.kind), selection.name(vm)));
    Ok(Findings { findings: entries.collect::<Result<_, JournalError>>()?, next })
}

/// The entry of a finding of the VM that the journal keys by `name`.
fn entry(
    reader: &Reader,
    span: &FindingSpan,
    finding: &str,
    name: &str,
) -> Result<FindingEntry, JournalError> {
    let FindingSpan { offset, from, to, .. } = *span;
    let record = reader.record(offset)?;
    let (summary, causes) = match record.map(|record| record.body) {
        Some(Body::Finding { summary, causes, .. }) => (summary.into_owned().into(), causes),
        _ => ("".into(), Vec::new()),
    };
    let (host, vm) = QualifiedName::divide(name);
    Ok(FindingEntry {
        finding: finding.into(),
        host: host.map(Into::into),
        vm: vm.into(),
        from,
        to,
        open: to.is_none(),
        summary,
        offset: offset.0,
        causes,
    })
}

struct FindingVisitor<'v> {
    window: &'v Window,
    words: Words,
    vms: HashMap<u32, VmFold>,
}

impl SummaryVisitor for FindingVisitor<'_> {
    fn segment(&mut self, _first: Offset, _last: Offset) {}

    fn record(&mut self, _key: CountKey, _at: UnixMicros, _offset: Offset) {}

    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>) {
        let window = self.window;
        let fold = self.vms.entry(vm).or_insert_with(|| VmFold::new(window, false));
        fold.change(&mut self.words, offset, &change);
    }
}

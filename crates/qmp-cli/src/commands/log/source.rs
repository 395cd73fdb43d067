//! Sources of records for `qmp log`: a journal's file, or a hub.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use qmp_journal::{Query, Reader};
use qmp_settings::suggest;
use qmp_wire::{Offset, QualifiedName, Record};

use super::request::LogRequest;
use crate::exit::Failure;
use crate::filter::VmArgs;
use crate::hub::{HubArgs, HubClient, HubError, HubFollow, HubItem, Query as HubQuery};
use crate::output::{self, Output};
use crate::paths::{self, DefaultPaths};

/// Printed when a stream continues. The stream has no gap; the VM may have one.
pub(in crate::commands) const HUB_BACK: &str = "qmp: the hub is back, and no record is missing here; events that the hub may have missed lie between two epochs";

/// Records that are read from the file at a time.
pub(in crate::commands) const BATCH_MAX_RECORDS: usize = 1_024;

/// A source of records.
pub(in crate::commands) enum Source {
    File(Reader),
    Hub(HubClient),
}

/// Returns the given file, or else the hub if it answers, or else the file where it would write.
///
/// If the command line names a hub that does not answer, that is an error: the file may belong to another hub. If the
/// environment names both the hub and its file, the file is used.
pub(in crate::commands) async fn choose(journal: Option<&Path>, hub: &HubArgs) -> Result<Source, Failure> {
    if let Some(path) = journal {
        return Ok(Source::File(Reader::open(path)?));
    }
    let client = hub.client()?;
    let unreachable = match client.info().await {
        Ok(_) => return Ok(Source::Hub(client)),
        Err(error) => error,
    };
    let named = paths::journal_of_environment();
    let is_same_environment = named.is_some() && hub.is_of_the_environment();
    if !unreachable.is_passing() || (hub.hub.is_some() && !is_same_environment) {
        return Err(unreachable.into());
    }
    let path = named.unwrap_or_else(|| DefaultPaths::of_this_user().journal());
    if path.exists() {
        let reader = Reader::open(&path)?;
        output::note(format_args!(
            "note: {unreachable}; this is from {}, and nothing is certain after its last record",
            path.display()
        ));
        return Ok(Source::File(reader));
    }
    Err(Failure::failed(format_args!("{unreachable}, and there is no journal at {}", path.display()))
        .hint("start a hub: qmp serve --attach NAME=unix:/path/of/qmp.sock")
        .hint("or give the source: --journal FILE, or --hub ADDR"))
}

/// The summary of a print.
pub(super) struct PrintSummary {
    pub(super) records: u64,
    /// The requested records begin after this offset.
    pub(super) after: Offset,
}

impl Source {
    /// Prints the requested records.
    pub(super) async fn print(
        &self,
        request: &LogRequest,
        output: &mut Output,
    ) -> Result<PrintSummary, Failure> {
        match self {
            Self::File(reader) => from_file(reader, request, output).await,
            Self::Hub(client) => from_hub(client.clone(), request, output).await,
        }
    }

    /// Reports damage of the journal after the offset `after`, as far as it was read, and fails if records are lost by it.
    pub(in crate::commands) async fn check_damage(&self, after: Offset) -> Result<(), Failure> {
        match self {
            Self::File(reader) => {
                let spans = reader.damage();
                let spans = spans.iter().filter(|span| span.last > after);
                let spans = spans.map(|span| (span.to_string(), span.loses_records()));
                check_damage(&reader.path().display(), spans)
            }
            Self::Hub(client) => {
                let info = client.info().await?;
                let file = info.journal.as_deref().unwrap_or_else(|| Path::new("the journal")).display();
                let spans = info.damaged.into_iter().filter(|span| span.last > after.0);
                check_damage(&file, spans.map(|span| (span.desc, span.lost)))
            }
        }
    }

    /// Passes the selected records after `after` to `take`, up to the present head or until `take` breaks. The two queries are
    /// the same one for a file and for the hub.
    pub(in crate::commands) async fn each(
        &self,
        (in_file, at_hub): (Query, HubQuery),
        after: Offset,
        take: &mut (dyn FnMut(Record<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(), Failure> {
        match self {
            Self::File(reader) => {
                let mut cursor = reader.cursor(in_file, after);
                loop {
                    let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
                    if batch.is_empty() {
                        return Ok(());
                    }
                    for record in batch {
                        if take(record).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
            Self::Hub(client) => {
                let mut lines = client.records(&at_hub.with("after", after.0)).await?;
                while let Some(record) = lines.next_record().await? {
                    if take(record).is_break() {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }

    /// Notes each name of a VM and of a host, patterns aside, that has no record. Returns whether there is one.
    pub(in crate::commands) async fn note_unknown_vms(&self, vms: &VmArgs) -> Result<bool, Failure> {
        let mut is_any_unknown = false;
        let vm = |name: &String| ("VM", VmArgs { vm: vec![name.clone()], host: Vec::new() }, name.clone());
        let host =
            |name: &String| ("host", VmArgs { vm: Vec::new(), host: vec![name.clone()] }, name.clone());
        for (what, named, name) in vms.vm.iter().map(vm).chain(vms.host.iter().map(host)) {
            if name.contains(['*', '?', '[', '{']) || self.has_record_of(&named).await? {
                continue;
            }
            let known: Vec<String> = match self {
                Self::File(reader) => reader.vms()?.into_iter().map(|vm| vm.vm.into()).collect(),
                Self::Hub(client) => client.vms().await?.into_iter().map(|vm| vm.vm).collect(),
            };
            let known = known.iter().flat_map(|known| {
                let (host, vm) = QualifiedName::divide(known);
                let names = if what == "VM" { [Some(vm), Some(known.as_str())] } else { [host, None] };
                names.into_iter().flatten()
            });
            let near = suggest::nearest(&name, known);
            let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            output::note(format_args!("note: the journal has no {what} {name}{advice}"));
            is_any_unknown = true;
        }
        Ok(is_any_unknown)
    }

    /// Whether a VM of these is known in the journal's file, or has a record at the hub.
    async fn has_record_of(&self, vms: &VmArgs) -> Result<bool, Failure> {
        match self {
            Self::File(reader) => {
                let query = vms.query()?;
                Ok(reader.vms()?.iter().any(|vm| query.has_vm(&vm.vm)))
            }
            Self::Hub(client) => {
                let mut query = HubQuery::default();
                query.add_vms(vms);
                Ok(client.records(&query.with("last", 1)).await?.next_record().await?.is_some())
            }
        }
    }
}

/// The note that retention removed records of the request.
pub(in crate::commands) fn removed(records: u64) -> String {
    let (noun, verb) = if records == 1 { ("record", "was") } else { ("records", "were") };
    format!(
        "qmp: {records} {noun} after that position {verb} removed: the journal keeps no more ([retention])"
    )
}

async fn from_file(
    reader: &Reader,
    request: &LogRequest,
    output: &mut Output,
) -> Result<PrintSummary, Failure> {
    let head = reader.head()?;
    check_after(request, head, &reader.path().display())?;
    let query = request.journal_query()?;
    let mut printed = PrintSummary { records: 0, after: request.after };
    let mut position = request.after;
    if let Some(last) = request.last {
        let tail = reader.last(&query, last)?;
        let behind = |record: &&Record<'_>| record.offset.is_none_or(|offset| offset > request.after);
        if let Some(first) = tail.records.iter().find(behind).and_then(|first| first.offset) {
            printed.after = before(first);
        }
        for record in tail.records.iter().filter(behind) {
            output.record(record)?;
            printed.records += 1;
        }
        if !request.follow {
            output.flush()?;
            return Ok(printed);
        }
        position = position.max(tail.head);
    }
    let mut cursor = reader.cursor(query, position);
    loop {
        let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
        if let Some(gone) = cursor.take_removed() {
            output::note(removed(gone.records()));
        }
        for record in &batch {
            output.record(record)?;
            printed.records += 1;
        }
        if !batch.is_empty() {
            continue;
        }
        output.flush()?;
        if !request.follow {
            return Ok(printed);
        }
        cursor.wait().await?;
    }
}

/// Fails if the request begins after the head: committed records stay, so the offset belongs to another journal.
pub(in crate::commands) fn check_after(
    request: &LogRequest,
    head: Offset,
    journal: &impl fmt::Display,
) -> Result<(), Failure> {
    let LogRequest { after, after_option, .. } = request;
    if *after <= head {
        return Ok(());
    }
    let (after, head) = (after.0, head.0);
    let what = format_args!("{journal} ends at offset {head}: offset {after} belongs to another journal");
    Err(Failure::failed(what).hint(format_args!(
        "leave {after_option} out, or give an offset of this journal; a time is not a bare number"
    )))
}

fn before(offset: Offset) -> Offset {
    Offset(offset.0.saturating_sub(1))
}

/// Prints the damage, and fails if requested records may be lost.
fn check_damage(
    file: &impl fmt::Display,
    spans: impl Iterator<Item = (String, bool)>,
) -> Result<(), Failure> {
    let mut is_any_lost = false;
    for (desc, is_lost) in spans {
        output::note(format_args!("qmp: {desc}"));
        is_any_lost |= is_lost;
    }
    if !is_any_lost {
        return Ok(());
    }
    Err(Failure::failed(format_args!("{file} is damaged: lost records are not printed"))
        .hint(format_args!("qmp journal verify {file} lists all of it")))
}

async fn from_hub(
    client: HubClient,
    request: &LogRequest,
    output: &mut Output,
) -> Result<PrintSummary, Failure> {
    let query = request.hub_query();
    let mut position = request.after;
    let mut printed = PrintSummary { records: 0, after: request.after };
    // The head is read first: later records that match are among the last, or are followed.
    let info = client.info().await?;
    let head = Offset(info.head);
    let journal = info.journal.as_deref().unwrap_or_else(|| Path::new("the journal"));
    check_after(request, head, &journal.display())?;
    if request.last.is_some() || !request.follow {
        let mut history = query.with("after", position.0);
        if let Some(last) = request.last {
            history.add("last", last);
        }
        let mut lines = client.records(&history).await?;
        if lines.removed() > 0 {
            output::note(removed(lines.removed()));
        }
        while let Some(line) = lines.next().await? {
            if request.last.is_some() && printed.records == 0 {
                let first = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?.offset;
                printed.after = first.map_or(printed.after, before);
            }
            printed.records += 1;
            if request.follow || !output.json_line(line)? {
                let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
                position = record.offset.unwrap_or(position);
                output.record(&record)?;
            }
        }
        position = position.max(head);
        output.flush()?;
    }
    if !request.follow {
        return Ok(printed);
    }
    let mut follow = HubFollow::new(client, query, position);
    loop {
        match follow.next().await? {
            HubItem::Record(record) => output.record(&record)?,
            HubItem::Lost(error) => output::note(format_args!("qmp: {error}; retrying")),
            HubItem::Removed(records) => output::note(removed(records)),
            HubItem::Back => output::note(format_args!("{HUB_BACK}")),
        }
        if !follow.has_record() {
            output.flush()?;
        }
    }
}

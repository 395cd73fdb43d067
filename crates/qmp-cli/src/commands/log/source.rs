//! Where `qmp log` reads: a journal's file, or a hub.

use std::fmt;
use std::path::Path;

use qmp_journal::Reader;
use qmp_settings::suggest;
use qmp_wire::{Offset, Record};

use super::Wanted;
use crate::commands::left;
use crate::exit::Failure;
use crate::hub::{HubArgs, HubClient, HubError, HubFollow, HubItem};
use crate::output::{self, Output};
use crate::paths::{self, Places};

/// What is said when a stream goes on. That it has no gap does not mean that a VM has none.
pub(in crate::commands) const HUB_BACK: &str = "qmp: the hub is back, and no record is missing here; what it may have missed of a VM lies between two epochs";

/// Records taken from the file at once.
const BATCH_MAX_RECORDS: usize = 1_024;

/// A place to read from.
pub(in crate::commands) enum Source {
    File(Reader),
    Hub(HubClient),
}

/// The file that was named, or the hub if it answers, or the file where it would write.
///
/// A hub that was named and does not answer is an error: the file of another hub would tell another story. Not so
/// where the environment names both the hub and its file.
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
    let belong_together = named.is_some() && hub.is_of_the_environment();
    if !unreachable.is_passing() || (hub.hub.is_some() && !belong_together) {
        return Err(unreachable.into());
    }
    let path = named.unwrap_or_else(|| Places::of_this_user().journal());
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
        .hint("or name what to read: --journal FILE, or --hub ADDR"))
}

/// What was printed.
pub(super) struct Printed {
    pub(super) records: u64,
    /// The records that were wanted are those after this offset.
    pub(super) after: Offset,
}

impl Source {
    /// Prints what is wanted.
    pub(super) async fn print(&self, wanted: &Wanted, output: &mut Output) -> Result<Printed, Failure> {
        match self {
            Self::File(reader) => from_file(reader, wanted, output).await,
            Self::Hub(client) => from_hub(client.clone(), wanted, output).await,
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

    /// What is wrong with names of VMs, patterns aside, of which there is no record.
    pub(super) async fn unknown_vms(&self, names: &[String]) -> Result<Vec<String>, Failure> {
        let mut unknown = Vec::new();
        for name in names.iter().filter(|name| !name.contains(['*', '?', '[', '{'])) {
            let known: Vec<String> = match self {
                Self::File(reader) => reader.vms()?.into_iter().map(|vm| vm.vm.into()).collect(),
                Self::Hub(client) if left::last(client, name, None).await?.is_some() => continue,
                Self::Hub(client) => client.vms().await?.into_iter().map(|vm| vm.vm).collect(),
            };
            if !known.contains(name) {
                let near = suggest::nearest(name, known.iter().map(String::as_str));
                let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                unknown.push(format!("the journal has no VM {name}{advice}"));
            }
        }
        Ok(unknown)
    }
}

/// What somebody is told who asks for what is kept no longer.
pub(in crate::commands) fn removed(records: u64) -> String {
    let (noun, verb) = if records == 1 { ("record", "is") } else { ("records", "are") };
    format!("qmp: {records} {noun} behind that place {verb} gone: the journal keeps no more ([retention])")
}

async fn from_file(reader: &Reader, wanted: &Wanted, output: &mut Output) -> Result<Printed, Failure> {
    let head = reader.head()?;
    if wanted.after > head {
        // What was committed stays, so it is of another journal.
        let (after, head) = (wanted.after.0, head.0);
        return Err(Failure::failed(format_args!(
            "{} ends at offset {head}: {after} is an offset of another journal",
            reader.path().display()
        ))
        .hint("leave --after out, or give an offset of this journal"));
    }
    let query = wanted.of_journal()?;
    let mut printed = Printed { records: 0, after: wanted.after };
    let mut position = wanted.after;
    if let Some(last) = wanted.last {
        let tail = reader.last(&query, last)?;
        let behind = |record: &&Record<'_>| record.offset.is_none_or(|offset| offset > wanted.after);
        if let Some(first) = tail.records.iter().find(behind).and_then(|first| first.offset) {
            printed.after = before(first);
        }
        for record in tail.records.iter().filter(behind) {
            output.record(record)?;
            printed.records += 1;
        }
        if !wanted.follow {
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
        if !wanted.follow {
            return Ok(printed);
        }
        cursor.wait().await?;
    }
}

fn before(offset: Offset) -> Offset {
    Offset(offset.0.saturating_sub(1))
}

/// Prints what is damaged, and fails if records are lost by it.
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
    Err(Failure::failed(format_args!("{file} is damaged: what it does not have any more is not printed"))
        .hint(format_args!("qmp journal verify {file} tells all of it")))
}

async fn from_hub(client: HubClient, wanted: &Wanted, output: &mut Output) -> Result<Printed, Failure> {
    let query = wanted.of_hub();
    let mut position = wanted.after;
    let mut printed = Printed { records: 0, after: wanted.after };
    if wanted.last.is_some() || !wanted.follow {
        // Asked first: what matches and comes after this head is among the last, or is followed.
        let head = Offset(client.info().await?.head);
        let mut asked = query.with("after", position.0);
        if let Some(last) = wanted.last {
            asked.add("last", last);
        }
        let mut lines = client.records(&asked).await?;
        if lines.removed() > 0 {
            output::note(removed(lines.removed()));
        }
        while let Some(line) = lines.next().await? {
            if wanted.last.is_some() && printed.records == 0 {
                let first = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?.offset;
                printed.after = first.map_or(printed.after, before);
            }
            printed.records += 1;
            if wanted.follow || !output.json_line(line)? {
                let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
                position = record.offset.unwrap_or(position);
                output.record(&record)?;
            }
        }
        position = position.max(head);
        output.flush()?;
    }
    if !wanted.follow {
        return Ok(printed);
    }
    let mut follow = HubFollow::new(client, query, position);
    loop {
        match follow.next().await? {
            HubItem::Record(record) => output.record(&record)?,
            HubItem::Lost(error) => output::note(format_args!("qmp: {error}; asking again")),
            HubItem::Removed(records) => output::note(removed(records)),
            HubItem::Back => output::note(format_args!("{HUB_BACK}")),
        }
        if !follow.has_record() {
            output.flush()?;
        }
    }
}

//! `qmp journal verify`: checks a journal for damage.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use qmp_history::DIGEST;
use qmp_journal::{VerifyReport, verify_with};
use serde_json::json;

use super::backup::journal_of;
use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::output;
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Check the journal's file
#[derive(Args, Debug)]
pub struct Journal {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Read every record, and compare everything that the file stores twice
    ///
    /// Checks pages, records, numbering, checksums, indexes and summaries of sealed segments, and counts. Prints each fault; the
    /// exit code is 1 if there is one. A hub may write the file meanwhile. The default FILE is the journal of the hub that answers, or else
    /// the one where a hub would write.
    Verify(Verify),
}

#[derive(Args, Debug)]
struct Verify {
    /// The journal, or a copy of one
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

impl Journal {
    /// Checks the file.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let JournalCommand::Verify(Verify { file, json, hub }) = self.command;
        let path = journal_of(file.as_deref(), &hub).await?;
        let of = path.clone();
        let reading = tokio::task::spawn_blocking(move || verify_with(&of, DIGEST));
        let progress = Progress::new(terminal, format!("checking {}", path.display()));
        let found = progress.during(reading).await.map_err(Failure::failed)??;
        output::print(&if json { line(&path, &found) } else { text(&path, &found) })?;
        Ok(if found.faults.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

fn text(path: &Path, found: &VerifyReport) -> String {
    let mut text: String = found.faults.iter().map(|fault| format!("{fault}\n")).collect();
    if found.more_faults > 0 {
        text += &format!("and {} more faults\n", found.more_faults);
    }
    for (first, last) in &found.lost {
        text += &format!("records {} to {} are noted as lost\n", first.0, last.0);
    }
    let VerifyReport { records, segments, unsummed, sealed, first, head, .. } = found;
    let summed = match segments {
        0 => "no segment is sealed yet".to_owned(),
        segments => format!("{} of {segments} sealed segments with a checksum", segments - unsummed),
    };
    // A changed record is noticed by a checksum alone.
    let first = first.0.max(sealed.0 + 1);
    let unsealed = match head.0 {
        head if head >= first => format!("; no checksum covers records {first} to {head} yet"),
        _ => String::new(),
    };
    let verdict = match found.faults.is_empty() {
        false => "damaged",
        true if unsealed.is_empty() && *unsummed == 0 => "whole",
        true => "no fault found",
    };
    text + &format!("{}: {verdict}; {records} records, {summed}{unsealed}\n", path.display())
}

fn line(path: &Path, found: &VerifyReport) -> String {
    let lost: Vec<[u64; 2]> = found.lost.iter().map(|(first, last)| [first.0, last.0]).collect();
    let line = json!({
        "journal": path.display().to_string(), "first": found.first.0, "head": found.head.0, "records": found.records,
        "segments": found.segments, "sealed": found.sealed.0, "without_checksum": found.unsummed, "lost": lost, "faults": found.faults,
        "more_faults": found.more_faults,
    });
    format!("{line}\n")
}

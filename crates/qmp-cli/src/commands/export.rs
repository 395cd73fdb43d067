//! `qmp export`: records as files, for other programs and for keeping.

mod origin;
mod reading;
mod lines;
mod parquet;

use std::path::PathBuf;

use clap::Args;
use qmp_wire::Offset;

use super::log::request::LogRequest;
use super::log::source;
use crate::exit::{Exit, Failure};
use crate::filter::RecordArgs;
use crate::hub::HubArgs;
use crate::output;
use crate::render::Renderer;
use crate::terminal::Terminal;
use crate::window::WindowArgs;

/// Write records of the journal to files: Parquet, JSON Lines or CSV
///
/// Reads through the hub if one answers, or else the journal's file; with --journal always that file.
///
/// --parquet adds to a folder: DIR/day=2026-01-02/host=node1/part-FIRST-LAST.parquet, with the offsets of the first and the
/// last record. A second export adds only what is new; files that are there are not changed. --jsonl and --csv write one
/// file, which has its name once it is whole.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    records: RecordArgs,

    #[command(flatten)]
    window: WindowArgs,

    /// Replace FILE if it exists
    #[arg(long, conflicts_with = "parquet")]
    force: bool,

    /// The host of the VMs whose records name none, instead of the hub's host
    #[arg(long, value_name = "NAME", requires = "parquet")]
    local_host: Option<String>,

    /// Read this file and no hub, whether or not a hub writes it
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Target {
    /// Add Parquet files to this folder
    #[arg(long, value_name = "DIR")]
    parquet: Option<PathBuf>,

    /// Write JSON Lines, as qmp log --json prints them; - is the standard output
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,

    /// Write comma-separated values, as qmp log --csv prints them; - is the standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  qmp export --parquet /archive/vms               run again, it adds what is new
  duckdb -c \"SELECT host, vm, count(*) FROM '/archive/vms/**/*.parquet' GROUP BY ALL\"
  qmp export --jsonl vms.jsonl --since yesterday --until today
  qmp export --csv - --event 'BLOCK_*' | head
  qmp import /archive/vms --journal restored.db";

impl Export {
    /// Writes the files.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        for warning in self.records.warnings() {
            output::note(format_args!("note: {warning}"));
        }
        let request = self.request(terminal)?;
        let source = source::choose(self.journal.as_deref(), &self.hub).await?;
        let Target { parquet, jsonl, csv } = &self.target;
        let begin = if let Some(folder) = parquet {
            parquet::write(folder, self.local_host.as_deref(), &request, &source, terminal).await?
        } else {
            let (file, is_csv) = (jsonl.as_ref().or(csv.as_ref()).expect("one of the group"), csv.is_some());
            let is_terminal = file.as_os_str() == "-" && terminal.stdout_is_terminal();
            let renderer = if is_csv { Renderer::Csv } else { Renderer::Json { for_terminal: is_terminal } };
            lines::write(file, self.force, renderer, &request, &source, terminal).await?
        };
        source.check_damage(begin).await?;
        Ok(Exit::Done)
    }

    fn request(&self, terminal: &Terminal) -> Result<LogRequest, Failure> {
        let (since, until) = self.window.window(&terminal.now())?;
        self.records.vms.query()?;
        self.records.events.query().map_err(|error| Failure::usage(format_args!("--event: {error}")))?;
        Ok(LogRequest {
            records: self.records.clone(),
            since,
            until,
            after: Offset(0),
            after_option: "--since",
            last: None,
            follow: false,
        })
    }
}

//! `qmp stats`: how many records, how often, and when.

mod by;
mod counted;
mod member;
mod table;

use std::path::PathBuf;

use clap::Args;
use qmp_history::{CountsRequest, Scope};
use qmp_host::clock;
use qmp_wire::{Offset, UnixMicros};

use self::by::By;
use self::counted::{Counts, SPARK_COLUMNS};
use super::log::source::{self, Source};
use crate::exit::{Exit, Failure};
use crate::filter::RecordArgs;
use crate::hub::{HubArgs, Query};
use crate::output;
use crate::terminal::Terminal;
use crate::time::write;
use crate::window::{Window, WindowArgs};

/// Show how many records there are, by event, VM, host, hour, weekday, finding, kind or severity
///
/// Counts through the hub if one answers, or else in the journal's file; with --journal always in that file. The bars show
/// when the records were received: the first column is the begin of the time, the last its end. Windows of an hour and more
/// begin and end at whole minutes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Stats {
    /// By what to count: event, vm, host, kind, severity, finding, hour or weekday; or by the value of a member of the data, such
    /// as data.node-name. The host of the journal's own VMs is -
    ///
    /// "finding" counts what was concluded. The hub's evidence (command, process-ended, query) has the form of findings and is
    /// no conclusion: it is in the counts by vm, host, kind, severity, hour and weekday, and --where finding=query selects it.
    #[arg(long, value_name = "FACET", default_value = "event")]
    by: By,

    #[command(flatten)]
    records: RecordArgs,

    #[command(flatten)]
    window: WindowArgs,

    /// At most N names: those with the most records
    #[arg(short = 'n', long = "top", value_name = "N", default_value_t = 20)]
    top: usize,

    /// Draw the bars with ASCII characters
    #[arg(long)]
    ascii: bool,

    /// Print one JSON object a line (the default when the output is not a terminal)
    #[arg(long)]
    json: bool,

    /// Print comma-separated values under a line of column names
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    /// Hours and weekdays in UTC instead of local time
    #[arg(long)]
    utc: bool,

    /// Read this file and no hub, whether or not a hub writes it
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp stats --since 7d
  qmp stats --by vm --event 'BLOCK_*' --since today
  qmp stats --by hour --vm web1
  qmp stats --by host --since 24h                        hosts of a fleet
  qmp stats --by data.node-name --event BLOCK_IO_ERROR   I/O errors by disk
  qmp stats --by vm --event RESET --since 7d             reboots of this week
  qmp stats --by vm --where finding=command              commands through the hub, by VM
  qmp stats --by finding --json | jq -r 'select(.count > 10) | .name'
  qmp stats --journal backup.db --by weekday --csv > weekdays.csv";

/// The most names that are requested.
const TOP_MAX: usize = 1_000;

impl Stats {
    /// Prints the counts.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        for warning in self.records.warnings() {
            output::note(format_args!("note: {warning}"));
        }
        let (since, until) = self.window.window(&terminal.now())?;
        let zone_micros = if self.utc { 0 } else { zone_micros(terminal) };
        let source = source::choose(self.journal.as_deref(), &self.hub).await?;
        let counts = self.count(&source, (since, until), zone_micros).await?;
        let text = match (self.csv, self.json || !terminal.stdout_is_terminal()) {
            (true, _) => table::csv(&counts, self.by.name()),
            (false, true) => table::json(&counts, self.by.name()),
            (false, false) => table::text(&counts, self.by.name(), self.ascii || !is_utf8()),
        };
        output::print(&text)?;
        let is_wider = since.is_some_and(|UnixMicros(since)| counts.since != since)
            || until.is_some_and(|UnixMicros(until)| counts.until != until);
        if is_wider {
            let [from, to] =
                [counts.since, counts.until].map(|at| write::local(UnixMicros(at), &terminal.zone()));
            output::note(format_args!("note: long spans are counted in whole minutes: from {from} to {to}"));
        }
        if counts.total == 0 {
            source.note_unknown_vms(&self.records.vms).await?;
        }
        source.check_damage(Offset(0)).await?;
        Ok(Exit::Done)
    }

    async fn count(
        &self,
        source: &Source,
        (since, until): Window,
        zone_micros: i64,
    ) -> Result<Counts, Failure> {
        let query = self.records.query(since, until)?;
        let facet = match &self.by {
            By::Facet(facet) => *facet,
            By::Member { name, path } => {
                let queries = (query, self.filters(since, until));
                return member::count(source, queries, (name, path), (since, until), self.top).await;
            }
        };
        match source {
            Source::File(reader) => {
                let request = CountsRequest {
                    scope: Scope { query, ..Scope::default() },
                    by: vec![facet],
                    buckets: SPARK_COLUMNS,
                    top: self.top,
                    zone_micros,
                };
                let counted = qmp_history::counts(reader, &request, clock::now())?;
                serde_json::to_value(counted).and_then(serde_json::from_value).map_err(Failure::failed)
            }
            Source::Hub(client) => {
                let mut query = self.filters(since, until);
                query.add("by", facet.name());
                query.add("buckets", SPARK_COLUMNS);
                query.add("top", self.top.min(TOP_MAX));
                query.add("zone", zone_text(zone_micros));
                let mut counts: Counts = client.counts(&query).await?;
                while let Some(read_to) = counts.read_to {
                    counts.add(client.counts(&query.with("after", read_to)).await?);
                }
                Ok(counts)
            }
        }
    }

    /// The selection of records, as parameters of the hub.
    fn filters(&self, since: Option<UnixMicros>, until: Option<UnixMicros>) -> Query {
        let mut query = Query::default();
        query.add_records(&self.records, since, until);
        query
    }
}

/// The offset of the local zone from UTC.
fn zone_micros(terminal: &Terminal) -> i64 {
    i64::from(terminal.now().offset().seconds()) / 60 * 60_000_000
}

fn zone_text(micros: i64) -> String {
    let minutes = micros / 60_000_000;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Whether the locale says that the terminal shows UTF-8.
fn is_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use qmp_findings::{COMMAND, PROCESS_ENDED, QUERY};

    use super::*;

    #[test]
    fn help_names_the_records_that_are_not_counted_as_findings() {
        let help = Stats::augment_args(clap::Command::new("stats")).render_long_help().to_string();
        let words: Vec<&str> = help.split_whitespace().collect();
        let evidence = format!("evidence ({COMMAND}, {PROCESS_ENDED}, {QUERY})");
        assert!(words.join(" ").contains(&evidence), "{help}");
    }

    #[test]
    fn zone_is_written_as_the_hub_reads_it() {
        for (minutes, expected) in [(0, "+00:00"), (120, "+02:00"), (-210, "-03:30"), (345, "+05:45")] {
            assert_eq!(zone_text(minutes * 60_000_000), expected);
        }
    }
}

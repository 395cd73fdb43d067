//! `qmp timeline`: the lanes of VMs over time, as a picture or as a trace.

mod look;
mod lanes;
mod axis;
mod svg;
mod perfetto;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use jiff::tz::TimeZone;
use qmp_history::{LaneOrder, Scope, TimelineRequest};
use qmp_host::clock;

use self::lanes::Lanes;
use super::log::source::{self, Source};
use crate::exit::{Exit, Failure};
use crate::filter::VmArgs;
use crate::hub::{HubArgs, Query};
use crate::output;
use crate::terminal::Terminal;
use crate::time::write;
use crate::window::{Window, WindowArgs};

/// Draw the run states, gaps, findings and events of VMs over time
///
/// --svg draws the lanes of the hub's page, for a report. --perfetto writes a trace for ui.perfetto.dev, which reads
/// the file in the browser: a group of tracks for each VM, with run states, gaps and findings as slices and events as instants.
/// Without --since, the time begins with the first record of the journal; without --until, it ends now.
///
/// Reads through the hub if one answers, or else the journal's file; with --journal always that file. FILE is overwritten; - is
/// the standard output.
///
/// An interval shorter than 1/1200 of the time (in a trace, 1/4000) is joined with its neighbours, and counted. Events are drawn
/// one by one if there are at most 2,000 (in a trace, 10,000), or else counted by severity.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("outputs").args(["svg", "perfetto"]).required(true).multiple(true))]
pub struct Timeline {
    /// Draw a picture (SVG)
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write a trace (JSON) for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,

    #[command(flatten)]
    vms: VmArgs,

    #[command(flatten)]
    window: WindowArgs,

    /// The order of the VMs
    #[arg(long, value_name = "ORDER", value_enum, default_value_t)]
    sort: Sort,

    /// At most N VMs, the first in that order; 1,000 at most
    #[arg(short = 'n', long = "lanes", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    lanes: u16,

    /// Print times in UTC instead of local time
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
  qmp timeline --svg day.svg --since 24h
  qmp timeline --svg incident.svg --vm db1 --since \"yesterday 02:00\" --until \"yesterday 04:00\"
  qmp timeline --perfetto trace.json --vm 'web*' --since 1h
  qmp timeline --journal backup.db --sort trouble -n 20 --svg - > worst.svg";

/// The order of lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By name
    #[default]
    Name,
    /// Those in trouble first
    Trouble,
    /// Those with the most records first
    Activity,
}

/// What a kind of output takes from the journal.
#[derive(Clone, Copy, Debug)]
struct Detail {
    /// Intervals shorter than a bucket are joined.
    buckets: u32,
    /// The most events that are listed.
    marks: usize,
}

/// Somewhat more buckets than the picture has pixels; more marks would cover each other.
const PICTURE: Detail = Detail { buckets: 1_200, marks: 2_000 };

/// The most that a hub returns in one response.
const TRACE: Detail = Detail { buckets: qmp_history::BUCKETS_MAX, marks: 10_000 };

impl Timeline {
    /// Writes the files.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        self.check_outputs()?;
        let window = self.window.window(&terminal.now())?;
        let zone = if self.utc { TimeZone::UTC } else { terminal.zone() };
        let source = source::choose(self.journal.as_deref(), &self.hub).await?;
        let mut is_empty = false;
        if let Some(path) = &self.svg {
            let lanes = self.read(&source, window, PICTURE).await?;
            is_empty |= lanes.lanes_total == 0;
            write(path, &svg::draw(&lanes, &zone), &Summary { path, lanes: &lanes, zone: &zone })?;
        }
        if let Some(path) = &self.perfetto {
            let lanes = self.read(&source, window, TRACE).await?;
            is_empty |= lanes.lanes_total == 0;
            write(path, &perfetto::trace(&lanes), &Summary { path, lanes: &lanes, zone: &zone })?;
        }
        if is_empty {
            source.note_unknown_vms(&self.vms).await?;
        }
        source.check_damage(qmp_wire::Offset(0)).await?;
        Ok(Exit::Done)
    }

    /// Fails if one file would be written twice.
    fn check_outputs(&self) -> Result<(), Failure> {
        let (Some(svg), Some(trace)) = (&self.svg, &self.perfetto) else { return Ok(()) };
        // Without `.` and repeated slashes.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if absolute(svg) != absolute(trace) {
            return Ok(());
        }
        let same = format_args!("--svg and --perfetto write the same file: {}", svg.display());
        Err(Failure::usage(same).hint("give each a file of its own"))
    }

    async fn read(&self, source: &Source, window: Window, detail: Detail) -> Result<Lanes, Failure> {
        let query = self.vms.query()?;
        match source {
            Source::File(reader) => {
                let (since, until) = window;
                let query = qmp_journal::Query { since, until, ..query };
                let request = TimelineRequest {
                    scope: Scope { query, ..Scope::default() },
                    buckets: detail.buckets,
                    lanes: self.lanes.into(),
                    from: None,
                    sort: self.sort.into(),
                    marks: detail.marks,
                };
                let timeline = qmp_history::timeline(reader, &request, clock::now())?;
                serde_json::to_value(timeline).and_then(serde_json::from_value).map_err(Failure::failed)
            }
            Source::Hub(client) => Ok(client.timeline(&self.hub_query(window, detail)).await?),
        }
    }

    fn hub_query(&self, (since, until): Window, detail: Detail) -> Query {
        let mut query = Query::default();
        query.add_vms(&self.vms);
        if let Some(since) = since {
            query.add("since", write::rfc3339(since));
        }
        if let Some(until) = until {
            query.add("until", write::rfc3339(until));
        }
        query.add("buckets", detail.buckets);
        query.add("lanes", self.lanes);
        query.add("marks", detail.marks);
        query.add("sort", self.sort.name());
        query
    }
}

impl Sort {
    /// The name in a request.
    const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Trouble => "trouble",
            Self::Activity => "activity",
        }
    }
}

impl From<Sort> for LaneOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Name => Self::Name,
            Sort::Trouble => Self::Trouble,
            Sort::Activity => Self::Activity,
        }
    }
}

/// Writes a file, and notes what is in it.
fn write(path: &Path, text: &str, summary: &Summary<'_>) -> Result<(), Failure> {
    if path == Path::new("-") {
        output::print(text)?;
    } else {
        std::fs::write(path, text)
            .map_err(|error| Failure::failed(format_args!("cannot write {}: {error}", path.display())))?;
    }
    output::note(summary);
    Ok(())
}

/// What a file shows.
struct Summary<'a> {
    path: &'a Path,
    lanes: &'a Lanes,
    zone: &'a TimeZone,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, lanes, zone } = self;
        if *path != Path::new("-") {
            write!(f, "{}: ", path.display())?;
        }
        write!(f, "{}, {}", lanes.vms(), lanes.range(zone))?;
        if lanes.has_counts_only() {
            write!(
                f,
                "; too many events to list, so they are counted: --since, --until and --vm select fewer"
            )?;
        }
        if lanes.partial {
            write!(
                f,
                "; the hub had no time to count all records: ask again, or read the file with --journal"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use qmp_wire::UnixMicros;

    use super::*;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        timeline: Timeline,
    }

    fn parsed(line: &str) -> Result<Timeline, String> {
        let line = CommandLine::try_parse_from(std::iter::once("timeline").chain(line.split(' ')));
        line.map(|line| line.timeline).map_err(|error| error.to_string())
    }

    #[test]
    fn options_become_parameters_of_the_hub() {
        let timeline = parsed("--svg a.svg --vm web* --sort trouble -n 7").expect("good arguments");
        let window = (Some(UnixMicros(1_767_323_045_000_000)), None);
        assert_eq!(
            timeline.hub_query(window, PICTURE).to_string(),
            "?vm=web%2A&since=2026-01-02T03%3A04%3A05.000000Z&buckets=1200&lanes=7&marks=2000&sort=trouble"
        );
    }

    #[test]
    fn invalid_options_are_refused() {
        let cases = [
            ("--vm a", "<--svg <FILE>|--perfetto <FILE>>"),
            ("--svg a -n 0", "1..=1000"),
            ("--svg a -n 1001", "1..=1000"),
            ("--svg a --sort size", "possible values"),
        ];
        for (line, expected) in cases {
            let refusal = parsed(line).expect_err(line);
            assert!(refusal.contains(expected), "{line}: {refusal}");
        }
    }
}

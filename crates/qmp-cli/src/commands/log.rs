//! `qmp log`: what happened, from the journal.

pub(super) mod request;
pub(super) mod source;
mod reverse;

use std::path::PathBuf;

use clap::Args;
use jiff::Zoned;
use qmp_wire::Offset;

use self::request::LogRequest;
use self::source::Source;
use crate::exit::{Exit, Failure};
use crate::filter::{RecordArgs, VmArgs};
use crate::hub::HubArgs;
use crate::output::{self, Format, Output};
use crate::pager::{LESS_FOR_RECORDS, PagerArgs};
use crate::render::Renderer;
use crate::terminal::Terminal;
use crate::time::parse::{self, When, WhenError};

/// Show what happened: the records of the journal, oldest first
///
/// Reads through the hub if one answers, or else the journal's file; with --journal always that file. Times are those
/// of the VMs; --since and --until refer to the time at which the hub received a record.
///
/// TIME is written as 2h, 30min, 3d (that long ago), now, today, yesterday, 15:04, "yesterday 15:04",
/// "2026-01-02 15:04" (local), 2026-01-02T15:04:05Z, or @SECONDS since the Unix epoch. --since 15:04 is the last such
/// moment, --until 15:04 is today. An offset is a whole number.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Log {
    /// Only these VMs: names or patterns; as --vm
    #[arg(value_name = "VM")]
    named: Vec<String>,

    #[command(flatten)]
    records: RecordArgs,

    /// Only from this time on, or after this offset
    #[arg(long, short = 'S', value_name = "TIME|OFFSET")]
    since: Option<String>,

    /// Only before this time
    #[arg(long, short = 'U', value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,

    /// Only after this offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "since")]
    after: Option<u64>,

    /// Only the last N that match
    #[arg(short = 'n', long = "lines", value_name = "N")]
    last: Option<usize>,

    /// Continue with new records
    #[arg(long, short = 'f')]
    follow: bool,

    /// Newest records first
    #[arg(long, short = 'r', conflicts_with = "follow")]
    reverse: bool,

    /// Show the offset of each record, as for --after and qmp note --about; JSON and CSV always have it
    #[arg(long)]
    offsets: bool,

    #[command(flatten)]
    format: Format,

    /// Print comma-separated values under a line of column names
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    /// Read this file and no hub, whether or not a hub writes it
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    pager: PagerArgs,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp log --since today
  qmp log web3 -r                                 newest first
  qmp log --vm 'web*' --event 'BLOCK_*' --since 2h
  qmp log --event SHUTDOWN --where guest=true -n 20
  qmp log --host node1 --vm 'web*'                VMs of another host
  qmp log --kind attached --kind detached         the gaps, where events may be missing
  qmp log --follow --json | jq -c 'select(.event == \"GUEST_PANICKED\")'
  qmp log --journal backup.db --csv > events.csv";

impl Log {
    /// Prints the matching records, and with `--follow` new ones.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        for warning in self.records.warnings() {
            output::note(format_args!("note: {warning}"));
        }
        let request = self.request(terminal)?;
        let source = source::choose(self.journal.as_deref(), &self.hub).await?;
        let print = async || self.print(&source, &request, terminal).await;
        if self.follow { print().await } else { self.pager.page(terminal, LESS_FOR_RECORDS, print).await }
    }

    async fn print(
        &self,
        source: &Source,
        request: &LogRequest,
        terminal: &Terminal,
    ) -> Result<Exit, Failure> {
        let mut output = Output::new(match self.csv {
            true => Renderer::Csv,
            false => self.renderer(terminal),
        });
        let printing = async {
            if self.reverse {
                let renderer = || self.renderer(terminal);
                return reverse::print(source, request, &renderer, self.csv, &mut output).await;
            }
            source.print(request, &mut output).await
        };
        let ended = tokio::select! {
            ended = printing => ended,
            _ = tokio::signal::ctrl_c(), if self.follow => return Ok(Exit::Done),
        };
        let printed = ended?;
        output.flush()?;
        if printed.records == 0 {
            let is_noted = source.note_unknown_vms(&request.records.vms).await?;
            if !is_noted && terminal.stdout_is_terminal() {
                output::note("no record matches");
            }
        }
        source.check_damage(printed.after).await?;
        Ok(Exit::Done)
    }

    fn renderer(&self, terminal: &Terminal) -> Renderer {
        let mut renderer = self.format.renderer(terminal);
        if let Renderer::Human(human) = &mut renderer
            && self.offsets
        {
            human.show_offsets();
        }
        renderer
    }

    fn request(&self, terminal: &Terminal) -> Result<LogRequest, Failure> {
        let now = terminal.now();
        type Parse = fn(&str, &Zoned) -> Result<When, WhenError>;
        let read = |name: &str, text: &Option<String>, parse: Parse| -> Result<Option<When>, Failure> {
            let Some(text) = text.as_deref() else { return Ok(None) };
            let when = parse(text, &now).map_err(|error| Failure::usage(format_args!("{name}: {error}")))?;
            parse::future_note(name, text, when, &now).iter().for_each(output::note);
            Ok(Some(when))
        };
        let (mut after, mut since) = (self.after.map(Offset), None);
        match read("--since", &self.since, parse::parse_past)? {
            None => {}
            Some(When::After(offset)) => after = Some(offset),
            Some(When::At(moment)) => since = Some(moment),
        }
        let until = match read("--until", &self.until, parse::parse)? {
            None => None,
            Some(When::At(moment)) => Some(moment),
            Some(When::After(_)) => return Err(Failure::usage("--until: expected a time, found an offset")),
        };
        // Patterns are checked here, so that the error names the option.
        let vm = self.named.iter().chain(&self.records.vms.vm).cloned().collect();
        let vms = VmArgs { vm, host: self.records.vms.host.clone() };
        vms.query()?;
        self.records.events.query().map_err(|error| Failure::usage(format_args!("--event: {error}")))?;
        Ok(LogRequest {
            records: RecordArgs { vms, ..self.records.clone() },
            since,
            until,
            after: after.unwrap_or_default(),
            after_option: if self.since.is_some() { "--since" } else { "--after" },
            last: self.last,
            follow: self.follow,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        log: Log,
    }

    fn request(line: &str) -> Result<LogRequest, String> {
        let line = CommandLine::try_parse_from(std::iter::once("log").chain(line.split(' ')))
            .map_err(|error| error.to_string())?;
        let terminal = Terminal::detect(crate::terminal::ColorWhen::Never);
        line.log.request(&terminal).map_err(|failure| failure.to_string())
    }

    #[test]
    fn options_become_parameters_of_the_hub() {
        let line = "--vm web* --event STOP --event BLOCK_* --where action=a&b --kind event \
                    --since 2026-01-02T03:04:05Z --until @1767323046";
        let expected = "?vm=web%2A&event=STOP&event=BLOCK_%2A&where=action%3Da%26b&kind=event\
                        &since=2026-01-02T03%3A04%3A05.000000Z&until=2026-01-02T03%3A04%3A06.000000Z";
        assert_eq!(request(line).unwrap().hub_query().to_string(), expected);
    }

    #[test]
    fn vm_may_be_given_without_an_option() {
        assert_eq!(request("web3").unwrap().records.vms.vm, ["web3"]);
        assert_eq!(request("web3 db* --vm x").unwrap().records.vms.vm, ["web3", "db*", "x"]);
    }

    #[test]
    fn number_is_an_offset_and_not_a_time() {
        for line in ["--since 41", "--after 41"] {
            let request = request(line).unwrap();
            assert_eq!((request.after, request.since), (Offset(41), None), "{line}");
        }
    }

    #[test]
    fn invalid_options_are_refused() {
        let cases = [
            ("--until 41", "expected a time, found an offset"),
            ("--since soon", "--since: expected a time"),
            ("--vm [a", "--vm: bad pattern"),
            ("--event [a", "--event: bad pattern"),
            ("--where action", "bad condition"),
            ("--kind evnt", "unknown kind"),
            ("--csv --json", "cannot be used with"),
            ("--until 1h --follow", "cannot be used with"),
            ("-r --follow", "cannot be used with"),
            ("-n -1", "unexpected argument"),
        ];
        for (line, expected) in cases {
            let refusal = request(line).unwrap_err();
            assert!(refusal.contains(expected), "{line}: {refusal}");
        }
    }
}

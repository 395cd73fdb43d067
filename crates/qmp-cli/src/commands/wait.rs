//! `qmp wait`: until an event comes. For scripts.

use std::time::Duration;

use clap::Args;
use globset::Glob;
use qmp_client::Address;
use qmp_wire::{Offset, Record};
use tokio::time::Instant;

use super::log::source::removed;
use super::tail::is_gone;
use crate::exit::{Exit, Failure};
use crate::filter::{self, EventArgs, EventFilter};
use crate::hub::{HubArgs, HubClient, HubError, HubFollow, HubInfo, HubItem, Query, VmInfo};
use crate::live::{self, Live};
use crate::output::{self, Format, Output};
use crate::target::{Target, names_of};
use crate::terminal::Terminal;
use crate::time::parse::{self, When};
use crate::time::{span, write};
use crate::{suggest};

/// How long a VM may take to be attached after the hub (re)started before it counts as gone.
const ATTACH_GRACE: Duration = Duration::from_secs(5);

/// How often the hub is asked whether it has attached a VM.
const ATTACH_POLL: Duration = Duration::from_millis(100);

/// Wait until a VM reports an event, and print it
///
/// Exit codes: 0 the event came, 3 the time ran out, 4 the VM is gone. With --since OFFSET, events after that
/// offset count, even if they came before qmp wait was started: nothing is missed between two commands of a
/// script. A hub that restarts meanwhile is waited for, and nothing is missed by it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Wait {
    /// A monitor's address, or the name of a VM of the hub
    #[arg(value_name = "ADDR|NAME")]
    target: Target,

    /// The event's name, or a pattern such as 'BLOCK_JOB_*'
    event: String,

    /// Only with this value at this place of its data, such as reason=host-qmp-quit
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = filter::place)]
    wheres: Vec<String>,

    /// Events from here on count: an offset (of qmp exec or of a record), or a time such as 10s
    #[arg(long, value_name = "OFFSET|TIME")]
    since: Option<String>,

    /// Give up after this long, with exit code 3
    #[arg(long, value_name = "SPAN", value_parser = span::parse_or_seconds)]
    timeout: Option<Duration>,

    /// Go on when the VM goes away or is not there: wait across restarts
    #[arg(long)]
    keep_waiting: bool,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp wait web1 SHUTDOWN --timeout 30s
  qmp wait web1 'BLOCK_JOB_*' --where device=backup0
  qmp wait /run/web1.sock RESUME --timeout 5s --keep-waiting

  since=$(qmp exec web1 system_powerdown --json | jq .since)
  qmp wait web1 SHUTDOWN --since \"$since\" --timeout 60s || qmp exec web1 quit";

impl Wait {
    /// Waits, prints the record, and says with the exit code what became of it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let args = EventArgs { event: vec![self.event.clone()], wheres: self.wheres.clone() };
        let filter = args.filter()?;
        if let Some(doubt) = filter::doubt(&self.event) {
            output::note(format_args!("note: {doubt}"));
        }
        let waiting = async {
            match &self.target {
                Target::Address(address) => {
                    let address = address.clone().map_err(Failure::usage)?;
                    self.at_monitor(address, &filter).await
                }
                Target::Name(name) => self.at_hub(name, &filter, terminal).await,
            }
        };
        let record = match self.timeout {
            None => waiting.await?,
            Some(timeout) => {
                let late = |_| Failure::timed_out(format_args!("no {} within {timeout:?}", self.event));
                tokio::time::timeout(timeout, waiting).await.map_err(late)??
            }
        };
        let mut output = Output::new(self.format.renderer(terminal));
        output.record(&record)?;
        output.flush()?;
        Ok(Exit::Done)
    }

    async fn at_monitor(&self, address: Address, filter: &EventFilter) -> Result<Record<'static>, Failure> {
        if self.since.is_some() {
            return Err(Failure::usage("--since needs a journal, and an address has none")
                .hint("attach the VM to a hub (qmp serve --attach NAME=ADDR) and give its name"));
        }
        let name = names_of(std::slice::from_ref(&address)).remove(0);
        let mut live = live::follow(vec![(name, address)], None);
        while let Some(item) = live.recv().await {
            match item {
                Live::Record(record) if filter.is_match(&record) => return Ok(record),
                Live::Record(record) if is_gone(&record) && !self.keep_waiting => {
                    return Err(self.gone(&record.vm));
                }
                Live::Failed { error, is_last, .. } if is_last || !self.keep_waiting => {
                    return Err(live::connect_failure(&error));
                }
                _ => {}
            }
        }
        Err(Failure::gone("the monitor cannot be tried again"))
    }

    async fn at_hub(&self, name: &str, filter: &EventFilter, terminal: &Terminal) -> Result<Record<'static>, Failure> {
        if name.contains(['*', '?', '[', '{']) {
            return Err(Failure::usage(format_args!("qmp wait waits for one VM, and {name} is a pattern")));
        }
        let client = self.hub.client()?;
        let info = self.hub_info(&client).await?;
        known_vms(&client.vms().await?, name)?;
        let mut query = Query::default();
        query.add("vm", name);
        let mut position = Offset(info.head);
        match self.since(terminal)? {
            None => {}
            Some(When::After(offset)) if offset.0 > info.head => {
                return Err(Failure::usage(format_args!("--since {}: the journal ends at offset {}", offset.0, info.head))
                    .hint("offsets belong to one journal; was it replaced?"));
            }
            Some(When::After(offset)) => position = offset,
            Some(When::At(moment)) => {
                query.add("since", write::rfc3339(moment));
                position = Offset(0);
            }
        }
        let mut waiting = AtHub { client, name, filter, query, position };
        loop {
            if let Some(record) = waiting.history().await? {
                return Ok(record);
            }
            if !self.keep_waiting && !waiting.is_attached().await? {
                // What came between the history and the question counts, too.
                return waiting.history().await?.ok_or_else(|| self.gone(name));
            }
            match waiting.future(self.keep_waiting).await? {
                Next::Match(record) => return Ok(record),
                Next::Gone => return Err(self.gone(name)),
                Next::HubBack => {}
            }
        }
    }

    /// Asks the hub where its journal ends; with `--keep-waiting`, until there is a hub.
    async fn hub_info(&self, client: &HubClient) -> Result<HubInfo, HubError> {
        loop {
            match client.info().await {
                Err(error) if self.keep_waiting && error.is_passing() => tokio::time::sleep(ATTACH_POLL).await,
                other => return other,
            }
        }
    }

    fn since(&self, terminal: &Terminal) -> Result<Option<When>, Failure> {
        let wrong = |error| Failure::usage(format_args!("--since: {error}"));
        self.since.as_deref().map(|text| parse::parse(text, &terminal.now())).transpose().map_err(wrong)
    }

    fn gone(&self, vm: &str) -> Failure {
        Failure::gone(format_args!("{vm} is not attached, and no {} came", self.event))
            .hint("--since OFFSET looks through what came before; --keep-waiting waits until the VM is back")
    }
}

/// Waiting through the hub.
struct AtHub<'a> {
    client: HubClient,
    name: &'a str,
    filter: &'a EventFilter,
    query: Query,
    /// Everything up to here has been looked at.
    position: Offset,
}

/// How [`AtHub::future`] ends.
enum Next {
    Match(Record<'static>),
    Gone,
    HubBack,
}

impl AtHub<'_> {
    /// Looks through what the journal has behind the position.
    async fn history(&mut self) -> Result<Option<Record<'static>>, Failure> {
        loop {
            match self.try_history().await {
                Err(error) if error.is_passing() => tokio::time::sleep(ATTACH_POLL).await,
                other => return Ok(other?),
            }
        }
    }

    async fn try_history(&mut self) -> Result<Option<Record<'static>>, HubError> {
        let mut lines = self.client.records(&self.query.with("after", self.position.0)).await?;
        while let Some(line) = lines.next().await? {
            let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
            self.position = record.offset.unwrap_or(self.position);
            if self.filter.is_match(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Whether the VM is attached; one that the hub is only just connecting to is given some time.
    async fn is_attached(&self) -> Result<bool, Failure> {
        let deadline = Instant::now() + ATTACH_GRACE;
        loop {
            match self.client.vms().await {
                Ok(vms) => match known_vms(&vms, self.name)? {
                    known if known.iter().any(|vm| vm.is_attached()) => return Ok(true),
                    // "detached" is a VM that went away; one that was never there gets its error at once.
                    known if known.iter().all(|vm| vm.state == "detached" || vm.error.is_some()) => return Ok(false),
                    _ if Instant::now() >= deadline => return Ok(false),
                    _ => {}
                },
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(ATTACH_POLL).await;
        }
    }

    /// Waits for what comes behind the position.
    async fn future(&mut self, keep_waiting: bool) -> Result<Next, Failure> {
        let mut follow = HubFollow::new(self.client.clone(), self.query.clone(), self.position);
        let end = loop {
            match follow.next().await? {
                HubItem::Record(record) if self.filter.is_match(&record) => break Next::Match(record),
                HubItem::Record(record) if is_gone(&record) && !keep_waiting => break Next::Gone,
                HubItem::Record(_) | HubItem::Lost(_) => {}
                HubItem::Removed(records) => output::note(removed(records)),
                HubItem::Back => break Next::HubBack,
            }
        };
        self.position = follow.position();
        Ok(end)
    }
}

/// The VMs of the hub that `pattern` names, at least one.
pub(super) fn known_vms<'a>(vms: &'a [VmInfo], pattern: &str) -> Result<Vec<&'a VmInfo>, Failure> {
    let glob = Glob::new(pattern).map_err(|error| Failure::usage(error.to_string()))?.compile_matcher();
    let known: Vec<&VmInfo> = vms.iter().filter(|vm| glob.is_match(&vm.vm)).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    let failure = Failure::gone(format_args!("the hub has no VM {pattern}"));
    let names: Vec<&str> = vms.iter().map(|vm| vm.vm.as_str()).collect();
    Err(match (suggest::nearest(pattern, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => failure.hint(format_args!("did you mean {near}?")),
        (None, []) => failure.hint("it has none at all: qmp serve --attach NAME=ADDR"),
        (None, names) => failure.hint(format_args!("it has {}", names.join(", "))),
    })
}

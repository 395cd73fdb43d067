//! `qmp wait`: waits for an event or a finding, or for the end of QEMU. For scripts.

mod hub_wait;
mod ended;
mod goal;

use std::time::Duration;

use clap::Args;
use globset::Glob;
use qmp_client::Address;
use qmp_host::clock;
use qmp_settings::suggest;
use qmp_wire::{Offset, Record, UnixMicros};
use tokio::time::Instant;

pub(super) use self::ended::last_end;
use self::goal::Goal;
use self::hub_wait::HubWait;
use super::left;
use super::tail::is_gone;
use crate::exit::{Exit, Failure};
use crate::filter;
use crate::hub::{HubArgs, HubClient, HubError, HubInfo, Query, VmInfo};
use crate::live::{self, LiveItem};
use crate::output::{self, Format, Output};
use crate::target::{Target, names_of};
use crate::terminal::Terminal;
use crate::time::parse::{self, When};
use crate::time::{span, write};

/// How long a VM may take to attach after the hub (re)started before it counts as gone.
const ATTACH_GRACE: Duration = Duration::from_secs(5);

/// How often the client checks whether the hub has attached a VM.
const ATTACH_POLL: Duration = Duration::from_millis(100);

/// Wait until a VM reports an event, or the hub a finding, or until QEMU has ended
///
/// Exit codes: 0 it was reported, 3 the time ran out, 4 the VM is gone. With --since OFFSET, events after that
/// offset count, even if they were received before qmp wait was started: nothing is missed between two commands of
/// a script. If the hub restarts meanwhile, qmp wait reconnects and misses nothing.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Wait {
    /// A monitor's address, or the name of a VM of the hub
    #[arg(value_name = "ADDR|NAME")]
    target: Target,

    /// The event's name, or a pattern such as 'BLOCK_JOB_*'
    #[arg(required_unless_present_any = ["finding", "ended"], conflicts_with_all = ["finding", "ended"])]
    event: Option<String>,

    /// A finding of this kind, such as why-ended or 'why-*', in place of an event; needs a hub
    #[arg(long, value_name = "KIND", conflicts_with = "ended")]
    finding: Option<String>,

    /// Until QEMU is gone, not just until SHUTDOWN: its monitor is closed and its process has exited; at once if it already is
    #[arg(long, conflicts_with = "keep_waiting")]
    ended: bool,

    /// Only with this value of a member, such as reason=host-qmp-quit; for a finding, cause is short for data.cause
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = filter::place, conflicts_with = "ended")]
    wheres: Vec<String>,

    /// Events from here on count: an offset (of qmp exec or of a record), or a time such as 10s
    #[arg(long, value_name = "OFFSET|TIME")]
    since: Option<String>,

    /// Give up after this long, with exit code 3
    #[arg(long, value_name = "SPAN", value_parser = span::parse_or_seconds)]
    timeout: Option<Duration>,

    /// Continue when the VM goes away or does not exist: wait across restarts
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
  qmp wait web1 --finding job --where job=backup0 --where result=completed
  qmp exec web1 quit; qmp wait web1 --ended --timeout 60s

  since=$(qmp exec web1 system_powerdown --json | jq .since)
  qmp wait web1 SHUTDOWN --since \"$since\" --timeout 60s || qmp exec web1 quit";

impl Wait {
    /// Waits and prints the record; the exit code says how the wait ended.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let goal = self.goal()?;
        for warning in goal.warnings() {
            output::note(format_args!("note: {warning}"));
        }
        let waiting = async {
            match &self.target {
                Target::Address(address) => {
                    let address = address.clone().map_err(Failure::usage)?;
                    self.at_monitor(address, &goal).await
                }
                Target::Name(name) => self.at_hub(name, &goal, terminal).await,
            }
        };
        let record = match self.timeout {
            None => waiting.await?,
            Some(timeout) => {
                let late = |_| Failure::timed_out(format_args!("no {goal} within {timeout:?}"));
                tokio::time::timeout(timeout, waiting).await.map_err(late)??
            }
        };
        if let Some(record) = record {
            let mut output = Output::new(self.format.renderer(terminal));
            output.record(&record)?;
            output.flush()?;
        }
        Ok(Exit::Done)
    }

    fn goal(&self) -> Result<Goal, Failure> {
        match (&self.event, &self.finding) {
            (Some(event), _) => Goal::event(event, &self.wheres),
            (None, Some(finding)) => Goal::finding(finding, &self.wheres),
            (None, None) => Ok(Goal::Ended),
        }
    }

    async fn at_monitor(&self, address: Address, goal: &Goal) -> Result<Option<Record<'static>>, Failure> {
        let needs_hub = |what| {
            Err(Failure::usage(format_args!("{what} needs a journal, and an address has none"))
                .hint("attach the VM to a hub (qmp serve --attach NAME=ADDR) and give its name"))
        };
        if self.since.is_some() {
            return needs_hub("--since");
        }
        match goal {
            Goal::Ended => return ended::at_monitor(address).await.map(|()| None),
            Goal::Finding { .. } => return needs_hub("--finding"),
            Goal::Event { .. } => {}
        }
        let name = names_of(std::slice::from_ref(&address)).remove(0);
        let mut live = live::follow(vec![(name, address)], None);
        while let Some(item) = live.recv().await {
            match item {
                LiveItem::Record(record) if goal.is_match(&record) => return Ok(Some(record)),
                LiveItem::Record(record) if is_gone(&record) && !self.keep_waiting => {
                    return Err(gone(&record.vm, goal));
                }
                LiveItem::Failed { error, is_last, .. } if is_last || !self.keep_waiting => {
                    return Err(live::connect_failure(&error));
                }
                _ => {}
            }
        }
        Err(Failure::gone("the connection to the monitor cannot be retried"))
    }

    async fn at_hub(
        &self,
        name: &str,
        goal: &Goal,
        terminal: &Terminal,
    ) -> Result<Option<Record<'static>>, Failure> {
        if name.contains(['*', '?', '[', '{']) {
            return Err(Failure::usage(format_args!("qmp wait waits for one VM, and {name} is a pattern")));
        }
        let client = self.hub.client()?;
        let info = self.request(|| client.info()).await?;
        let vms = self.request(|| client.vms()).await?;
        if let Err(failure) = known_vms(&vms, name)
            && self.request(|| left::last(&client, name, None)).await?.is_none()
        {
            return Err(failure);
        }
        let mut query = Query::default();
        query.add("vm", name);
        let mut position = Offset(info.head);
        let since = self.since(terminal)?;
        let is_since_offset = matches!(since, Some(When::After(_)));
        match since {
            None => {}
            Some(When::After(offset)) if offset.0 > info.head => {
                return Err(Failure::usage(format_args!(
                    "--since {}: the journal ends at offset {}",
                    offset.0, info.head
                ))
                .hint("offsets belong to one journal; was it replaced?"));
            }
            Some(When::After(offset)) => position = offset,
            Some(When::At(moment)) => {
                query.add("since", write::rfc3339(moment));
                position = Offset(0);
            }
        }
        let zone = self.format.zone(terminal);
        let wait = HubWait { client, name, goal, query, position, is_since_offset, zone };
        match goal {
            Goal::Ended => wait.ended().await,
            _ => wait.matching(self.keep_waiting).await.map(Some),
        }
    }

    /// Sends a request to the hub; if the wait has a time limit or continues across restarts, retries until the hub answers.
    async fn request<T, A: Future<Output = Result<T, HubError>>>(
        &self,
        send: impl Fn() -> A,
    ) -> Result<T, HubError> {
        let retries = self.keep_waiting || self.timeout.is_some();
        let mut is_noted = false;
        loop {
            match send().await {
                Err(error) if retries && error.is_passing() => {
                    if !std::mem::replace(&mut is_noted, true) {
                        output::note(format_args!("note: {error}; retrying"));
                    }
                    tokio::time::sleep(ATTACH_POLL).await;
                }
                response => return response,
            }
        }
    }

    fn since(&self, terminal: &Terminal) -> Result<Option<When>, Failure> {
        let wrong = |error| Failure::usage(format_args!("--since: {error}"));
        let Some(text) = self.since.as_deref() else { return Ok(None) };
        let now = terminal.now();
        let when = parse::parse_past(text, &now).map_err(wrong)?;
        parse::future_note("--since", text, when, &now).iter().for_each(output::note);
        Ok(Some(when))
    }
}

/// The hint if the event may have been reported already, or may follow the next start.
const SINCE_HINT: &str = "--since OFFSET includes earlier events; --keep-waiting waits until the VM is back";

fn gone(vm: &str, goal: &Goal) -> Failure {
    Failure::gone(format_args!("{vm} is not attached, and no {goal} was reported")).hint(SINCE_HINT)
}

/// Requests the state of a VM of the hub; `None` if the hub does not follow it.
///
/// Waits up to [`ATTACH_GRACE`] while the hub is connecting to the VM or has just started, or until the journal has the end
/// of the VM's epoch.
pub(super) async fn vm_state(client: &HubClient, name: &str) -> Result<Option<VmInfo>, Failure> {
    let deadline = Instant::now() + ATTACH_GRACE;
    loop {
        let is_late = Instant::now() >= deadline;
        match client.vm(name).await {
            Ok(vm) if is_late || vm.is_settled() => return Ok(Some(vm)),
            Err(error) if error.is_unknown_vm() => match client.info().await {
                Ok(info) if is_late || !is_starting(&info) => return Ok(None),
                Err(error) if !error.is_passing() => return Err(error.into()),
                _ => {}
            },
            Err(error) if !error.is_passing() => return Err(error.into()),
            _ => {}
        }
        tokio::time::sleep(ATTACH_POLL).await;
    }
}

/// Whether a hub was started so recently that it may not have found its VMs.
fn is_starting(hub: &HubInfo) -> bool {
    let started = hub.started.as_deref().and_then(|started| started.parse::<UnixMicros>().ok());
    let grace_us = i64::try_from(ATTACH_GRACE.as_micros()).unwrap_or(i64::MAX);
    started.is_some_and(|started| (0..grace_us).contains(&(clock::now().0 - started.0)))
}

/// The VMs of the hub that match `pattern`, at least one.
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

//! `qmp wait`: waits for an event or a finding, or for the end of QEMU. For scripts.

mod goal;
mod hub_wait;

use std::time::Duration;

use clap::Args;
use qmp_client::Address;
use qmp_wire::{Offset, QualifiedName, Record};

use self::goal::{Goal, gone};
use self::hub_wait::HubWait;
use super::detached::is_gone;
use super::vm_state::{ATTACH_POLL, known_vms};
use super::{ended, left};
use crate::exit::{Exit, Failure};
use crate::filter;
use crate::hub::{HubArgs, HubError, Query};
use crate::live::{self, LiveItem};
use crate::output::{self, Format, Output};
use crate::target::{Target, names_of};
use crate::terminal::Terminal;
use crate::time::parse::{self, When};
use crate::time::{span, write};

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

    /// The host of a VM of another host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,

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
  qmp wait web1 SHUTDOWN --host node1              a VM of another host
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
                Target::Name(name) => {
                    let name = match &self.host {
                        None => name.clone(),
                        Some(host) => QualifiedName::join(host, name).ok_or_else(|| {
                            Failure::usage(format_args!("--host: {host:?} is no name of a host"))
                        })?,
                    };
                    self.at_hub(&name, &goal, terminal).await
                }
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
        if self.host.is_some() {
            return needs_hub("--host");
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

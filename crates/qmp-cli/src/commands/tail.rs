//! `qmp tail`: shows live events.

mod subjects;
mod stream;

use std::collections::HashMap;

use clap::Args;
use qmp_client::Address;
use qmp_hub::FleetSourceConfig;
use qmp_journal::RecordKind;
use qmp_wire::Offset;
use tokio::sync::mpsc;

use self::stream::StreamArgs;
use super::detached::{is_gone, is_left};
use super::ended::last_end;
use super::left;
use super::log::source::{HUB_BACK, removed};
use super::vm_state::{known_vms, vm_state};
use crate::exit::{Exit, Failure};
use crate::filter::{EventFilter, RecordArgs, VmArgs};
use crate::hub::{HubArgs, HubClient, HubFollow, Query, VmInfo};
use crate::live::{self, LiveItem};
use crate::output::{self, Format, Output};
use crate::render::{Renderer, escape};
use crate::signals::StopSignals;
use crate::target::{Target, names_of};
use crate::terminal::Terminal;

/// The line after a lost connection to a server of NATS.
const STREAM_BACK: &str = "qmp: the stream is read again, after the last record here";

/// Show events as they happen, directly from monitors, from the hub, or from a stream of NATS JetStream
///
/// If a VM goes away, qmp tail waits for it; the end of an epoch and the beginning of the next are lines. With --event or
/// --where, these lines are shown, too, unless --kind selects others: between two epochs events may be missing.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// Monitors' addresses, names of VMs of the hub, or patterns of names; the default is all VMs of the hub
    #[arg(value_name = "ADDR|NAME")]
    targets: Vec<Target>,

    #[command(flatten)]
    records: RecordArgs,

    #[command(flatten)]
    stream: StreamArgs,

    /// End with exit code 4 as soon as one of the VMs is gone, at once if a named VM is gone or does not exist
    #[arg(long)]
    exit: bool,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp tail                                  all VMs of the hub
  qmp tail 'web*' --event 'BLOCK_*'
  qmp tail 'web*' --host node1              VMs of another host
  qmp tail /run/web1.sock tcp:127.0.0.1:4444
  qmp tail web1 --json | jq --unbuffered .event
  qmp tail --from nats://nats.example.org 'web*' --host node1 --kind event     without a hub";

impl Tail {
    /// Shows events until interrupted.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let filter = self.filter(terminal)?;
        let kinds = &self.records.kind;
        for warning in
            self.records.events.warnings(if kinds.is_empty() { &[RecordKind::Event] } else { kinds })
        {
            output::note(format_args!("note: {warning}"));
        }
        if let Some(source) = self.stream.source() {
            return self.show_stream(source, &filter, terminal).await;
        }
        let (addresses, names) = self.split()?;
        let hub = if addresses.is_empty() || !names.is_empty() || !self.records.vms.host.is_empty() {
            Some(self.follow_hub(&names, terminal).await?)
        } else {
            None
        };
        let monitors: Vec<_> = names_of(&addresses).into_iter().zip(addresses).collect();
        let mut output = Output::new(self.format.renderer(terminal));
        if let Renderer::Human(human) = output.renderer() {
            monitors.iter().for_each(|(name, _)| human.expect_vm(name));
        }
        let mut live = live::follow(monitors, hub);
        tokio::select! {
            ended = self.show(&mut live, &filter, &mut output) => ended,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        }
    }

    /// Shows the records of a stream until a signal.
    async fn show_stream(
        &self,
        source: &FleetSourceConfig,
        filter: &EventFilter,
        terminal: &Terminal,
    ) -> Result<Exit, Failure> {
        let has_address = self.targets.iter().any(|target| matches!(target, Target::Address(_)));
        stream::check(has_address, &self.hub, filter)?;
        let mut signals = StopSignals::new()?;
        let follow = tokio::select! {
            opened = self.stream.open(source, filter) => opened?,
            () = signals.recv() => return Ok(Exit::Done),
        };
        if terminal.stdout_is_terminal() {
            let text = format!("following {}; Ctrl-C ends", escape::text(&source.to_string()));
            output::note(terminal.stderr_palette().dim(text));
        }
        let mut output = Output::new(self.format.renderer(terminal));
        let (mut live, following) = live::follow_stream(follow);
        let ended = tokio::select! {
            ended = self.show(&mut live, filter, &mut output) => ended,
            () = signals.recv() => output.flush().map(|()| Exit::Done).map_err(Failure::from),
        };
        drop(live);
        // A second signal ends the program at once; the server removes the consumer later.
        tokio::select! {
            _ = following => {}
            () = signals.recv() => {}
        }
        ended
    }

    /// The filter of the records that arrive. The hub selects VMs itself, and monitors are of the VMs that are named.
    fn filter(&self, terminal: &Terminal) -> Result<EventFilter, Failure> {
        let RecordArgs { vms, events, kind } = &self.records;
        let (filter, kind) = (events.filter()?, kind.clone());
        if self.stream.source().is_none() {
            vms.query()?;
            return Ok(filter.within(qmp_journal::Query::default(), kind, None));
        }
        let vm = self.names().chain(&vms.vm).cloned().collect();
        let vms = VmArgs { vm, host: vms.host.clone() };
        Ok(filter.within(vms.query()?, kind, self.stream.since(&terminal.now())?))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.targets.iter().filter_map(|target| match target {
            Target::Name(name) => Some(name),
            Target::Address(_) => None,
        })
    }

    /// The addresses of monitors, and the names of VMs of the hub.
    fn split(&self) -> Result<(Vec<Address>, Vec<String>), Failure> {
        let addresses = self.targets.iter().filter_map(|target| match target {
            Target::Address(address) => Some(address.clone().map_err(Failure::usage)),
            Target::Name(_) => None,
        });
        let names = self.names().chain(&self.records.vms.vm).cloned().collect();
        Ok((addresses.collect::<Result<_, _>>()?, names))
    }

    async fn follow_hub(&self, names: &[String], terminal: &Terminal) -> Result<HubFollow, Failure> {
        let client = self.hub.client()?;
        let head = client.info().await?.head;
        let vms = client.vms().await?;
        let mut query = Query::default();
        let hosts = &self.records.vms.host;
        hosts.iter().for_each(|pattern| query.add("host", pattern));
        let is_every = names.is_empty() && hosts.is_empty();
        let mut followed: Vec<&VmInfo> = if is_every { vms.iter().collect() } else { Vec::new() };
        for name in names {
            let named = match known_vms(&vms, name) {
                _ if !hosts.is_empty() => Vec::new(),
                Ok(named) => named,
                Err(_) if left::is_of_other_host(&client, name).await? => Vec::new(),
                Err(failure) => {
                    let zone = self.format.zone(terminal);
                    return Err(left::failure(&client, name, &zone, failure).await);
                }
            };
            if self.exit {
                for vm in &named {
                    must_be_attached(&client, &vm.vm, Offset(head)).await?;
                }
            }
            followed.extend(named);
            query.add("vm", name);
        }
        if terminal.stdout_is_terminal() && !followed.is_empty() {
            output::note(terminal.stderr_palette().dim(introduction(&followed)));
        }
        Ok(HubFollow::new(client, query, Offset(head)))
    }

    async fn show(
        &self,
        live: &mut mpsc::Receiver<LiveItem>,
        filter: &EventFilter,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let mut troubles = HashMap::new();
        let mut failure = None;
        while let Some(item) = live.recv().await {
            match item {
                LiveItem::Record(record) => {
                    troubles.remove(record.vm.as_ref());
                    if filter.shows(&record) {
                        output.record(&record)?;
                    }
                    if self.exit && is_left(&record) {
                        output.flush()?;
                        let what = if is_gone(&record) { "is gone" } else { "was removed from the hub" };
                        return Err(Failure::gone(format_args!("{} {what}", record.vm)));
                    }
                }
                LiveItem::Failed { error, .. } if self.exit => return Err(live::connect_failure(&error)),
                LiveItem::Failed { vm, error, is_last } => {
                    let text = error.to_string();
                    if troubles.get(&vm) != Some(&text) {
                        let then = if is_last { "" } else { "; retrying" };
                        output::note(format_args!(
                            "qmp: {}: {}{then}",
                            escape::text(&vm),
                            escape::text(&text)
                        ));
                        troubles.insert(vm, text);
                    }
                    failure = is_last.then(|| live::connect_failure(&error)).or(failure);
                }
                LiveItem::HubLost(error) => output::note(format_args!("qmp: {error}; retrying")),
                LiveItem::HubBack => output::note(format_args!("{HUB_BACK}")),
                LiveItem::HubRemoved(records) => output::note(removed(records)),
                LiveItem::HubFailed(error) => return Err(error.into()),
                LiveItem::StreamLost(error) => {
                    let text = error.to_string();
                    if troubles.get("") != Some(&text) {
                        output::note(format_args!("qmp: {}; retrying", escape::text(&text)));
                        troubles.insert(String::new(), text);
                    }
                }
                LiveItem::StreamBack => {
                    troubles.remove("");
                    output::note(STREAM_BACK);
                }
                LiveItem::StreamNote(text) => output::note(format_args!("note: {}", escape::text(&text))),
            }
            if live.is_empty() {
                output.flush()?;
            }
        }
        // All streams have ended.
        Err(failure.unwrap_or_else(|| Failure::gone("no VM is left to follow")))
    }
}

/// Fails unless the VM is attached. A VM that ended after `head` is accepted: the stream has its end.
async fn must_be_attached(client: &HubClient, name: &str, head: Offset) -> Result<(), Failure> {
    let vm = vm_state(client, name).await?;
    if vm.as_ref().is_some_and(VmInfo::is_attached) {
        return Ok(());
    }
    let error =
        vm.as_ref().map_or("it left the hub", |vm| vm.error.as_deref().unwrap_or("it is not attached"));
    if let Some(vm) = vm.as_ref().filter(|vm| !vm.is_gone()) {
        return Err(Failure::failed(format_args!("{name} is {}: {error}", vm.state)));
    }
    let end = last_end(client, name).await?;
    if end.is_some_and(|end| end.offset > Some(head)) {
        return Ok(());
    }
    Err(Failure::gone(format_args!("{name} is gone: {error}")))
}

/// So many VMs are named; of more, only the number.
const NAMED_VMS_MAX: usize = 8;

/// The line about the followed VMs, before the first event.
fn introduction(vms: &[&VmInfo]) -> String {
    let attached = vms.iter().filter(|vm| vm.is_attached()).count();
    let named = match vms {
        [vm] => format!("{} ({})", vm.vm, vm.state),
        vms if vms.len() <= NAMED_VMS_MAX && attached == vms.len() => {
            vms.iter().map(|vm| vm.vm.as_str()).collect::<Vec<_>>().join(", ")
        }
        vms => format!("{} VMs, {attached} of them attached", vms.len()),
    };
    format!("following {}; Ctrl-C ends", escape::text(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introduction_names_or_counts_the_vms() {
        let vm =
            |name: &str, state: &str| VmInfo { vm: name.into(), state: state.into(), ..VmInfo::default() };
        let (web1, web2, db) = (vm("web1", "attached"), vm("web2", "attached"), vm("db", "connecting"));
        let cases: [(&[&VmInfo], &str); 3] = [
            (&[&db], "following db (connecting); Ctrl-C ends"),
            (&[&web1, &web2], "following web1, web2; Ctrl-C ends"),
            (&[&web1, &web2, &db], "following 3 VMs, 2 of them attached; Ctrl-C ends"),
        ];
        for (vms, expected) in cases {
            assert_eq!(introduction(vms), expected);
        }
    }
}

//! `qmp status`: the state of the VMs of the hub.

mod vm;
mod page;
mod stuck;
mod table;

use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use qmp_journal::Globs;
use qmp_settings::suggest;

use super::left;
use crate::exit::{Exit, Failure};
use crate::hub::{HubArgs, HubClient, HubError, SilenceInfo};
use crate::output::{self, Format};
use crate::render::Palette;
use crate::terminal::Terminal;
use crate::time::span;

pub(super) use page::page as vm_page;
pub(super) use stuck::silenced;
#[cfg(test)]
pub(super) use vm::examples;
pub(super) use vm::{Vm, local};

/// Show the state of the VMs of the hub: run state, since when, why, epoch, last event
///
/// With a NAME, shows everything known about that VM: also its jobs, its migration, and its last events. A run state with
/// a question mark is the last known one of a VM whose monitor is not attached or does not answer, or the last one before
/// the hub's journal stalled.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// One VM
    name: Option<String>,

    /// Also VMs that left the hub and whose last epoch ended within this span [default: 24h on a terminal, none with --json]
    #[arg(long, value_name = "SPAN", value_parser = span::parse, conflicts_with = "name")]
    left: Option<Duration>,

    /// Only VMs that need an operator: an error stopped them, they ended without an announcement, they run on several hosts, or
    /// their state is not known
    ///
    /// Of the VMs that left the hub, those that ended without an announcement, within 24h or the span of --left. The exit code
    /// is 1 if there is any; without an answer of the hub it is 1, too, with an error and without output.
    #[arg(long, conflicts_with = "name")]
    trouble: bool,

    /// Only VMs in these states: a run state, silent, or the state of the monitor, such as in-use; the exit code is 1 if there
    /// is any
    #[arg(long, value_name = "STATE", value_delimiter = ',', conflicts_with = "name")]
    state: Vec<String>,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp status
  qmp status web1
  qmp status --left 7d
  qmp status --trouble || mail -s \"a VM needs you\" root </dev/null
  qmp status --state paused,io-error
  qmp status --json | jq -r 'select(.run_state == \"io-error\") | .vm'";

/// VMs that left the hub are shown on a terminal if they ended within this time, and with --trouble those that need an
/// operator.
const LEFT_SHOWN: Duration = Duration::from_secs(24 * 3_600);

impl Status {
    /// Prints the state of the VMs.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let client = self.hub.client()?;
        let is_json = self.format.json || !terminal.stdout_is_terminal();
        let is_alarm = self.trouble || !self.state.is_empty();
        let is_left_shown = self.trouble || (!is_json && !is_alarm);
        let left = self.left.or(is_left_shown.then_some(LEFT_SHOWN));
        let found = match &self.name {
            Some(name) => match client.vm_json(name).await {
                Err(error) if error.is_unknown_vm() => {
                    let zone = self.format.zone(terminal);
                    return Err(left::failure(&client, name, &zone, error.into()).await);
                }
                vm => vec![vm.map_err(HubError::without_address)?],
            },
            None => client.vms_json(left).await.map_err(HubError::without_address)?,
        };
        let read = |vm: &serde_json::value::RawValue| {
            serde_json::from_str::<Vm>(vm.get()).map_err(|error| HubError::NotAHub {
                what: format!("it sent a VM that cannot be read: {error}"),
            })
        };
        let vms = found.iter().map(|vm| read(vm)).collect::<Result<Vec<_>, _>>()?;
        if let Some(failure) = self.state.iter().find_map(|state| unknown_state(state, &vms)) {
            return Err(failure);
        }
        let mut both: Vec<_> = found.into_iter().zip(vms).filter(|(_, vm)| self.selects(vm)).collect();
        both.sort_by(|(_, one), (_, other)| by_name(one).cmp(&by_name(other)));
        let (found, vms): (Vec<_>, Vec<_>) = both.into_iter().unzip();
        let exit = if is_alarm && !vms.is_empty() { Exit::Failed } else { Exit::Done };
        if is_json {
            let lines: String = found.iter().map(|vm| format!("{}\n", vm.get())).collect();
            output::print(&lines)?;
            return Ok(exit);
        }
        if is_alarm && vms.is_empty() {
            return Ok(exit);
        }
        let (palette, zone) = (terminal.stdout_palette(), self.format.zone(terminal));
        let text = match (&self.name, vms.as_slice()) {
            (Some(_), [vm]) => page::page(vm, palette, &zone),
            (_, vms) => table::tables(vms, left.unwrap_or_default(), is_alarm, palette, &zone),
        };
        output::print(&text)?;
        let name = vms.first().filter(|_| self.name.is_some()).map(|vm| vm.vm.as_str());
        let text = rules(name, &client, palette, &zone).await;
        if !text.is_empty() {
            output::print(&format!("\n{text}"))?;
        }
        Ok(exit)
    }

    /// Whether the options select this VM.
    fn selects(&self, vm: &Vm) -> bool {
        (!self.trouble || vm.is_in_trouble())
            && (self.state.is_empty() || self.state.iter().any(|state| vm.is_in(state)))
    }
}

/// The alerts that are raised, the sources and rules that fail, which cannot report their own failure, and the silences; with a
/// VM, only the alerts and silences of that one.
async fn rules(vm: Option<&str>, client: &HubClient, palette: Palette, zone: &TimeZone) -> String {
    let mut alerts = client.alerts().await.unwrap_or_default();
    alerts.retain(|alert| vm.is_none_or(|vm| alert.vm == vm));
    let mut text = stuck::alerts(&alerts, palette, zone);
    if vm.is_none() {
        if let Ok(info) = client.info().await {
            text += &stuck::sources(&info.from, palette, zone);
        }
        text += &stuck::stuck(&client.sinks().await.unwrap_or_default(), palette, zone);
    }
    let mut silences = client.silences().await.unwrap_or_default();
    silences.retain(|silence| vm.is_none_or(|vm| is_silence_of(silence, vm)));
    text + &silenced(&silences, palette, zone)
}

/// The order of VMs: by name, and those that left after the others, as the hub lists them.
fn by_name(vm: &Vm) -> (bool, &str) {
    if vm.state == "left" { (true, "") } else { (false, &vm.vm) }
}

/// Whether the silence is for the VM; true if its pattern cannot be read.
fn is_silence_of(silence: &SilenceInfo, vm: &str) -> bool {
    Globs::parse([&silence.vms]).map_or(true, |globs| globs.matches_vm(vm))
}

/// The failure for a state that no VM can have, as far as this release knows, and that none of `vms` has.
fn unknown_state(state: &str, vms: &[Vm]) -> Option<Failure> {
    let of_monitor = ["silent", "attached", "connecting", "detached", "in-use", "left"];
    let known = || qmp_findings::run_states().chain(of_monitor);
    if known().any(|known| known == state) || vms.iter().any(|vm| vm.is_in(state)) {
        return None;
    }
    let near = suggest::nearest(state, known()).map(|near| format!("; did you mean {near}?"));
    Some(Failure::usage(format_args!("no VM has a state {state}{}", near.unwrap_or_default())))
}

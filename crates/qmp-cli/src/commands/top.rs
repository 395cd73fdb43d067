//! `qmp top`: the VMs of the hub on the whole screen, live.

mod filter;
mod history;
mod glyphs;
mod timeline;
mod row;
mod recent;
mod key;
mod model;
mod update;
mod feed;
mod view;
mod screen;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use qmp_host::clock;
use qmp_wire::Offset;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::status::Vm;
use crate::exit::{Exit, Failure};
use crate::hub::{HubAddress, HubArgs, HubClient, HubInfo, page_path};
use crate::output;
use crate::signals::StopSignals;
use crate::terminal::Terminal;
use feed::FeedRequest;
use filter::NameFilter;
use glyphs::Glyphs;
use model::Model;
use screen::{Screen, ScreenSignal};
use update::{Message, Request, update};

/// Watch the VMs of the hub on the whole screen: what they do, what is wrong, and why
///
/// Shows the state of each VM, since when, its last half hour, and the newest records. VMs that need you come first. Keys
/// are shown at the bottom; ? lists all. No key gives a command to a VM.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// Show only these VMs at first: parts of names, or patterns
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Draw with ASCII characters; the default if the locale is not UTF-8
    #[arg(long)]
    ascii: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp top
  qmp top 'web*' db
  qmp top --hub https://hub.example:8443 --token-file ~/.qmp-token";

/// The shortest time between two frames: more than ten a second are not seen, and cost the connection of a remote user.
const FRAME_EVERY: Duration = Duration::from_millis(100);

/// How often changed states are requested.
const STATES_EVERY: Duration = Duration::from_millis(500);

/// How often the states of all VMs are requested: those that no record tells, such as of a VM that another client holds.
const ALL_STATES_EVERY: Duration = Duration::from_secs(15);

/// How many of the newest records are shown at the start.
const FIRST_RECORDS: u64 = 500;

/// Messages of the hub that wait to be shown; with more, the hub waits.
const MESSAGES_QUEUED: usize = 4_096;

/// Messages taken before keys are looked at.
const MESSAGES_AT_ONCE: usize = 1_024;

impl Top {
    /// Shows the display until the user ends it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        if !terminal.stdout_is_terminal() || !std::io::stdin().is_terminal() {
            let failure = Failure::usage("qmp top needs a terminal");
            return Err(
                failure.hint("qmp status prints the same table once; qmp tail prints records as they come")
            );
        }
        let client = self.hub.client()?.without_notes();
        let HubInfo { head, addresses, .. } = client.info().await?;
        let vms = client.vms_as::<Vm>().await?;
        let mut model = self.model(&client, terminal);
        model.counted_to = Offset(head);
        update(&mut model, Message::Vms(vms));
        let link = display(&client, model, Offset(head.saturating_sub(FIRST_RECORDS))).await?;
        if let Some(vm) = link {
            output::print(&link_text(client.address(), &addresses, vm.as_deref()))?;
        }
        Ok(Exit::Done)
    }

    fn model(&self, client: &HubClient, terminal: &Terminal) -> Model {
        let glyphs = match self.ascii {
            true => Glyphs::Ascii,
            false => Glyphs::of_locale(|name| std::env::var(name).ok()),
        };
        let hub_name = match client.address() {
            HubAddress::Https { host, .. } => host.clone(),
            HubAddress::Unix(_) | HubAddress::Tcp(_) => "this host".to_owned(),
        };
        let is_coloured = terminal.stdout_palette().is_coloured();
        let mut model = Model::new(hub_name, glyphs, is_coloured, terminal.zone(), clock::now());
        model.filter = NameFilter::new(&self.names.join(" "));
        model
    }
}

/// Runs the display; returns the VM whose page the user wants to open.
async fn display(
    client: &HubClient,
    mut model: Model,
    position: Offset,
) -> Result<Option<Option<Box<str>>>, Failure> {
    let (sender, mut messages) = mpsc::channel(MESSAGES_QUEUED);
    let (states, wanted_states) = mpsc::channel(1);
    let mut signals = StopSignals::new()?;
    let mut screen = Screen::new()?;
    let mut keyboard = screen::read_keyboard();
    let mut records = tokio::spawn(feed::records(client.clone(), position, sender.clone()));
    tokio::spawn(feed::states(client.clone(), wanted_states, sender));
    let mut wanted = FeedRequest { past: Some(model.span.micros()), ..FeedRequest::default() };
    let mut second = ticks(Duration::from_secs(1));
    let (mut states_tick, mut all_tick) = (ticks(STATES_EVERY), ticks(ALL_STATES_EVERY));
    let (mut is_changed, mut next_frame) = (true, Instant::now());
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = signals.recv() => return Ok(None),
            signal = screen.signal() => match signal {
                ScreenSignal::HangUp => return Ok(None),
                ScreenSignal::Suspend => screen.suspend()?,
                ScreenSignal::Resume => batch.push(screen.resume()?),
            },
            error = &mut records => return Err(error.map_or_else(Failure::failed, Failure::from)),
            Some(input) = keyboard.recv() => {
                batch.push(input);
                // A key is answered at once.
                next_frame = Instant::now();
            }
            _ = second.tick() => batch.push(Message::Time(clock::now())),
            _ = all_tick.tick() => wanted.all = true,
            _ = states_tick.tick(), if !wanted.is_empty() => {
                // Requests that are under way go on; what is wanted meanwhile waits.
                if let Ok(free) = states.try_reserve() {
                    free.send(std::mem::take(&mut wanted));
                }
            }
            () = sleep_until(next_frame), if is_changed => {
                screen.draw(&model)?;
                is_changed = false;
                next_frame = Instant::now() + FRAME_EVERY;
            }
            received = messages.recv_many(&mut batch, MESSAGES_AT_ONCE) => debug_assert!(received > 0),
        }
        is_changed |= !batch.is_empty();
        for message in batch {
            match update(&mut model, message) {
                Some(Request::Quit) => return Ok(None),
                Some(Request::Link(vm)) => return Ok(Some(vm)),
                Some(Request::Suspend) => screen.suspend()?,
                Some(Request::Copy(text)) => model.note = Some(screen.copy(&text)?),
                Some(request) => wanted.add(request, model.span.micros()),
                None => {}
            }
        }
    }
}

/// A timer whose missed ticks are left out.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The address of a page, or how to reach it: at the hub's address, or else at another one of the hub's addresses.
fn link_text(hub: &HubAddress, others: &[String], vm: Option<&str>) -> String {
    let path = page_path(vm);
    let other = || others.iter().filter_map(|other| other.parse::<HubAddress>().ok()?.origin()).next();
    match (hub.origin().or_else(other), hub) {
        (Some(origin), _) => format!("{origin}{path}\n"),
        (None, HubAddress::Unix(socket)) => format!(
            "The hub's socket is not for browsers. Serve the page at a port, too (--http 127.0.0.1:PORT),\nor forward the \
             socket with ssh -L 8080:{}:\n  http://localhost:8080{path}\n",
            socket.display()
        ),
        (None, _) => format!("{path}\n"),
    }
}

//! `qmp why`: the reason for the state of a VM, and the records that show it.

mod moment;
mod answer;
mod read;
mod notes;
mod over_hosts;
mod report;

use std::path::PathBuf;

use clap::Args;
use qmp_wire::Offset;

use self::moment::Moment;
use super::log::source;
use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::output::{self, Format};
use crate::pager::{LESS_FOR_TEXT, PagerArgs};
use crate::render::Renderer;
use crate::terminal::Terminal;

/// Say why a VM stopped, was reset, or ended, with the records that show it
///
/// The answer comes from the journal: through the hub if one answers, or else from its file; with --journal always
/// from that file, whether or not a hub recorded findings.
///
/// TIME is written as for qmp log: 2h, yesterday, 15:04, "2026-01-02 15:04", 2026-01-02T15:04:05Z.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Why {
    /// The name of a VM; HOST/VM for a VM of another host
    vm: String,

    /// The state at this time
    #[arg(long, value_name = "TIME", conflicts_with = "epoch")]
    at: Option<String>,

    /// The state at the end of this epoch
    #[arg(long, value_name = "N")]
    epoch: Option<u32>,

    /// Read this file and no hub, whether or not a hub writes it
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    pager: PagerArgs,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp why web1                      why it is paused, gone, or running
  qmp why web1 --at 03:12           its state in the night
  qmp why web1 --epoch 4            how the fourth epoch ended
  qmp why web1 --journal backup.db  from a copy of the journal
  qmp why web1 --json | jq -r .why.cause";

impl Why {
    /// Prints the answer.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let moment = Moment::read(self.at.as_deref(), self.epoch, terminal)?;
        if self.vm.contains(['*', '?', '[', '{']) {
            return Err(Failure::usage(format_args!(
                "qmp why is about one VM, and {} is a pattern",
                self.vm
            )));
        }
        let source = source::choose(self.journal.as_deref(), &self.hub).await?;
        let vm = read::key(&source, &self.vm).await?;
        let answer = report::answer(&source, &vm, moment, &self.format.zone(terminal)).await?;
        let text = match self.format.renderer(terminal) {
            Renderer::Human(_) => answer.text(&vm, terminal.stdout_palette(), self.format.zone(terminal)),
            _ => answer.json(&vm),
        };
        let print = async || {
            output::print(&text)?;
            // Lost records may belong to this VM.
            source.check_damage(Offset(0)).await?;
            Ok(Exit::Done)
        };
        self.pager.page(terminal, LESS_FOR_TEXT, print).await
    }
}

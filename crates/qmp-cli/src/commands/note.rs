//! `qmp note`: a remark about a VM, on record.

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::output;
use crate::terminal::Terminal;

/// Write a remark about a VM into the journal
///
/// The remark is a finding "note" with the user who wrote it; qmp log, qmp why and the page show it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Note {
    /// The name of a VM; HOST/VM for a VM of another host
    vm: String,

    /// The remark
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,

    /// The offset of the record that the remark is about
    #[arg(long, value_name = "OFFSET")]
    about: Option<u64>,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp note web1 disk replaced
  qmp note web1 \"known: ticket 4711\" --about 41";

impl Note {
    /// Writes the remark, and prints the offset of its record on a pipe.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut note = json!({"text": self.text.join(" ")});
        if let Some(about) = self.about {
            note["about"] = about.into();
        }
        let offset = self.hub.client()?.note(&self.vm, note.to_string()).await?;
        if !terminal.stdout_is_terminal() {
            output::print(&format!("{}\n", json!({"offset": offset})))?;
        }
        Ok(Exit::Done)
    }
}

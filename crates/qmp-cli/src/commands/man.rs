//! `qmp man`: manual pages, generated from the definitions of the arguments.

use std::path::PathBuf;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::output;

/// Write the manual pages into a directory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Man {
    /// The directory; created if it is missing
    dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  qmp man ~/.local/share/man/man1
  qmp man /tmp/man && man /tmp/man/qmp-log.1";

impl Man {
    /// Writes `qmp.1` and one page for each command of `program`, and prints their paths.
    pub async fn run(self, program: clap::Command) -> Result<Exit, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::failed(format_args!("cannot write manual pages to {}: {error}", self.dir.display()))
        };
        std::fs::create_dir_all(&self.dir).map_err(cannot)?;
        clap_mangen::generate_to(program.disable_help_subcommand(true), &self.dir).map_err(cannot)?;
        let mut pages: Vec<_> = std::fs::read_dir(&self.dir)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(cannot)?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("qmp")))
            .map(|path| format!("{}\n", path.display()))
            .collect();
        pages.sort_unstable();
        output::print(&pages.concat())?;
        Ok(Exit::Done)
    }
}

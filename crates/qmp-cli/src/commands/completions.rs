//! `qmp completions`: a script that completes the command line of `qmp`.

use clap::Args;
use clap_complete::Shell;

use crate::exit::{Exit, Failure};
use crate::output;

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  qmp completions bash > ~/.local/share/bash-completion/completions/qmp
  qmp completions fish > ~/.config/fish/completions/qmp.fish";

impl Completions {
    /// Prints the script for `program`.
    pub async fn run(self, mut program: clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "qmp", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}

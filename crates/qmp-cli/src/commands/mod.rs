//! The commands. A new command is a file here, its `mod` line and its line in the list.

mod backup;
mod check;
mod completions;
mod emulate;
mod events;
mod exec;
mod journal;
mod left;
mod log;
mod man;
mod replay;
mod serve;
mod status;
mod tail;
mod wait;
mod why;

use clap::Subcommand;

use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// Declares the enum of the commands, and their execution.
macro_rules! commands {
    ($($module:ident :: $args:ident),+ $(,)?) => {
        /// A command and its arguments.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $(#[allow(missing_docs)] $args($module::$args),)+
        }

        impl Command {
            /// Executes the command.
            pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
                match self {
                    $(Self::$args(arguments) => Box::pin(arguments.run(terminal)).await,)+
                }
            }
        }
    };
}

commands! {
    serve::Serve,
    log::Log,
    status::Status,
    why::Why,
    tail::Tail,
    wait::Wait,
    exec::Exec,
    events::Events,
    check::Check,
    emulate::Emulate,
    replay::Replay,
    backup::Backup,
    journal::Journal,
    completions::Completions,
    man::Man,
}

impl Command {
    /// Whether the command needs a runtime with several threads; the others wait for one thing after another.
    pub fn needs_threads(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

//! The commands. A new one is a file here, its `mod` line and its line in the list.

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

/// Declares the enum of the commands, which runs them.
macro_rules! commands {
    ($($module:ident :: $args:ident),+ $(,)?) => {
        /// A command and its arguments.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $(#[allow(missing_docs)] $args($module::$args),)+
        }

        impl Command {
            /// Does what the command is for.
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
    /// Whether the command serves many others at once; the rest wait for one thing after another.
    pub fn needs_threads(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

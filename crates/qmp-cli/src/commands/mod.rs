//! The commands. A new one is a file here and its line in the list.

use clap::Subcommand;

use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// Declares the module of each command, and the enum that runs them.
macro_rules! commands {
    ($($module:ident :: $args:ident),+ $(,)?) => {
        $(mod $module;)+

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

//! The commands. A new command is a file here, its `mod` line and its line in the list.

mod left;
mod detached;
mod vm_state;
mod ended;
mod backup;
mod check;
mod emulate;
mod events;
mod exec;
mod journal;
mod log;
mod export;
mod import;
mod note;
mod replay;
mod serve;
mod stats;
mod status;
mod silence;
mod tail;
mod timeline;
mod top;
mod wait;
mod why;
mod completions;
mod man;

use clap::Subcommand;

use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// Declares the enum of the commands, and their execution; those after the semicolon are about the program itself.
macro_rules! commands {
    ($($module:ident :: $args:ident),+; $($program_module:ident :: $program_args:ident),+ $(,)?) => {
        /// A command and its arguments.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $(#[allow(missing_docs)] $args($module::$args),)+
            $(#[allow(missing_docs)] $program_args($program_module::$program_args),)+
        }

        impl Command {
            /// Executes the command; `program` returns the definition of all arguments.
            pub async fn run(
                self,
                terminal: &Terminal,
                program: fn() -> clap::Command,
            ) -> Result<Exit, Failure> {
                match self {
                    $(Self::$args(arguments) => Box::pin(arguments.run(terminal)).await,)+
                    $(Self::$program_args(arguments) => Box::pin(arguments.run(program())).await,)+
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
    stats::Stats,
    timeline::Timeline,
    tail::Tail,
    top::Top,
    wait::Wait,
    exec::Exec,
    note::Note,
    silence::Silence,
    events::Events,
    check::Check,
    emulate::Emulate,
    replay::Replay,
    backup::Backup,
    export::Export,
    import::Import,
    journal::Journal;
    completions::Completions,
    man::Man,
}

impl Command {
    /// Whether the command needs a runtime with several threads; the others wait for one thing after another.
    pub fn needs_threads(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

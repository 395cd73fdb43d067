//! The program `qmp`: what happened to the virtual machines of this host, when, and in what order.
//!
//! Each command is one file in `commands/`. Only this file turns the results of commands into lines on the standard error
//! and exit codes.
#![allow(
    unreachable_pub,
    reason = "a program has no public interface: `pub` marks what a module offers to the others"
)]
#![allow(clippy::doc_markdown, reason = "the comments on arguments are what --help prints")]

mod arguments;
mod paths;
mod systemd;
mod target;
mod time;
mod render;
mod exit;
mod capture;
mod filter;
mod listen;
mod signals;
mod terminal;
mod progress;
mod log_format;
mod output;
mod pager;
mod window;
mod hub;
mod live;
mod commands;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::commands::Command;
use crate::exit::{Exit, Failure};
use crate::terminal::{ColorWhen, Terminal};

/// journalctl for virtual machines: what happened to them, when, in what order, and what may have been missed
///
/// A hub (qmp serve) stays attached to the monitors of your VMs and records in a journal everything that QEMU reports;
/// the other commands read the journal, follow it, wait for an event, or send commands to a VM. With an address instead
/// of a name, tail, wait, exec and check need no hub.
#[derive(Debug, Parser)]
#[command(name = "qmp", version, arg_required_else_help = true, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// When to colour the output
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, display_order = 1000)]
    color: ColorWhen,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qmp serve --demo                                a demonstration, without any QEMU
  qmp serve --attach web1=unix:/run/web1.sock     keep a journal of web1
  qmp log --since today                           what happened today
  qmp tail web1                                   what happens now
  qmp wait web1 SHUTDOWN --timeout 30s            wait for an event, for scripts
  qmp exec web1 query-status                      a command for the VM
  qmp events WATCHDOG                             what an event means

An ADDR has the form that QEMU uses: unix:/run/vm.sock, tcp:127.0.0.1:4444, or a path with a slash.
Exit codes: 0 done, 1 failed or violations found, 2 wrong usage, 3 timed out, 4 the VM is gone.";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&usage_error(error)),
    };
    let terminal = Terminal::detect(cli.color);
    let result = runtime(cli.command.needs_threads()).and_then(|runtime| {
        let result = runtime.block_on(cli.command.run(&terminal, Cli::command));
        // A blocking call (such as a read of the standard input) ends with the process.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // If the standard error is closed, too, only the exit code is left.
            let _ = write!(std::io::stderr(), "{failure}");
            failure.exit().into()
        }
    }
}

fn runtime(threads: bool) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build().map_err(|error| Failure::failed(format_args!("cannot start: {error}")))
}

/// The error of the command line alone, if it has one: the usage in an error names all arguments that have a value, and those
/// that the environment gives look as if they were required.
fn usage_error(error: clap::Error) -> clap::Error {
    let alone = without_environment(Cli::command()).try_get_matches().err();
    alone.filter(|alone| alone.kind() == error.kind()).unwrap_or(error)
}

fn without_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| argument.env(None::<&'static str>));
    command.mut_subcommands(without_environment)
}

/// Help and version go to the standard output; errors of the command line look like any other failure.
fn report_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    let text = without_logins(&error.render().to_string());
    let text = text.strip_prefix("error: ").map_or_else(|| text.clone(), |rest| format!("qmp: {rest}"));
    let _ = write!(std::io::stderr(), "{text}");
    Exit::Usage.into()
}

/// The text with `…` in place of the logins of addresses: an error repeats the value that it refuses.
fn without_logins(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(begin) = rest.find("://") {
        let (before, after) = rest.split_at(begin + "://".len());
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/'\"".contains(c)).unwrap_or(after.len());
        rest = after[..end].rfind('@').map_or(after, |at| {
            shown.push('…');
            &after[at..]
        });
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_addresses_are_not_repeated() {
        let cases = [
            ("'nats://me:s%40crt@h:1/a b': no", "'nats://…@h:1/a b': no"),
            ("nats://token@h and tls://a:b@c", "nats://…@h and tls://…@c"),
            ("http://h/@x", "http://h/@x"),
            ("me@h", "me@h"),
            ("x://", "x://"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_logins(text), expected);
        }
    }

    #[test]
    fn definitions_of_the_arguments_are_valid() {
        Cli::command().debug_assert();
    }
}

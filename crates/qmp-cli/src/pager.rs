//! A pager for long output, as `journalctl` has one.
//!
//! While a pager runs, the standard output leads to it, and the standard error, too, if that is the same terminal: a note
//! between two pages would spoil the screen. The pager has the keyboard, so Ctrl-C is its own.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use clap::Args;
use rustix::process::Signal;
use rustix::stdio::{dup2_stderr, dup2_stdout};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::terminal::Terminal;

/// The options of `less` for records where `LESS` is unset, those of `journalctl`: quit if one screen has all, keep colours, chop
/// long lines, leave the text on the screen, a long prompt, quit on Ctrl-C.
pub const LESS_FOR_RECORDS: &str = "FRSXMK";

/// The same for sentences, which are wrapped.
pub const LESS_FOR_TEXT: &str = "FRXMK";

/// `--no-pager`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PagerArgs {
    /// Print without a pager. On a terminal, the output goes through that of QMP_PAGER or PAGER, or else through less; the value is
    /// split at blanks and executed without a shell, and an empty one or cat is no pager
    #[arg(long)]
    no_pager: bool,
}

impl PagerArgs {
    /// Calls `print`, whose output goes through a pager if the standard output is a terminal. If the pager fails, calls `print`
    /// again, without one. `less` is the value of `LESS` if the environment has none.
    pub async fn page(
        self,
        terminal: &Terminal,
        less: &str,
        print: impl AsyncFn() -> Result<Exit, Failure>,
    ) -> Result<Exit, Failure> {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        if self.no_pager || !terminal.stdout_is_terminal() || is_dumb(variable("TERM").as_deref()) {
            return print().await;
        }
        let Some(choice) = PagerChoice::of(variable) else { return print().await };
        let pager = match Pager::start(&choice, less, terminal.stderr_is_terminal()) {
            Ok(pager) => pager,
            Err(error) => {
                if choice.is_named {
                    output::note(format_args!("note: cannot start the pager {}: {error}", choice.words[0]));
                }
                return print().await;
            }
        };
        let printed = print().await;
        match pager.finish().await {
            Some(failed) => {
                output::note(format_args!("note: the pager {} failed ({failed})", choice.words[0]));
                print().await
            }
            None => printed,
        }
    }
}

/// A terminal without a cursor, where a pager cannot page.
fn is_dumb(term: Option<&str>) -> bool {
    matches!(term, None | Some("" | "dumb"))
}

/// A pager and its arguments.
#[derive(Debug)]
struct PagerChoice {
    words: Vec<String>,
    /// Whether the user named it.
    is_named: bool,
}

impl PagerChoice {
    /// The pager that the environment names, or else `less`; `None` if the environment says that there is none.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let named = ["QMP_PAGER", "PAGER"].into_iter().find_map(variable);
        let is_named = named.is_some();
        let words: Vec<String> =
            named.as_deref().unwrap_or("less").split_ascii_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None | Some("cat") => None,
            Some(_) => Some(Self { words, is_named }),
        }
    }
}

/// A pager that runs.
#[derive(Debug)]
struct Pager {
    child: Child,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    /// Ctrl-C reaches this process, too, which must not end before the pager has restored the terminal.
    interrupts: unix::Signal,
}

impl Pager {
    fn start(choice: &PagerChoice, less: &str, takes_stderr: bool) -> io::Result<Self> {
        let mut command = Command::new(&choice.words[0]);
        command.args(&choice.words[1..]).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", less);
        }
        let interrupts = signal(SignalKind::interrupt())?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stderr = takes_stderr.then(|| io::stderr().as_fd().try_clone_to_owned()).transpose()?;
        let mut child = command.spawn()?;
        if let Some(input) = child.stdin.take() {
            dup2_stdout(&input)?;
            if takes_stderr {
                dup2_stderr(&input)?;
            }
        }
        Ok(Self { child, stdout, stderr, interrupts })
    }

    /// Ends the input of the pager, and waits until the user has left it. Returns its status if it failed.
    async fn finish(self) -> Option<ExitStatus> {
        let Self { mut child, stdout, stderr, mut interrupts } = self;
        // A pager that has ended takes no more.
        let _ = io::stdout().flush();
        let restored = dup2_stdout(&stdout).and_then(|()| stderr.as_ref().map_or(Ok(()), dup2_stderr));
        if let Err(error) = restored {
            output::note(format_args!("note: cannot use the terminal again: {error}"));
        }
        let mut waiting = tokio::task::spawn_blocking(move || child.wait());
        let mut is_interrupted = false;
        loop {
            tokio::select! {
                biased;
                _ = interrupts.recv() => is_interrupted = true,
                status = &mut waiting => {
                    let status = status.ok()?.ok()?;
                    return Some(status).filter(|status| is_failure(*status) && !is_interrupted);
                }
            }
        }
    }
}

/// Whether a pager ended before the user left it. Ctrl-C is the user's; a pager that another signal ended may have shown
/// nothing.
fn is_failure(status: ExitStatus) -> bool {
    !status.success() && status.signal() != Some(Signal::INT.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names_the_pager() {
        // QMP_PAGER, PAGER, the words with a bar between, whether the user named them.
        type Case = (Option<&'static str>, Option<&'static str>, Option<(&'static str, bool)>);
        let cases: [Case; 7] = [
            (None, None, Some(("less", false))),
            (None, Some("more"), Some(("more", true))),
            (Some("less  -R +G"), Some("more"), Some(("less|-R|+G", true))),
            (Some(""), Some("more"), None),
            (None, Some(" "), None),
            (None, Some("cat"), None),
            (None, Some("a \"b c\""), Some(("a|\"b|c\"", true))),
        ];
        for (qmp_pager, pager, expected) in cases {
            let variable =
                |name: &str| if name == "QMP_PAGER" { qmp_pager } else { pager }.map(str::to_owned);
            let choice = PagerChoice::of(variable);
            let found = choice.as_ref().map(|choice| (choice.words.join("|"), choice.is_named));
            let expected = expected.map(|(words, is_named)| (words.to_owned(), is_named));
            assert_eq!(found, expected, "{qmp_pager:?} {pager:?}");
        }
    }
}

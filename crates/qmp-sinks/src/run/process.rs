//! One run of a command, with everything that it starts.
//!
//! It is the leader of a process group of its own. The group, and every other process of the run, ends when it takes too
//! long: TERM, and KILL a little later. What it says is read to the end and kept up to a bound. Whether it reads its input is its own affair.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use qmp_host::blocking;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::family::Family;

/// How much of what a command says is kept for the log, in bytes.
const RUN_OUTPUT_MAX_BYTES: usize = 4 << 10;

/// How long a command has after TERM before KILL comes.
const RUN_TERM_MAX: Duration = Duration::from_secs(5);

/// How long the output of a command that has ended is waited for: something that it left behind may hold it open.
const RUN_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// How often what a command started is looked for after KILL was sent; what is killed cannot start anything more.
const RUN_KILL_ROUNDS_MAX: u32 = 8;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    Exited(ExitStatus),
    TooLong,
    Unknown(io::Error),
}

/// A command that runs. Dropping it kills its group.
pub(super) struct Process {
    child: Child,
    group: Group,
    family: Family,
}

/// The processes of one run; killed with this unless the leader has ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // There may be nobody left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Process {
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<Self> {
        let family = Family::new();
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .envs([family.variable()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: Group(group), family })
    }

    /// Hands it `input`, and waits until it has ended. Gives the beginning of what it said.
    pub(super) async fn run(mut self, input: Vec<u8>, timeout: Duration) -> (Ended, String) {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let feeding = async move {
            if let Some(mut stdin) = stdin {
                // A command that does not read closes its end, and that is no failure.
                let _ = stdin.write_all(&input).await;
            }
        };
        let said = Said::default();
        let talking = async { tokio::join!(feeding, listen(stdout, &said), listen(stderr, &said)) };
        tokio::pin!(talking);
        let deadline = tokio::time::Instant::now() + timeout;
        let mut has_talked = false;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break Some(ended),
                // It closed its pipes, and may go on.
                _ = &mut talking, if !has_talked => has_talked = true,
                () = tokio::time::sleep_until(deadline) => break None,
            }
        };
        if ended.is_none() {
            self.end().await;
        }
        if !has_talked {
            let _ = tokio::time::timeout(RUN_OUTPUT_TIMEOUT, talking).await;
        }
        let Some(ended) = ended else { return (Ended::TooLong, text(&said.take())) };
        let ended = match ended {
            Ok(status) => {
                // What it left running on purpose stays.
                self.group.0 = None;
                Ended::Exited(status)
            }
            Err(error) => Ended::Unknown(error),
        };
        (ended, text(&said.take()))
    }

    async fn signal_family(&self, signal: Signal) -> usize {
        let family = self.family.clone();
        blocking(move || family.signal(signal)).await
    }

    /// Ends it and everything that it started.
    async fn end(&mut self) {
        self.group.signal(Signal::TERM);
        self.signal_family(Signal::TERM).await;
        let _ = tokio::time::timeout(RUN_TERM_MAX, self.child.wait()).await;
        self.group.signal(Signal::KILL);
        // One that was about to start another when it was looked at leaves that to the next look.
        for _ in 0..RUN_KILL_ROUNDS_MAX {
            if self.signal_family(Signal::KILL).await == 0 {
                break;
            }
        }
        let _ = self.child.wait().await;
        self.group.0 = None;
    }
}

/// The beginning of what a command says, on both of its ways out.
#[derive(Default)]
struct Said(Mutex<Vec<u8>>);

impl Said {
    fn add(&self, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = RUN_OUTPUT_MAX_BYTES.saturating_sub(said.len());
        said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads to the end, so that the command never waits.
async fn listen(stream: Option<impl AsyncRead + Unpin>, said: &Said) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(bytes) = stream.read(&mut buffer).await {
        if bytes == 0 {
            return;
        }
        said.add(&buffer[..bytes]);
    }
}

/// What was said, as one line of a log.
fn text(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ")
}

/// What may be wrong with a program that a rule names; it may be installed later.
pub(super) fn doubt(program: &str) -> Option<String> {
    let is_executable = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = Path::new(program);
        return match path.metadata() {
            Err(error) => Some(format!("{program} cannot be run as it is: {error}")),
            Ok(_) if !is_executable(path) => {
                Some(format!("{program} is no executable file; try: chmod +x {program}"))
            }
            Ok(_) => None,
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_found =
        std::env::split_paths(&path).any(|directory| is_executable(&directory.join(OsStr::new(program))));
    (!is_found).then(|| format!("there is no {program} in the PATH of this process; a whole path is safer"))
}

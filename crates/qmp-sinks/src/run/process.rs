//! One run of a command, with all processes that it starts.
//!
//! The command leads its own process group. The group, and every other process of the run, is ended when the command
//! takes too long: by TERM, and by KILL a little later. The output is read to the end and kept up to a bound. The
//! command need not read its input.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use qmp_host::{blocking, lock};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::run_processes::RunProcesses;

/// Bytes of a command's output that are kept for the log.
const RUN_OUTPUT_MAX_BYTES: usize = 4 << 10;

/// How long a command may run after TERM before KILL is sent.
const RUN_TERM_MAX: Duration = Duration::from_secs(5);

/// How long to wait for the output of a command that has ended: a process that it left running may hold it open.
const RUN_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// How often the processes of a run are searched after KILL was sent; a killed process cannot start another.
const RUN_KILL_ROUNDS_MAX: u32 = 8;

/// The result of a run.
#[derive(Debug)]
pub(super) enum RunResult {
    Exited(ExitStatus),
    TooLong,
    Unknown(io::Error),
}

/// A running command. Dropping it kills its group and all other processes of the run.
pub(super) struct Process {
    child: Child,
    group: Group,
    processes: RunProcesses,
}

/// The process group of one run; `None` when the leader has ended by itself.
struct Group(Option<Pid>);

impl Drop for Process {
    fn drop(&mut self) {
        if self.group.0.is_none() {
            return;
        }
        self.group.signal(Signal::KILL);
        for _ in 0..RUN_KILL_ROUNDS_MAX {
            if self.processes.signal(Signal::KILL) == 0 {
                break;
            }
        }
    }
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may be empty.
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
        let processes = RunProcesses::new();
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .envs([processes.variable()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: Group(group), processes })
    }

    /// Writes `input` to the command, and waits until it has ended. Returns the beginning of its output.
    pub(super) async fn run(mut self, input: Vec<u8>, timeout: Duration) -> (RunResult, String) {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let write_input = async move {
            if let Some(mut stdin) = stdin {
                // A command that does not read closes its end, which is not a failure.
                let _ = stdin.write_all(&input).await;
            }
        };
        let output = Output::default();
        let pipes =
            async { tokio::join!(write_input, read_output(stdout, &output), read_output(stderr, &output)) };
        tokio::pin!(pipes);
        let deadline = tokio::time::Instant::now() + timeout;
        let mut has_closed_pipes = false;
        let ended = loop {
            tokio::select! {
                ended = self.child.wait() => break Some(ended),
                // The command closed its pipes, and may keep running.
                _ = &mut pipes, if !has_closed_pipes => has_closed_pipes = true,
                () = tokio::time::sleep_until(deadline) => break None,
            }
        };
        if ended.is_none() {
            self.end().await;
        }
        if !has_closed_pipes {
            let _ = tokio::time::timeout(RUN_OUTPUT_TIMEOUT, pipes).await;
        }
        let Some(ended) = ended else { return (RunResult::TooLong, text(&output.take())) };
        let result = match ended {
            Ok(status) => {
                // Processes that the command left running on purpose stay.
                self.group.0 = None;
                RunResult::Exited(status)
            }
            Err(error) => RunResult::Unknown(error),
        };
        (result, text(&output.take()))
    }

    async fn signal_all(&self, signal: Signal) -> usize {
        let processes = self.processes.clone();
        blocking(move || processes.signal(signal)).await
    }

    /// Ends the command and all processes that it started.
    async fn end(&mut self) {
        self.group.signal(Signal::TERM);
        self.signal_all(Signal::TERM).await;
        let _ = tokio::time::timeout(RUN_TERM_MAX, self.child.wait()).await;
        self.group.signal(Signal::KILL);
        // A process that was just starting another is not complete in this search; the next search finds the child.
        for _ in 0..RUN_KILL_ROUNDS_MAX {
            if self.signal_all(Signal::KILL).await == 0 {
                break;
            }
        }
        let _ = self.child.wait().await;
        self.group.0 = None;
    }
}

/// The beginning of a command's output, from both pipes.
#[derive(Default)]
struct Output(Mutex<Vec<u8>>);

impl Output {
    fn add(&self, bytes: &[u8]) {
        let mut output = lock(&self.0);
        let room = RUN_OUTPUT_MAX_BYTES.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// Reads to the end, so that the command never blocks.
async fn read_output(stream: Option<impl AsyncRead + Unpin>, output: &Output) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(bytes) = stream.read(&mut buffer).await {
        if bytes == 0 {
            return;
        }
        output.add(&buffer[..bytes]);
    }
}

/// The output as one line of a log.
fn text(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ")
}

/// A warning about the program of a rule, which may still be installed later.
pub(super) fn warning(program: &str) -> Option<String> {
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

//! Finds every process of one run, in any process group or session.
//!
//! The process group of a command ends with it, but its children may have left the group (`setsid`, or a daemon). All
//! processes of a run have inherited one variable of the environment, whose value is unique to the run, and are found
//! by it in `/proc`. A process that replaced its environment is not found. (A subreaper would also get orphans of
//! successful commands, which are meant to keep running, and could not tell to which run they belong.)

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable by which the processes of a run are found.
const VARIABLE: &str = "QMP_RUN";

/// Identifies the processes of one run.
#[derive(Clone, Debug)]
pub(super) struct RunProcesses {
    id: String,
}

impl RunProcesses {
    /// Creates a unique id.
    pub(super) fn new() -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let boot = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        Self { id: format!("{}-{run}-{}", std::process::id(), boot.trim()) }
    }

    /// The variable for the first process.
    pub(super) fn variable(&self) -> (String, String) {
        (VARIABLE.to_owned(), self.id.clone())
    }

    /// Sends a signal to all of them; returns how many there are.
    pub(super) fn signal(&self, signal: Signal) -> usize {
        let Ok(entries) = fs::read_dir("/proc") else { return 0 };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids = names.filter_map(|name| Pid::from_raw(name.parse().ok()?));
        pids.filter(|pid| self.has(*pid) && self.signal_one(*pid, signal)).count()
    }

    fn signal_one(&self, pid: Pid, signal: Signal) -> bool {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The process id may have been reused before the descriptor was opened.
        self.has(pid) && pidfd_send_signal(process, signal).is_ok()
    }

    fn has(&self, pid: Pid) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else {
            return false;
        };
        let variable_of_run = format!("{VARIABLE}={}", self.id);
        environment.split(|byte| *byte == 0).any(|variable| variable == variable_of_run.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinHandle;

    use super::super::process::{Process, RunResult};

    /// A child in its own session, whose parent has ended, is killed with a command that took too long.
    #[tokio::test]
    async fn child_with_its_own_session_is_killed_at_the_timeout() {
        let (running, environ) = run_with_session(Duration::from_secs(2)).await;
        let (result, _) = running.await.expect("ends");
        assert!(matches!(result, RunResult::TooLong));
        wait_for_end(&environ).await;
    }

    /// The hub drops a run that has not ended when it stops.
    #[tokio::test]
    async fn child_with_its_own_session_is_killed_with_a_dropped_run() {
        let (running, environ) = run_with_session(Duration::from_secs(3_600)).await;
        running.abort();
        assert!(running.await.is_err(), "the run is cancelled");
        wait_for_end(&environ).await;
    }

    /// Runs a command whose child has its own session; returns the path of the child's environment, too.
    async fn run_with_session(timeout: Duration) -> (JoinHandle<(RunResult, String)>, String) {
        let home = tempfile::tempdir().expect("a directory");
        let pid_file = home.path().join("pid");
        let script = format!(
            "(setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' >/dev/null 2>&1 &); sleep 1000",
            pid_file.display()
        );
        let path = std::env::var("PATH").unwrap_or_default();
        let process = Process::start("sh".as_ref(), &["-c".to_owned(), script], [("PATH".to_owned(), path)]);
        let running = tokio::spawn(process.expect("starts").run(Vec::new(), timeout));
        while !pid_file.exists() {
            assert!(!running.is_finished(), "the child writes its process id");
            tokio::task::yield_now().await;
        }
        let pid = std::fs::read_to_string(&pid_file).expect("reads");
        (running, format!("/proc/{}/environ", pid.trim()))
    }

    /// Waits until, after KILL, the child does not exist, or is a zombie that was not reaped.
    async fn wait_for_end(environ: &str) {
        while std::fs::read(environ).is_ok_and(|environment| !environment.is_empty()) {
            tokio::task::yield_now().await;
        }
    }
}

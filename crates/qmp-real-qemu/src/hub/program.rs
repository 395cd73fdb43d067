//! A hub as users run it: `qmp serve`, its journal read by `qmp log --follow`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use qmp_testing::{PATIENCE, wait_for};
use qmp_wire::Record;

use super::http::VM;

/// Both processes; killed when dropped.
pub(super) struct Program {
    serve: Child,
    log: Child,
    lines: Receiver<String>,
    qmp: PathBuf,
    journal: PathBuf,
    given: usize,
}

impl Program {
    /// Starts the program with one VM.
    pub(super) fn start(qmp: &OsStr, socket: &Path, journal: &Path, http: &Path) -> Self {
        let attach = format!("{VM}=unix:{}", socket.display());
        let command = || {
            let mut command = Command::new(qmp);
            command.env("QMP_HUB", format!("unix:{}", http.display())).stdin(Stdio::null());
            command
        };
        let mut serve = command();
        serve.args([
            "serve",
            "--attach",
            &attach,
            "--http",
            &format!("unix:{}", http.display()),
            "--journal",
        ]);
        serve.arg(journal).stderr(Stdio::null());
        let serve = serve.spawn().unwrap_or_else(|error| panic!("{}: {error}", qmp.display()));
        wait_for("the hub", || http.exists().then_some(()));
        let mut log = command();
        log.args(["log", "--follow", "--json"]).stdout(Stdio::piped());
        let mut log = log.spawn().expect("qmp log starts");
        let output = BufReader::new(log.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { serve, log, lines, qmp: qmp.into(), journal: journal.to_owned(), given: 0 }
    }

    /// Returns the next record; `None` after the time limit.
    pub(super) fn next(&mut self) -> Option<Record<'static>> {
        let line = self.lines.recv_timeout(PATIENCE).ok()?;
        self.given += 1;
        Some(record(&line))
    }

    /// Stops the hub and returns the records after those that [`next`](Self::next) gave, from the file.
    pub(super) fn stop(mut self) -> Vec<Record<'static>> {
        let stopped = Command::new("kill").args(["-TERM", &self.serve.id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()));
        let status = wait_for("the end of the hub", || self.serve.try_wait().expect("it can be waited for"));
        assert!(status.success(), "{status}");
        let log = Command::new(&self.qmp).args(["log", "--json", "--journal"]).arg(&self.journal).output();
        let log = String::from_utf8(log.expect("qmp log runs").stdout).expect("UTF-8");
        log.lines().skip(self.given).map(record).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for process in [&mut self.log, &mut self.serve] {
            // The process may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn record(line: &str) -> Record<'static> {
    Record::from_json(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

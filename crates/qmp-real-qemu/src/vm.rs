//! A running scenario: actions on the VM, and its messages.

use std::collections::VecDeque;
use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use qmp_events::Release;
use qmp_testing::wait_for;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::capture_description::{self, CaptureDescription};
use crate::expected::{self, request};
use crate::hub::WatchingHub;
use crate::judge;
use crate::monitor::{MonitorLine, RawMonitor};
use crate::program::{is_missing, program};
use crate::qemu::Qemu;
use crate::scenario::Scenario;

/// A QEMU with two monitors: the hub's, and the scenario's own.
///
/// The notation of what is sent and expected: `NAME member=value member.of.member=value !absent`. A value is JSON, or
/// else a text up to the next space.
pub struct Vm {
    scenario: Scenario,
    // Dropped before the process: its end would be taken for that of the scenario.
    hub: WatchingHub,
    raw: RawMonitor,
    qemu: Qemu,
    release: Release,
    /// All received lines, the greeting first.
    received: Vec<MonitorLine>,
    /// The received lines that no check has consumed.
    unseen: VecDeque<MonitorLine>,
    ended: bool,
    findings: Vec<String>,
}

impl Scenario {
    /// Shares the directory of another scenario, so that sockets can be shared.
    #[must_use]
    pub fn beside(mut self, other: &Vm) -> Self {
        self.home = Arc::clone(other.home());
        self
    }

    /// Starts QEMU, stopped, and a hub that follows it; `None`, after saying so, where there is no QEMU.
    #[must_use]
    pub fn start(self) -> Option<Vm> {
        if is_missing() {
            return None;
        }
        eprintln!("{} of {}: {}", self.name, program(), self.options);
        Some(Vm::start(self))
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vm").field("release", &self.release).finish_non_exhaustive()
    }
}

impl Vm {
    pub(crate) fn start(scenario: Scenario) -> Self {
        let (name, home) = (scenario.name, scenario.home());
        let [hub_socket, raw_socket] = ["hub", "raw"].map(|monitor| format!("{name}-{monitor}.sock"));
        let given = scenario.options.replace("{port}", &free_port().to_string());
        let mut options: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
        options.extend_from_slice(&scenario.hidden_options);
        options.extend(scenario.is_stopped.then(|| "-S".to_owned()));
        let qemu = Qemu::start(home, &[&hub_socket, &raw_socket], &options);
        let hub = WatchingHub::start(&home.join(hub_socket), &home.join(format!("{name}.db")));
        let raw = RawMonitor::connect(&home.join(raw_socket));
        let mut vm = Self {
            scenario,
            hub,
            raw,
            qemu,
            release: Release::newest(),
            received: Vec::new(),
            unseen: VecDeque::new(),
            ended: false,
            findings: Vec::new(),
        };
        let greeting = vm.any();
        vm.release = release(&greeting.message);
        vm.execute("qmp_capabilities");
        vm
    }

    /// Returns the directory in which the scenario runs.
    #[must_use]
    pub const fn home(&self) -> &Arc<TempDir> {
        &self.scenario.home
    }

    /// Returns the release of its greeting.
    #[must_use]
    pub const fn release(&self) -> Release {
        self.release
    }

    /// Sends a command without waiting.
    pub fn send(&mut self, command: &str) {
        self.raw.send(&request(command).to_string()).expect("QEMU takes the command");
    }

    /// Sends a command and waits for its reply; events that come before are looked at later.
    ///
    /// Returns what was replied.
    ///
    /// # Panics
    ///
    /// If it is an error.
    pub fn execute(&mut self, command: &str) -> Value {
        let reply = self.reply_to(command);
        assert!(reply["error"].is_null(), "{command}: {reply}");
        reply["return"].clone()
    }

    /// Like [`execute`](Self::execute), for a command that has to fail.
    pub fn refused(&mut self, command: &str) -> Value {
        let reply = self.reply_to(command);
        assert!(reply["return"].is_null(), "{command}: {reply}");
        reply["error"].clone()
    }

    fn reply_to(&mut self, command: &str) -> Value {
        self.send(command);
        loop {
            if let Some(at) = self.unseen.iter().position(|line| line.event().is_none()) {
                return self.unseen.remove(at).expect("it is there").message;
            }
            assert!(self.receive(), "QEMU ended without a reply to {command}{}", self.told());
        }
    }

    /// Starts the guest, and with it the scenario.
    pub fn cont(&mut self) {
        self.send("cont");
        self.lines(&["RESUME", "reply"]);
    }

    /// Executes a line of the human monitor, and returns its output.
    pub fn human(&mut self, line: &str) -> String {
        let command = format!("human-monitor-command command-line={}", json!(line));
        self.execute(&command).as_str().expect("a text").to_owned()
    }

    /// Expects this line next: an event with these members, `reply`, or `error`.
    pub fn next(&mut self, expected: &str) -> MonitorLine {
        let line = self.any();
        let found = line.text();
        assert!(expected::is(&line.message, expected), "expected {expected}, found {found}{}", self.told());
        line
    }

    /// Expects these lines next, in this order.
    pub fn lines(&mut self, expected: &[&str]) {
        for expected in expected {
            self.next(expected);
        }
    }

    /// Expects these lines next, in any order; returns them in their actual order.
    pub fn in_any_order(&mut self, expected: &[&str]) -> Vec<MonitorLine> {
        let (mut missing, mut lines) = (expected.to_vec(), Vec::new());
        while !missing.is_empty() {
            let line = self.any();
            let at = missing.iter().position(|expected| expected::is(&line.message, expected));
            let at = at.unwrap_or_else(|| panic!("none of {missing:?}: {}{}", line.text(), self.told()));
            missing.remove(at);
            lines.push(line);
        }
        lines
    }

    /// Reads up to this line, skipping any others; returns all of them.
    pub fn until(&mut self, expected: &str) -> Vec<MonitorLine> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().unwrap_or_else(|| panic!("no {expected} came{}", self.told()));
            let is_it = expected::is(&line.message, expected);
            lines.push(line);
            if is_it {
                return lines;
            }
        }
    }

    /// Expects that QEMU ends by itself and sends no more lines.
    pub fn ends(&mut self) -> ExitStatus {
        let line = self.line();
        assert!(line.is_none(), "expected the end, found {}{}", line.expect("one").text(), self.told());
        self.qemu.wait()
    }

    /// Waits for a run state that follows shortly after its event.
    pub fn reaches(&mut self, run_state: &str) {
        wait_for(run_state, || (self.execute("query-status")["status"] == run_state).then_some(()));
    }

    /// Checks that no further event was received.
    ///
    /// It asks for the state, so that what came before the reply is known: the run state that is replied.
    pub fn quiet(&mut self) -> String {
        let status = self.execute("query-status");
        let unseen: Vec<&str> = self.unseen.iter().map(MonitorLine::text).collect();
        assert!(unseen.is_empty(), "expected nothing, found {unseen:#?}");
        status["status"].as_str().expect("a run state").to_owned()
    }

    /// Returns the received lines that no check has consumed.
    pub fn waiting(&mut self) -> Vec<MonitorLine> {
        self.execute("query-status");
        self.unseen.drain(..).collect()
    }

    /// Discards the received lines that no check has consumed.
    pub fn forget(&mut self) {
        self.execute("query-status");
        self.unseen.clear();
    }

    /// Sends QEMU a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        self.qemu.signal(signal);
    }

    /// The hub finds this, sooner or later: its kind and members of its `data`.
    ///
    /// Of findings that explain why the VM does not run, no other may come.
    pub fn finds(&mut self, finding: &str) {
        self.findings.push(finding.to_owned());
    }

    /// As [`finds`](Self::finds), and waits for it before anything else is done to the VM.
    pub fn found(&mut self, finding: &str) {
        self.hub.until_found(finding);
        self.finds(finding);
    }

    /// Makes the hub execute a command, as `qmp exec` does; it has no return value.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn execute_by_hub(&self, command: &str) {
        assert_eq!(self.hub.execute(&request(command))["return"], json!({}), "{command}");
    }

    /// The hub says that the VM is in this run state, for this cause, when it is asked (`/v1/vms/NAME`).
    ///
    /// It may not have read yet what QEMU has said to the scenario.
    ///
    /// # Panics
    ///
    /// If it goes on to say something else.
    pub fn stands(&self, run_state: &str, cause: &str) {
        let is_so = |vm: &Value| vm["run_state"] == run_state && vm["why"]["cause"] == cause;
        wait_for(&format!("{run_state} {cause}"), || Some(self.hub.vm()).filter(is_so));
    }

    /// Quits QEMU if it has not ended, checks what holds of every run, and keeps the capture if that is wanted.
    ///
    /// # Panics
    ///
    /// If anything is not as it should be.
    pub fn end(mut self) -> Vec<MonitorLine> {
        if !self.ended {
            // The process may be about to end by itself.
            let _ = self.raw.send("{\"execute\": \"quit\"}");
        }
        while self.receive() {}
        // Other processes can read the exit status only after the parent has reaped it.
        self.qemu.wait();
        self.hub.until("the end", judge::is_end);
        for finding in &self.findings {
            self.hub.until_found(finding);
        }
        let records = self.hub.stop();
        judge::events_are_those_of(&records, &self.received);
        judge::nothing_is_wrong(&records, &self.received, self.release, &self.findings);
        judge::shown(self.scenario.shows, &self.received);
        let seen = CaptureDescription {
            shows: self.scenario.shows.iter().map(|event| (*event).to_owned()).collect(),
            options: self.scenario.options.clone(),
            cause: self.scenario.cause.to_owned(),
        };
        let bytes: Vec<u8> = self.received.iter().flat_map(|line| line.bytes.iter().copied()).collect();
        let line = format!("{}.{}", self.release.major, self.release.minor);
        capture_description::keep_or_check(&line, self.scenario.name, &seen, &bytes);
        self.received
    }

    /// The next line, whatever it is.
    ///
    /// # Panics
    ///
    /// At the end.
    pub fn any(&mut self) -> MonitorLine {
        self.line().unwrap_or_else(|| panic!("QEMU ended{}", self.told()))
    }

    /// Returns the next line; `None` at the end.
    fn line(&mut self) -> Option<MonitorLine> {
        while self.unseen.is_empty() {
            if !self.receive() {
                return None;
            }
        }
        self.unseen.pop_front()
    }

    /// Waits for one more line; returns `false` at the end.
    fn receive(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let next = self.raw.next();
        match next.unwrap_or_else(|_| panic!("nothing came in time{}", self.told())) {
            Some(line) => {
                self.received.push(line.clone());
                self.unseen.push_back(line);
            }
            None => self.ended = true,
        }
        !self.ended
    }

    /// Formats all received lines, for the message of a failure.
    fn told(&self) -> String {
        let lines: Vec<&str> = self.received.iter().map(MonitorLine::text).collect();
        format!("; all that came:\n{}", lines.join("\n"))
    }
}

/// Returns a TCP port that is free at the moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    listener.local_addr().expect("it has an address").port()
}

fn release(greeting: &Value) -> Release {
    let version = &greeting["QMP"]["version"]["qemu"];
    let number = |part: &str| version[part].as_u64().and_then(|number| u32::try_from(number).ok());
    let [major, minor, micro] =
        ["major", "minor", "micro"].map(|part| number(part).expect("a greeting has a version"));
    Release::from_version(major, minor, micro)
}

//! A running scenario: what is done to the VM, and what it says.

mod asked;

pub use asked::tells_how_processes_end;

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::Arc;

use qmp_events::Release;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::expected::{self, request};
use crate::hub::Watching;
use crate::monitor::RawMonitor;
use crate::qemu::{Qemu, wait_for};
use crate::{Line, Scenario, Seen, judge, seen};

/// A QEMU with two monitors: the hub's, and the scenario's own.
///
/// The notation of what is sent and expected: `NAME member=value member.of.member=value !absent`. A value is JSON, or
/// else a text up to the next space.
pub struct Vm {
    scenario: Scenario,
    // Before the process: its end would be taken for that of the scenario.
    hub: Watching,
    raw: RawMonitor,
    qemu: Qemu,
    release: Release,
    /// Everything that came, the greeting first.
    received: Vec<Line>,
    /// What of it nobody has looked at.
    unseen: VecDeque<Line>,
    ended: bool,
    findings: Vec<String>,
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
        let hub = Watching::start(&home.join(hub_socket), &home.join(format!("{name}.db")));
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

    /// The directory in which it runs.
    #[must_use]
    pub const fn home(&self) -> &Arc<TempDir> {
        &self.scenario.home
    }

    /// The release that its greeting names.
    #[must_use]
    pub const fn release(&self) -> Release {
        self.release
    }

    /// Sends a command, and waits for nothing.
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

    /// As [`execute`](Self::execute), for a command that is to fail.
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

    /// Takes a line of the human monitor, and returns its answer.
    pub fn human(&mut self, line: &str) -> String {
        let command = format!("human-monitor-command command-line={}", json!(line));
        self.execute(&command).as_str().expect("a text").to_owned()
    }

    /// The next line is this one: an event with these members, `reply`, or `error`.
    pub fn next(&mut self, expected: &str) -> Line {
        let line = self.any();
        let found = line.text();
        assert!(expected::is(&line.message, expected), "expected {expected}, found {found}{}", self.told());
        line
    }

    /// The next lines are these, in this order.
    pub fn lines(&mut self, expected: &[&str]) {
        for expected in expected {
            self.next(expected);
        }
    }

    /// The next lines are these, in any order: that in which they came is returned.
    pub fn in_any_order(&mut self, expected: &[&str]) -> Vec<Line> {
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

    /// Reads up to this line, whatever comes before; returns all of it.
    pub fn until(&mut self, expected: &str) -> Vec<Line> {
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

    /// QEMU ends by itself, and says nothing more.
    pub fn ends(&mut self) -> ExitStatus {
        let line = self.line();
        assert!(line.is_none(), "expected the end, found {}{}", line.expect("one").text(), self.told());
        self.qemu.wait()
    }

    /// Waits for a run state that comes a moment after the event that tells of it.
    pub fn reaches(&mut self, run_state: &str) {
        wait_for(run_state, || (self.execute("query-status")["status"] == run_state).then_some(()));
    }

    /// Nothing has come since that nobody has looked at.
    ///
    /// It asks for the state, so that what came before the reply is known: the run state that is replied.
    pub fn quiet(&mut self) -> String {
        let status = self.execute("query-status");
        let unseen: Vec<&str> = self.unseen.iter().map(Line::text).collect();
        assert!(unseen.is_empty(), "expected nothing, found {unseen:#?}");
        status["status"].as_str().expect("a run state").to_owned()
    }

    /// What has come and what nobody has looked at.
    pub fn waiting(&mut self) -> Vec<Line> {
        self.execute("query-status");
        self.unseen.drain(..).collect()
    }

    /// Forgets what has come and what nobody has looked at.
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

    /// Quits QEMU if it has not ended, checks what holds of every run, and keeps the capture if that is wanted.
    ///
    /// # Panics
    ///
    /// If anything is not as it should be.
    pub fn end(mut self) -> Vec<Line> {
        if !self.ended {
            // It may be about to end by itself.
            let _ = self.raw.send("{\"execute\": \"quit\"}");
        }
        while self.receive() {}
        // Others are told how it ended only when its parent took notice.
        self.qemu.wait();
        self.hub.until("the end", judge::is_end);
        for finding in &self.findings {
            self.hub.until_found(finding);
        }
        let records = self.hub.stop();
        judge::events_are_those_of(&records, &self.received);
        judge::nothing_is_wrong(&records, &self.received, self.release, &self.findings);
        judge::shown(self.scenario.shows, &self.received);
        let seen = Seen {
            shows: self.scenario.shows.iter().map(|event| (*event).to_owned()).collect(),
            options: self.scenario.options.clone(),
            cause: self.scenario.cause.to_owned(),
        };
        let bytes: Vec<u8> = self.received.iter().flat_map(|line| line.bytes.iter().copied()).collect();
        let line = format!("{}.{}", self.release.major, self.release.minor);
        seen::keep_or_check(&line, self.scenario.name, &seen, &bytes);
        self.received
    }

    /// The next line, whatever it is.
    ///
    /// # Panics
    ///
    /// At the end.
    pub fn any(&mut self) -> Line {
        self.line().unwrap_or_else(|| panic!("QEMU ended{}", self.told()))
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Line> {
        while self.unseen.is_empty() {
            if !self.receive() {
                return None;
            }
        }
        self.unseen.pop_front()
    }

    /// Waits for one more line; false at the end.
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

    /// Everything that came, for a failure's message.
    fn told(&self) -> String {
        let lines: Vec<&str> = self.received.iter().map(Line::text).collect();
        format!("; all that came:\n{}", lines.join("\n"))
    }
}

/// A TCP port that nobody listens on, this moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    listener.local_addr().expect("it has an address").port()
}

fn release(greeting: &Value) -> Release {
    let version = &greeting["QMP"]["version"]["qemu"];
    let number = |part: &str| version[part].as_u64().and_then(|number| u16::try_from(number).ok());
    let [major, minor, micro] =
        ["major", "minor", "micro"].map(|part| number(part).expect("a greeting has a version"));
    Release::from_version(major, minor, micro)
}

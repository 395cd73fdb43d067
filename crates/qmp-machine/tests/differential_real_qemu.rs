//! Compares the emulated machine with a real QEMU: the same commands to both give equal streams, byte for byte.
//!
//! The scenarios are in `real_qemu.scenarios`. [`KNOWN`] lists the accepted differences; any other difference is a
//! failure.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use qmp_events::Release;
use qmp_machine::{Action, Machine, MachineConfig, RunningMachine};
use support::{
    Client, action, options,
    qemu::{Qemu, programs},
};

/// An accepted difference: the numbers of members of this name are not compared.
struct KnownDifference {
    member: &'static str,
    why: &'static str,
}

const KNOWN: &[KnownDifference] = &[
    KnownDifference { member: "seconds", why: "the emulated machine has its own clock" },
    KnownDifference { member: "microseconds", why: "the emulated machine has its own clock" },
    KnownDifference { member: "total", why: "a real dump counts the firmware as memory, too" },
    KnownDifference { member: "completed", why: "a real dump counts the firmware as memory, too" },
];

/// Commands whose event a real QEMU sends sometimes before, sometimes after the reply.
const RACES: &[(&str, &str)] = &[
    ("device_del ", "the device is freed by another thread, after the reply most of the time"),
    ("migrate", "a migration has its own thread, which is slower than the reply most of the time"),
];

const SCENARIOS: &str = include_str!("real_qemu.scenarios");

/// Virtual time of the emulated machine after each step: longer than any of its activities.
const SETTLES_IN: Duration = Duration::from_secs(20);

struct Scenario {
    name: &'static str,
    options: Vec<&'static str>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    /// The action for both machines.
    Both(&'static str),
    /// A line for the real machine's human monitor, and an action for the emulated one.
    Each(&'static str, &'static str),
    /// A line for both human monitors.
    Human(&'static str),
    Emulated(&'static str),
    /// Waits for a state of the real machine.
    Await(&'static str),
    /// Sends SIGTERM to the real machine.
    Signal,
    /// Sets up power management, as firmware would.
    PowerManagement,
}

fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in SCENARIOS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("== ") {
            let (name, options) = rest.split_once(':').expect("a name ends with a colon");
            scenarios.push(Scenario {
                name,
                options: options.split_whitespace().collect(),
                steps: Vec::new(),
            });
            continue;
        }
        let step = match line.split_once("> ") {
            Some(("e", rest)) => Step::Emulated(rest),
            Some(("", "pm")) => Step::PowerManagement,
            Some(("", "signal")) => Step::Signal,
            Some(("", rest)) if rest.starts_with("await ") => Step::Await(&rest["await ".len()..]),
            Some(("", rest)) => match (rest.strip_prefix("hmp "), rest.split_once(" => ")) {
                (Some(_), Some((line, action))) => Step::Each(&line["hmp ".len()..], action),
                (Some(line), None) => Step::Human(line),
                (None, _) => Step::Both(rest),
            },
            _ => panic!("unknown line: {line}"),
        };
        scenarios.last_mut().expect("a scenario begins with ==").steps.push(step);
    }
    scenarios
}

/// Returns the emulated machine that the options of a QEMU describe.
fn emulated((major, minor, micro): (u32, u32, u32), options: &[&str]) -> MachineConfig {
    let release = Release::from_version(major, minor, micro);
    let mut config = MachineConfig::bare().with_release(release).with_memory_bytes(128 << 20);
    options::apply(&mut config, options);
    config
}

/// An emulated machine and its client.
struct EmulatedMachine {
    running: RunningMachine,
    client: Client,
}

impl EmulatedMachine {
    fn start(config: MachineConfig) -> Self {
        let running = Machine::start(config).unwrap();
        let client = Client::new(running.connect().unwrap());
        Self { running, client }
    }

    /// Performs an action and lets time pass; returns the resulting lines.
    fn act(&mut self, action: &Action) -> Vec<String> {
        self.client.take_transcript();
        self.client.ask(action);
        self.running.advance(SETTLES_IN).unwrap();
        self.client.lines_now();
        self.client.take_transcript()
    }
}

impl EmulatedMachine {
    /// Ends the machine by a signal; returns the resulting lines.
    fn end(&mut self) -> Vec<String> {
        self.client.take_transcript();
        self.running.machine().perform(&Action::new("x-host-signal")).unwrap();
        self.client.rest();
        self.client.take_transcript()
    }
}

/// Returns a line without the accepted differences and the directory of the test.
fn comparable(line: &str, directory: &Path, compare_values: bool) -> String {
    if !compare_values && line.starts_with("{\"return\": ") {
        return "{\"return\": *}".into();
    }
    let mut line = line.replace(&directory.display().to_string(), "@");
    for KnownDifference { member, .. } in KNOWN {
        line = without_number(&line, &format!("\"{member}\": "));
    }
    line
}

/// Replaces each number after `member` by a star.
fn without_number(line: &str, member: &str) -> String {
    let mut parts = line.split(member);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|each: char| each.is_ascii_digit());
        text.extend([member, if rest.len() < part.len() { "*" } else { "" }, rest]);
    }
    text
}

fn human(line: &str) -> Action {
    Action::new("human-monitor-command").with("command-line", line)
}

/// Queries a real machine until it is in that state.
fn await_state(real: &mut Client, state: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = real.ask(&Action::new("query-status"));
        if status.last().is_some_and(|reply| reply["return"]["status"] == state) {
            return;
        }
        assert!(Instant::now() < deadline, "the real QEMU does not reach {state}");
    }
}

/// A real machine and an emulated one that run the same scenario.
struct Pair {
    qemu: Qemu,
    real: Client,
    emulated: EmulatedMachine,
    differences: Vec<String>,
}

impl Pair {
    fn start(program: &str, release: (u32, u32, u32), options: &[&str]) -> Self {
        let qemu = Qemu::start(program, options);
        let real = Client::new(qemu.connect());
        Self {
            qemu,
            real,
            emulated: EmulatedMachine::start(emulated(release, options)),
            differences: Vec::new(),
        }
    }

    fn run_step(&mut self, step: Step) {
        match step {
            Step::Both(line) => {
                let action = action(&line.replace('@', &self.qemu.directory().display().to_string()));
                self.compare(line, &action, None);
            }
            Step::Each(line, emulated_action) => {
                self.compare(line, &human(line), Some(&action(emulated_action)));
            }
            Step::Human(line) => self.compare(line, &human(line), None),
            Step::Emulated(line) => drop(self.emulated.act(&action(line))),
            Step::Await(state) => await_state(&mut self.real, state),
            Step::Signal => {
                let expected = self.emulated.end();
                self.real.take_transcript();
                self.qemu.terminate();
                self.real.rest();
                let actual = self.real.take_transcript();
                self.compare_lines("signal", &actual, &expected, true);
            }
            Step::PowerManagement => {
                for line in ["o/w 0xcf8 0x80000b40", "o/w 0xcfc 0x601", "o/w 0xcf8 0x80000b80", "o/b 0xcfc 1"]
                {
                    assert!(!self.real.ask(&human(line)).is_empty());
                }
            }
        }
    }

    /// Runs an action on both machines and compares the results; with a separate action for the emulated one, the
    /// returned values are not compared.
    fn compare(&mut self, line: &str, action: &Action, emulated_action: Option<&Action>) {
        let expected = self.emulated.act(emulated_action.unwrap_or(action));
        self.real.take_transcript();
        self.real.ask_and_await(action, expected.len());
        let actual = self.real.take_transcript();
        self.compare_lines(line, &actual, &expected, emulated_action.is_none());
    }

    fn compare_lines(&mut self, line: &str, actual: &[String], expected: &[String], compare_values: bool) {
        let directory = self.qemu.directory();
        let clean = |lines: &[String]| -> Vec<String> {
            lines
                .iter()
                .map(|line| format!("\n      {}", comparable(line, directory, compare_values)))
                .collect()
        };
        let (mut actual, mut expected) = (clean(actual), clean(expected));
        if RACES.iter().any(|(command, _)| line.starts_with(command)) {
            // Events keep their order; only the position of the reply may differ.
            let is_reply = |line: &String| !line.contains("\"event\": ");
            actual.sort_by_key(is_reply);
            expected.sort_by_key(is_reply);
        }
        if actual != expected {
            self.differences.push(format!(
                "{line}\n    real{}\n    emulated{}",
                actual.concat(),
                expected.concat()
            ));
        }
    }

    /// Checks that no messages are left.
    fn end(mut self) -> Vec<String> {
        let exited = self.emulated.running.machine().exit_status().is_some();
        let rest = if exited { self.real.rest() } else { self.real.ask(&Action::new("query-name")) };
        if rest.len() != usize::from(!exited) {
            self.differences.push(format!("at the end, exited {exited}: {rest:?}"));
        }
        self.differences
    }
}

#[test]
fn same_commands_give_equal_streams() {
    let only = std::env::var("QMP_SCENARIO").unwrap_or_default();
    let mut differences = Vec::new();
    for (program, release) in programs() {
        for scenario in scenarios().iter().filter(|scenario| scenario.name.contains(&only)) {
            let mut pair = Pair::start(&program, release, &scenario.options);
            scenario.steps.iter().for_each(|step| pair.run_step(*step));
            let name = scenario.name;
            differences
                .extend(pair.end().into_iter().map(|difference| format!("{program}: {name}: {difference}")));
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// Each accepted difference has a reason and is listed once.
#[test]
fn known_difference_has_reason_and_is_listed_once() {
    assert!(RACES.iter().all(|(_, why)| why.len() > 10));
    for (index, difference) in KNOWN.iter().enumerate() {
        assert!(difference.why.len() > 10, "{}", difference.member);
        assert!(
            KNOWN[..index].iter().all(|other| other.member != difference.member),
            "{}",
            difference.member
        );
    }
}

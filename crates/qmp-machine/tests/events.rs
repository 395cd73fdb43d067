//! Causes every event of the catalogue: name, members, sequels, order relative to the reply, run state afterwards.
//!
//! The table is `events.cases`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use qmp_events::{Release, catalogue, validate};
use qmp_machine::{Guest, Machine, MachineConfig};
use serde_json::Value;
use support::{Client, action, word};

const CASES: &str = include_str!("events.cases");

/// The releases of cases that name none.
const RELEASES: [&str; 2] = ["11.1.3", "7.2.22"];

#[derive(Debug, Default)]
struct Case<'a> {
    event: &'a str,
    releases: Vec<&'a str>,
    preparation: Vec<&'a str>,
    cause: &'a str,
    stream: &'a str,
    state: &'a str,
}

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((mark, rest)) = line.split_once(' ') else {
            cases.push(Case { event: line, ..Case::default() });
            continue;
        };
        let case = cases.last_mut().expect("a case begins with the name of an event");
        match mark {
            "@" => case.releases = rest.split(' ').collect(),
            "!" => case.preparation.push(rest),
            ">" => case.cause = rest,
            "<" => case.stream = rest,
            "=" => case.state = rest,
            _ => panic!("unknown line: {line}"),
        }
    }
    cases
}

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

/// Returns a machine with all devices and an absent guest, so that no event occurs without a cause.
fn machine(text: &str) -> MachineConfig {
    MachineConfig::default().with_release(release(text)).with_guest(Guest::Absent)
}

/// Returns the releases to which a case applies and which have its event.
fn claims<'a>(case: &Case<'a>) -> Vec<&'a str> {
    let desc = catalogue().iter().find(|desc| desc.name == case.event).expect(case.event);
    let all = if case.releases.is_empty() { RELEASES.to_vec() } else { case.releases.clone() };
    let exists = |text: &&str| desc.exists_in(text.parse::<Release>().unwrap());
    let claims: Vec<_> = all.into_iter().filter(exists).collect();
    assert!(
        case.releases.is_empty() || claims == case.releases,
        "{} is not in all of {claims:?}",
        case.event
    );
    claims
}

/// The stream of messages, and the run state afterwards.
struct Outcome {
    stream: String,
    messages: Vec<Value>,
    state: String,
}

fn outcome(case: &Case<'_>, claim: &str) -> Outcome {
    let running = Machine::start(machine(claim)).unwrap();
    let mut client = Client::new(running.connect().unwrap());
    let soon = Duration::from_millis(1);
    for line in &case.preparation {
        let messages = client.ask(&action(line));
        let reply = messages.last().unwrap();
        if word(reply) != "reply" {
            return Outcome { stream: format!("{line}: {reply}"), messages, state: String::new() };
        }
        running.advance(soon).unwrap();
    }
    // Wait until the rate limits of earlier events have passed.
    running.advance(Duration::from_secs(3)).unwrap();
    client.lines_now();
    let mut messages = client.ask(&action(case.cause));
    running.advance(Duration::ZERO).unwrap();
    messages.extend(client.lines_now());
    let mut words: Vec<_> = messages.iter().map(word).collect();
    let mut state = String::from("exited");
    if running.machine().exit_status().is_none() {
        running.advance(Duration::from_secs(60)).unwrap();
        let later = client.lines_now();
        if !later.is_empty() {
            words.push("…".into());
            words.extend(later.iter().map(word));
            messages.extend(later);
        }
        if running.machine().exit_status().is_none() {
            let status = client.ask(&action("query-status"));
            state = status.last().unwrap()["return"]["status"].as_str().unwrap().into();
        }
    } else {
        assert!(client.rest().is_empty(), "{}: a message after the exit", case.event);
    }
    Outcome { stream: words.join(" "), messages, state }
}

#[test]
fn cause_gives_stream_and_run_state_of_its_case() {
    let mut faults = Vec::new();
    for case in cases() {
        for claim in claims(&case) {
            let Outcome { stream, state, messages } = outcome(&case, claim);
            let name = format!("{} at {claim}: {}", case.event, case.cause);
            if stream != case.stream {
                faults
                    .push(format!("{name}\n  expected {}\n  actual   {stream}\n  {messages:?}", case.stream));
            }
            if state != case.state {
                faults.push(format!("{name}: expected to be {}, is {state}", case.state));
            }
            if !messages.iter().any(|message| message["event"] == case.event) {
                faults.push(format!("{name}: the event is missing"));
            }
            for message in &messages {
                faults.extend(violations(message, claim).into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns the violations of the catalogue by an event.
fn violations(message: &Value, claim: &str) -> Vec<String> {
    let Some(name) = message["event"].as_str() else { return Vec::new() };
    let data = message.get("data").map(Value::to_string);
    let violations = validate(name, data.as_deref(), claim.parse().unwrap());
    violations.into_iter().map(|violation| violation.to_string()).collect()
}

#[test]
fn event_of_newest_and_7_2_has_a_cause() {
    for text in RELEASES {
        let release: Release = text.parse().unwrap();
        let required: BTreeSet<_> =
            catalogue().iter().filter(|desc| desc.exists_in(release)).map(|desc| desc.name).collect();
        let caused: BTreeSet<_> =
            cases().iter().filter(|case| claims(case).contains(&text)).map(|case| case.event).collect();
        let missing: Vec<_> = required.difference(&caused).collect();
        assert!(missing.is_empty(), "{text}: no cause for {missing:?}");
    }
}

#[test]
fn event_of_any_release_has_a_cause() {
    let caused: BTreeSet<_> =
        cases().iter().filter(|case| !claims(case).is_empty()).map(|case| case.event).collect();
    let missing: Vec<_> =
        catalogue().iter().map(|desc| desc.name).filter(|name| !caused.contains(name)).collect();
    assert!(missing.is_empty(), "no cause for {missing:?}");
}

/// The counts are in the fact sheet: 57 events in 11.1, 52 in 7.2, 61 in all releases.
#[test]
fn catalogue_has_the_known_number_of_events() {
    let count = |text: &str| catalogue().iter().filter(|desc| desc.exists_in(text.parse().unwrap())).count();
    assert_eq!((count("11.1.3"), count("7.2.22"), catalogue().len()), (57, 52, 61));
}

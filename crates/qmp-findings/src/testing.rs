//! Test stories: the records of a VM in a short notation, and the findings in them.
//!
//! A line is `SECONDS WHAT`, or `SECONDS@SECONDS WHAT` if the VM's own time differs from that of receipt:
//!
//! ```text
//! 0 attached running              the epoch begins; run state, and `7.2.22` or another version after it
//! 0 attached running 7.2.22 kvm   the same, with the process at the other end
//! 0 attached running 7.2.22 kvm#7   the same, with the id of the process, which also gives its start
//! 0 attached paused/postcopy-paused   the same, and a migration in this status
//! 0 attached libvirt started restored paused migration of kvm#7   the same through libvirt: began, started (or `-`), state,
//!                                 reason, and the process, if it is known
//! 1.5 STOP
//! 1.6@1.2 WATCHDOG {"action": "pause"}
//! 2 command {"execute": "quit"}   the hub passed a command on
//! 3 process-ended {"signal": 9}   how the process ended
//! 3 gone {"evidence": "connection-refused"}   the process of the last epoch does not exist any more
//! 2 query 1 {"execute": "query-status", "return": {}}   the answer to the question that record 1 of the epoch raised
//! 2 answers internal-error        the same, to the last question about the run state
//! 2 libvirt paused user           libvirt's answer to that question: state and reason
//! 3 detached                      by the peer; or `detached hub stopped`, or `detached libvirt: saved`
//! 9 passes                        time passes without a record
//! ```

use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};
use serde_json::{Value, json};

use super::{Correlators, Finding, PROCESS_ENDED, QUERY};
use crate::{LIBVIRT_DETAIL, LIBVIRT_STATE};

/// 2026-01-02T03:04:05Z, in microseconds.
const START: i64 = 1_767_323_045_000_000;

/// One line of a story.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Record(Record<'static>),
    Passes(UnixMicros),
}

/// Parses a story.
pub(super) fn story(text: &str) -> Vec<Step> {
    let (mut epoch, mut seq, mut asked) = (0, 0, 0);
    let mut steps = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (time, what) = line.split_once(' ').expect("a time and a record");
        let (received, at) = time.split_once('@').unwrap_or((time, time));
        if what == "passes" {
            steps.push(Step::Passes(moment(received)));
            continue;
        }
        if what.starts_with("attached") {
            (epoch, seq) = (epoch + 1, 0);
        } else {
            seq += 1;
        }
        if ["STOP", "RESUME", "SHUTDOWN", "MIGRATION {\"status\": \"completed\"}", "attached"]
            .iter()
            .any(|raises| what.starts_with(raises))
        {
            asked = seq;
        }
        let answer = what.strip_prefix("answers ").map(|status| {
            let returned = json!({"status": status, "running": status == "running"});
            format!("query {asked} {}", json!({"execute": "query-status", "return": returned}))
        });
        let by_libvirt = what.strip_prefix("libvirt ").map(|words| {
            let (state, reason) = words.split_once(' ').expect("a state and a reason");
            let returned = json!({"state": state, "reason": reason});
            format!("query {asked} {}", json!({"execute": LIBVIRT_STATE, "return": returned}))
        });
        let answer = answer.or(by_libvirt);
        if answer.is_some() {
            asked = seq;
        }
        let what = answer.as_deref().unwrap_or(what);
        steps.push(Step::Record(Record {
            offset: Some(Offset(steps.len() as u64 + 1)),
            vm: "vm1".into(),
            epoch: Epoch(epoch),
            seq: Seq(seq),
            received: moment(received),
            body: body(what, Epoch(epoch), moment(at)),
        }));
    }
    steps
}

/// The findings of a story, in order: `KIND WORD CAUSES`, where the word is the most telling member.
pub(super) fn found(text: &str) -> Vec<String> {
    findings(&story(text)).iter().map(short).collect()
}

/// Steps of a story that is short enough to save and restore the state between any two of them.
const SHORT_STORY: usize = 24;

/// The findings of the steps. In a short story the state is saved and restored between any two steps.
pub(super) fn findings(steps: &[Step]) -> Vec<Finding> {
    let (mut correlators, mut found) = (Correlators::new(), Vec::new());
    for step in steps {
        let state = (steps.len() <= SHORT_STORY).then(|| correlators.saved("vm1")).flatten();
        if let Some(state) = state {
            correlators = Correlators::of_saved("vm1", &state).expect("a saved state can be read");
            assert_eq!(correlators.saved("vm1"), Some(state));
        }
        take(&mut correlators, step, &mut found);
    }
    found
}

/// Passes a step to the correlators.
pub(super) fn take(correlators: &mut Correlators, step: &Step, found: &mut Vec<Finding>) {
    match step {
        Step::Record(record) => correlators.record(record, found),
        Step::Passes(now) => correlators.time_passed(*now, found),
    }
}

/// The state of the VM at the end of a story: run state and cause.
pub(super) fn final_state(text: &str) -> String {
    let mut correlators = Correlators::new();
    for step in story(text) {
        match step {
            Step::Record(record) => correlators.record(&record, &mut Vec::new()),
            Step::Passes(now) => correlators.time_passed(now, &mut Vec::new()),
        }
    }
    let state = correlators.state("vm1").expect("the VM is tracked");
    let cause = state.why.map_or("-", |why| why.cause);
    format!("{} {cause}", state.run_state.as_deref().unwrap_or("-"))
}

pub(super) fn short(finding: &Finding) -> String {
    let words = ["cause", "result", "event", "what", "kind", "trigger"];
    let word = words.iter().find_map(|word| finding.data.get(*word).and_then(Value::as_str)).unwrap_or("-");
    let causes: Vec<String> =
        finding.causes.iter().map(|(epoch, seq)| format!("{}.{}", epoch.0, seq.0)).collect();
    format!("{} {word} {}", finding.kind, causes.join(","))
}

fn moment(seconds: &str) -> UnixMicros {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole: i64 = whole.parse().expect("seconds");
    let fraction: i64 = format!("{fraction:0<6}").parse().expect("a fraction");
    UnixMicros(START + whole * 1_000_000 + fraction)
}

fn body(what: &str, epoch: Epoch, at: UnixMicros) -> Body<'static> {
    let (name, rest) = what.split_once(' ').unwrap_or((what, ""));
    match name {
        "attached" if rest.starts_with("libvirt ") => {
            let (rest, process) = rest.split_once(" of ").map_or((rest, None), |(rest, it)| (rest, Some(it)));
            let words: Vec<&str> = rest.split(' ').collect();
            let [_, began, started, state, reason] = words[..] else { panic!("five words: {rest}") };
            let mut libvirt = json!({"began": began, "state": state, "reason": reason});
            if started != "-" {
                libvirt["started"] = started.into();
            }
            let process = process.map(self::process);
            let snapshot =
                json!({"address": "libvirt:qemu:///system", "process": process, "libvirt": libvirt});
            Body::Attached { snapshot: snapshot.to_string().into() }
        }
        "attached" => {
            let (status, version) = rest.split_once(' ').unwrap_or((rest, "7.2.22"));
            let (version, process) = version.split_once(' ').map_or((version, None), |(v, p)| (v, Some(p)));
            Body::Attached { snapshot: snapshot(status, version, process).into() }
        }
        "detached" => {
            let detail = rest.starts_with(LIBVIRT_DETAIL).then(|| rest.to_owned().into());
            let reason = if rest.is_empty() || detail.is_some() { "peer closed" } else { rest };
            Body::Detached { reason: DetachReason::from_wire(reason), detail, certain_until: None }
        }
        "command" | "process-ended" | "gone" => Body::Finding {
            finding: if name == "gone" { PROCESS_ENDED.into() } else { name.to_owned().into() },
            summary: "as it was".into(),
            causes: if name == "gone" { vec![(epoch, Seq(0))] } else { Vec::new() },
            data: Some(rest.to_owned().into()),
        },
        "query" => {
            let (seq, data) = rest.split_once(' ').expect("a record and an answer");
            let cause = (epoch, Seq(seq.parse().expect("a number")));
            let (finding, summary) = (QUERY.into(), "as it was".into());
            Body::Finding { finding, summary, causes: vec![cause], data: Some(data.to_owned().into()) }
        }
        name => Body::Event {
            name: name.to_owned().into(),
            sent_name: None,
            timestamp: Timestamp::from_wire(at.0.div_euclid(1_000_000), at.0.rem_euclid(1_000_000))
                .expect("a time"),
            data: (!rest.is_empty()).then(|| rest.to_owned().into()),
        },
    }
}

/// A snapshot; the part of the status after a `+` is a job that runs, or `ID:concluded`, or `ID:concluded:ERROR`; the
/// part after a `/` is the status of a migration.
fn snapshot(status: &str, version: &str, process: Option<&str>) -> String {
    let (status, job) = status.split_once('+').map_or((status, None), |(status, job)| (status, Some(job)));
    let (status, migration) =
        status.split_once('/').map_or((status, None), |(status, it)| (status, Some(it)));
    let numbers: Vec<u64> = version.split('.').map(|number| number.parse().expect("a number")).collect();
    let jobs = job.map(|job| {
        let mut parts = job.splitn(3, ':');
        let (id, status) = (parts.next(), parts.next().unwrap_or("running"));
        let mut job =
            json!({"id": id, "type": "mirror", "status": status, "current-progress": 1, "total-progress": 9});
        if let Some(error) = parts.next() {
            job["error"] = error.into();
        }
        job
    });
    json!({
        "address": "unix:/run/vm1.sock",
        "process": process.map(self::process),
        "greeting": {"version": {"qemu": {"major": numbers[0], "minor": numbers[1], "micro": numbers[2]}, "package": ""}},
        "query-status": {"status": status, "running": status == "running"},
        "query-migrate": migration.map_or_else(|| json!({}), |status| json!({"status": status})),
        "query-jobs": jobs.into_iter().collect::<Vec<_>>(),
    })
    .to_string()
}

/// A process, `NAME` or `NAME#PID`.
fn process(text: &str) -> Value {
    let Some((name, pid)) = text.split_once('#') else { return json!({"pid": 4711, "name": text}) };
    let pid: u64 = pid.parse().expect("a number");
    json!({"pid": pid, "name": name, "start_ticks": 10 * pid, "boot_id": "b"})
}

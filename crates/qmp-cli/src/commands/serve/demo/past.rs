//! Writes the history of a demonstration into its journal, as a hub of that time would have: records, the answers of the VMs to the
//! questions of the correlators, and findings, each at its time.

use std::collections::HashMap;
use std::path::Path;

use qmp_findings::{Correlators, Finding, QUERY, Question};
use qmp_journal::{Batch, Draft, Journal, JournalError, JournalOptions};
use qmp_wire::{Body, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};
use serde_json::json;

use super::calendar::Calendar;
use super::story::{Act, Step, story};
use crate::exit::Failure;

/// Records of one commit.
const BATCH_RECORDS: usize = 10_000;

/// How long QEMU needs for an answer, in microseconds.
const ANSWER: i64 = 1_500;

/// A machine of the demonstration.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) name: Box<str>,
    pub(super) script: &'static str,
    pub(super) uuid: Box<str>,
    pub(super) address: Box<str>,
    pub(super) seed: u64,
}

/// Writes the history of `machines` from `since` to `now`. Returns the number of its records; 0 if the journal has records already.
pub(super) async fn write(
    path: &Path,
    machines: &[Machine],
    since: UnixMicros,
    now: UnixMicros,
) -> Result<u64, Failure> {
    let options = JournalOptions { digest: qmp_history::DIGEST, ..JournalOptions::default() };
    let journal = Journal::open(path, options)?;
    if journal.head() > Offset(0) {
        journal.close()?;
        return Ok(0);
    }
    let mut past = Past::new(machines);
    for (machine, Step { at, act }) in steps(machines, Calendar::new(since.0, now.0)) {
        past.step(machine, at, act);
        if past.batch.len() >= BATCH_RECORDS {
            past.append(&journal).await?;
        }
    }
    past.append(&journal).await?;
    let head = journal.head();
    journal.close()?;
    Ok(head.0)
}

/// The steps of all machines by time.
fn steps(machines: &[Machine], calendar: Calendar) -> Vec<(usize, Step)> {
    let of = |(index, machine): (usize, &Machine)| {
        story(machine.script, machine.seed, calendar).into_iter().map(move |step| (index, step))
    };
    let mut steps: Vec<(usize, Step)> = machines.iter().enumerate().flat_map(of).collect();
    steps.sort_by_key(|(index, step)| (step.at, *index));
    steps
}

struct Past<'m> {
    machines: &'m [Machine],
    /// By name: epoch and number of the last record, and the run state.
    vms: HashMap<&'m str, Numbers>,
    correlators: Correlators,
    batch: Batch,
}

/// The numbers of a VM's last record, as the journal gives them, and its run state.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    epoch: u32,
    seq: u64,
    run_state: &'static str,
}

impl<'m> Past<'m> {
    fn new(machines: &'m [Machine]) -> Self {
        let none = Numbers { epoch: 0, seq: 0, run_state: "running" };
        let vms = machines.iter().map(|machine| (&*machine.name, none)).collect();
        Self { machines, vms, correlators: Correlators::new(), batch: Batch::new() }
    }

    fn step(&mut self, machine: usize, at: i64, act: Act) {
        let machine = &self.machines[machine];
        let mut found = Vec::new();
        self.correlators.time_passed(UnixMicros(at), &mut found);
        self.findings(found);
        if let Some(vm) = self.vms.get_mut(&*machine.name) {
            match &act {
                // Each end of QEMU is followed by a start.
                Act::Attached if vm.run_state == "ended" => vm.run_state = "running",
                Act::Event { name: "SHUTDOWN", .. } => vm.run_state = "ended",
                Act::Event { run_state: Some(run_state), .. } => vm.run_state = run_state,
                _ => {}
            }
        }
        let body = self.body(machine, at, act);
        self.record(&machine.name, at, body);
        for question in self.correlators.questions() {
            self.answer(&question, at + ANSWER);
        }
    }

    fn body(&self, machine: &Machine, at: i64, act: Act) -> Body<'static> {
        match act {
            Act::Attached => Body::Attached { snapshot: self.snapshot(machine).into() },
            Act::Event { name, data, .. } => Body::Event {
                name: name.into(),
                sent_name: None,
                timestamp: Timestamp::from_wire(at.div_euclid(1_000_000), at.rem_euclid(1_000_000))
                    .ok()
                    .flatten(),
                data: data.map(|data| data.to_string().into()),
            },
            Act::Detached { reason, detail } => {
                Body::Detached { reason, detail: Some(detail.into()), certain_until: Some(UnixMicros(at)) }
            }
        }
    }

    /// The answers of the VM to the queries of a hub that attaches.
    fn snapshot(&self, machine: &Machine) -> String {
        let status = self.status(&machine.name);
        let version = json!({"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""});
        json!({
            "address": machine.address,
            "greeting": {"version": version, "capabilities": ["oob"]},
            "query-status": status,
            "query-name": {"name": machine.name},
            "query-uuid": {"UUID": machine.uuid},
            "query-version": version,
            "query-jobs": [],
            "query-migrate": {},
        })
        .to_string()
    }

    fn status(&self, vm: &str) -> serde_json::Value {
        let run_state = self.vms.get(vm).map_or("running", |vm| vm.run_state);
        json!({"status": run_state, "running": run_state == "running"})
    }

    /// The answer of a VM, as the hub records it.
    fn answer(&mut self, question: &Question, at: i64) {
        let answer = match question.execute {
            "query-jobs" => json!([]),
            _ => self.status(&question.vm),
        };
        let said = answer["status"].as_str().unwrap_or("no jobs");
        let body = Body::Finding {
            finding: QUERY.into(),
            summary: format!("{}: {said}", question.execute).into(),
            causes: vec![question.cause],
            data: Some(json!({"execute": question.execute, "return": answer}).to_string().into()),
        };
        self.record(&question.vm, at, body);
    }

    /// Adds a record, and the findings that follow from it.
    fn record(&mut self, vm: &str, at: i64, body: Body<'_>) {
        let mut found = self.push(vm, UnixMicros(at), body);
        found.sort_by_key(|finding| finding.at);
        self.findings(found);
    }

    fn findings(&mut self, found: Vec<Finding>) {
        for finding in found {
            // Findings do not feed back.
            self.push(&finding.vm, finding.at, finding.body());
        }
    }

    /// Numbers a record as the journal does, and adds it to the batch. Returns what the correlators conclude.
    fn push(&mut self, name: &str, received: UnixMicros, body: Body<'_>) -> Vec<Finding> {
        let Some(vm) = self.vms.get_mut(name) else { return Vec::new() };
        match body {
            Body::Attached { .. } => (vm.epoch, vm.seq) = (vm.epoch + 1, 0),
            _ => vm.seq += 1,
        }
        let (epoch, seq) = (Epoch(vm.epoch), Seq(vm.seq));
        self.batch.push(&Draft { vm: name, received, body: body.clone() });
        let record = Record { offset: None, vm: name.into(), epoch, seq, received, body };
        let mut found = Vec::new();
        self.correlators.record(&record, &mut found);
        found
    }

    async fn append(&mut self, journal: &Journal) -> Result<(), JournalError> {
        let appender = journal.appender();
        let ticket = appender.append_when_room(&mut self.batch).await?;
        appender.committed(ticket).await?;
        self.batch.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use qmp_findings::is_evidence;
    use qmp_journal::{Query, Reader};

    use super::*;

    const NOW: UnixMicros = UnixMicros(1_767_323_045_000_000);
    const WEEK: i64 = 7 * 86_400_000_000;

    fn machines() -> Vec<Machine> {
        let machine = |(seed, (name, script)): (u64, &(&str, &'static str))| Machine {
            name: (*name).into(),
            script,
            uuid: "00000000-0000-4000-8000-000000000001".into(),
            address: "unix:/vm.sock".into(),
            seed,
        };
        (0..).zip(&super::super::CAST).map(machine).collect()
    }

    async fn written(path: &Path) -> Vec<Record<'static>> {
        let count = write(path, &machines(), UnixMicros(NOW.0 - WEEK), NOW).await.expect("writes");
        let mut cursor = Reader::open(path).expect("opens").cursor(Query::default(), Offset(0));
        let records = cursor.next_batch(100_000).expect("reads");
        assert_eq!(u64::try_from(records.len()), Ok(count));
        records
    }

    #[tokio::test]
    async fn history_is_the_same_each_time_and_whole() {
        let home = tempfile::tempdir().expect("a directory");
        let records = written(&home.path().join("a.db")).await;
        assert_eq!(records, written(&home.path().join("b.db")).await);
        let verified =
            qmp_journal::verify_with(&home.path().join("a.db"), qmp_history::DIGEST).expect("reads");
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        let again = write(&home.path().join("a.db"), &machines(), UnixMicros(0), NOW).await;
        assert_eq!(again.expect("opens"), 0, "a journal with records is left as it is");
    }

    /// The hub that continues the journal reads it, and must find its own conclusions.
    #[tokio::test]
    async fn findings_are_those_of_a_hub_that_reads_the_history() {
        let home = tempfile::tempdir().expect("a directory");
        let records = written(&home.path().join("a.db")).await;
        let (mut correlators, mut concluded) = (Correlators::new(), Vec::new());
        for record in &records {
            correlators.time_passed(record.received, &mut concluded);
            correlators.record(record, &mut concluded);
            assert_eq!(correlators.missing(&record.vm), None, "{record:?}");
        }
        let identity =
            |vm: &str, kind: &str, causes: &[(Epoch, Seq)]| (vm.to_owned(), kind.to_owned(), causes.to_vec());
        let mut concluded: Vec<_> =
            concluded.iter().map(|one| identity(&one.vm, one.kind, &one.causes)).collect();
        let mut recorded: Vec<_> = records
            .iter()
            .filter(|record| !is_evidence(record))
            .filter_map(|record| match &record.body {
                Body::Finding { finding, causes, .. } => Some(identity(&record.vm, finding, causes)),
                _ => None,
            })
            .collect();
        concluded.sort();
        recorded.sort();
        assert_eq!(concluded, recorded);
        for kind in ["why-paused", "why-ended", "why-reset", "job", "migration"] {
            assert!(recorded.iter().any(|(_, recorded, _)| recorded == kind), "no {kind}");
        }
        let unseen = recorded.iter().filter(|(_, kind, _)| kind == "state-changed-unseen").count();
        assert_eq!(unseen, 0, "the history contradicts itself");
    }
}

//! Missing records: removed by retention, or unreadable.

use std::ops::Range;

use super::super::state::VmState;
use super::super::testing::{Step, findings, short, story, take};
use super::super::{Correlators, Finding};

/// The steps of a story without those in `missing`.
fn without(text: &str, missing: Range<usize>) -> Vec<Step> {
    let mut steps = story(text);
    steps.drain(missing);
    steps
}

fn state(steps: &[Step]) -> VmState {
    let mut correlators = Correlators::new();
    steps.iter().for_each(|step| take(&mut correlators, step, &mut Vec::new()));
    correlators.state("vm1").expect("the VM is tracked")
}

const RESTARTED: &str = "0 attached running 7.2.22 kvm#7
    1 RTC_CHANGE {\"offset\": 0}
    2 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}
    2.1 detached
    9 attached paused 7.2.22 kvm#8";

#[test]
fn missing_records_between_two_epochs_give_no_finding() {
    for missing in [2..4, 3..4, 2..3, 0..3, 1..4] {
        let steps = without(RESTARTED, missing.clone());
        let unseen: Vec<Finding> = findings(&steps)
            .into_iter()
            .filter(|finding| finding.kind == "state-changed-unseen" || finding.summary.contains("recorded"))
            .collect();
        assert!(unseen.is_empty(), "{missing:?}: {unseen:?}");
    }
}

#[test]
fn absence_after_missing_records_is_no_unseen_end() {
    let ended = "0 attached running 7.2.22 kvm#7
        2 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}
        2.1 detached
        9 gone {\"pid\": 7, \"evidence\": \"no-such-process\"}";
    for missing in [1..3, 1..2, 2..3] {
        let found: Vec<String> = findings(&without(ended, missing.clone())).iter().map(short).collect();
        assert!(!found.iter().any(|finding| finding.contains("unknown")), "{missing:?}: {found:?}");
    }
}

/// A story, its findings with `finding` among them recorded at the end, without the steps in `missing`.
fn recorded(text: &str, finding: &str, missing: Range<usize>) -> (VmState, String) {
    let (mut steps, whole) = (story(text), findings(&story(text)));
    let found = whole.iter().find(|found| found.kind == finding).expect("the finding is concluded");
    let Some(Step::Record(mut record)) = steps.last().cloned() else { panic!("a record") };
    record.seq.0 += 1;
    record.body = found.body().into_owned();
    steps.push(Step::Record(record));
    steps.drain(missing);
    (state(&steps), found.summary.to_string())
}

#[test]
fn recorded_finding_explains_a_state_with_missing_records() {
    let ended = "0 attached running 7.2.22 kvm#7
        1 STOP
        2 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}
        2.1 detached
        2.2 process-ended {\"exit_code\": 0}";
    for (missing, before) in [(2..4, 4), (2..3, 3)] {
        let (state, summary) = recorded(ended, "why-ended", missing);
        let explanation = state.why.expect("the finding explains it");
        assert_eq!((explanation.cause, explanation.summary), ("host-qmp-quit", summary));
        assert_eq!((state.run_state.as_deref(), state.attached), (Some("ended"), false));
        let missing = state.incomplete.expect("records are missing");
        assert_eq!(serde_json::json!(missing), serde_json::json!({"after": [1, 1], "before": [1, before]}));
    }
}

#[test]
fn recorded_finding_about_an_earlier_epoch_explains_nothing() {
    let (state, _) = recorded(RESTARTED, "why-ended", 3..4);
    assert_eq!(
        (state.why.expect("a state").cause, state.run_state.as_deref()),
        ("found-paused", Some("paused"))
    );
}

#[test]
fn state_without_the_beginning_is_that_of_the_rest() {
    let paused = "0 attached running\n1 RTC_CHANGE {\"offset\": 0}\n2 STOP
        2.1 command {\"execute\": \"stop\", \"client\": \"shell\"}\n9 passes";
    let state = state(&without(paused, 0..2));
    assert_eq!(state.why.expect("the command explains it").cause, "host-stop");
    assert_eq!((state.run_state.as_deref(), state.epoch), (Some("paused"), Some(qmp_wire::Epoch(1))));
    let missing = state.incomplete.expect("records are missing");
    assert_eq!(serde_json::json!(missing).to_string(), r#"{"before":[1,2]}"#);
}

#[test]
fn complete_epoch_after_missing_records_is_complete() {
    let text = format!("{RESTARTED}\n10 detached\n11 attached running 7.2.22 kvm#8");
    assert!(state(&without(&text, 2..4)).incomplete.is_none());
    assert!(state(&without(RESTARTED, 2..4)).incomplete.is_some());
}

//! Replay: the same records give the same findings in any batching.

use proptest::prelude::*;
use qmp_events::{EventDesc, catalogue};
use qmp_wire::{Body, UnixMicros};

use super::super::testing::{Step, findings, story, take};
use super::super::{Correlators, EPOCHS_READ, EXIT_RECORD_MAX, Finding, FindingKind, local_time};

/// Lines that are drawn at random, besides the examples of the catalogue.
const LINES: &[&str] = &[
    "attached running",
    "attached paused",
    "attached running 2.9.0",
    "attached running+j0 11.1.3",
    "detached",
    "detached hub stopped",
    "STOP",
    "STOP",
    "RESUME",
    "RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
    "RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}",
    "SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}",
    "SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}",
    "WATCHDOG {\"action\": \"reset\"}",
    "WATCHDOG {\"action\": \"pause\"}",
    "WATCHDOG {\"action\": \"poweroff\"}",
    "GUEST_PANICKED {\"action\": \"pause\"}",
    "GUEST_PANICKED {\"action\": \"poweroff\"}",
    "BLOCK_IO_ERROR {\"device\": \"d\", \"operation\": \"read\", \"action\": \"stop\", \"reason\": \"x\"}",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"running\"}",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"aborting\"}",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"concluded\"}",
    "MIGRATION {\"status\": \"active\"}",
    "MIGRATION {\"status\": \"completed\"}",
    "DEVICE_DELETED {\"path\": \"/machine/peripheral/n/virtio-backend\"}",
    "DEVICE_DELETED {\"device\": \"n\", \"path\": \"/machine/peripheral/n\"}",
    "VSERPORT_CHANGE {\"id\": \"p\", \"open\": true}",
    "VSERPORT_CHANGE {\"id\": \"p\", \"open\": false}",
    "UNHEARD_OF {\"a\": null}",
    "command {\"execute\": \"stop\"}",
    "command {\"execute\": \"device_del\", \"arguments\": {\"id\": \"n\"}, \"result\": \"done\"}",
    "POWERDOWN",
    "RTC_CHANGE {\"offset\": 0}",
    "MIGRATION {\"status\": \"postcopy-paused\"}",
    "MIGRATION {\"status\": \"postcopy-recover\"}",
    "command {\"execute\": \"cont\", \"client\": \"shell\"}",
    "answers paused",
    "answers internal-error",
    "answers finish-migrate",
    "answers postmigrate",
    "answers running",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"null\"}",
    "GUEST_CRASHLOADED {\"action\": \"run\"}",
    "process-ended {\"signal\": 9}",
    "attached running 7.2.22 kvm#7",
    "attached paused 7.2.22 kvm#7",
    "attached running 7.2.22 kvm#8",
    "detached hub killed",
    "gone {\"evidence\": \"connection-refused\"}",
];

/// A line, four times in five one of [`LINES`], or else an event with an example of the catalogue: whatever event a correlator
/// reads, it is drawn.
fn line() -> impl Strategy<Value = String> {
    let of_event = |desc: &EventDesc| {
        let name = desc.name;
        let data = if desc.examples.is_empty() { &[""] } else { desc.examples };
        data.iter().map(move |data| format!("{name} {}", data.replace('\n', " "))).collect::<Vec<_>>()
    };
    let examples: Vec<String> = catalogue().iter().flat_map(of_event).collect();
    prop_oneof![4 => prop::sample::select(LINES).prop_map(str::to_owned), 1 => prop::sample::select(examples)]
}

/// Random records, mostly close together, with a clock that is set back at times.
pub(super) fn records() -> impl Strategy<Value = Vec<Step>> {
    let pause =
        prop_oneof![8 => 0i64..20_000, 4 => 0i64..3_000_000, 2 => 0i64..700_000_000, 1 => -90_000_000i64..0];
    prop::collection::vec((line(), pause, 0i64..2_000_000), 1..80).prop_map(|lines| {
        let mut at = 1_000_000_000i64;
        let mut text = String::from("1 attached running\n");
        for (line, pause, late) in lines {
            at = (at + pause).max(0);
            let own = (at - if late > 1_900_000 { late } else { 0 }).max(0);
            let seconds = |micros: i64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            text += &format!("{}@{} {line}\n", seconds(at), seconds(own));
        }
        story(&text)
    })
}

fn received(step: &Step) -> UnixMicros {
    match step {
        Step::Record(record) => record.received,
        Step::Passes(now) => *now,
    }
}

proptest! {
    /// Replay gives the same findings: how often and when time is passed to the correlators does not matter.
    #[test]
    fn findings_do_not_depend_on_when_time_passes(steps in records(), marks in prop::collection::vec((any::<prop::sample::Index>(), 0i64..200_000_000), 0..20)) {
        let end = Step::Passes(UnixMicros(i64::MAX / 2));
        let mut timed = steps.clone();
        for (index, before_us) in marks {
            // Time passes before a record, and no later than its receipt: so it is for every reader.
            let index = index.index(timed.len());
            let now = UnixMicros(received(&timed[index]).0 - before_us);
            timed.insert(index, Step::Passes(now));
        }
        let (mut plain, mut timed) = (findings(&[&steps[..], std::slice::from_ref(&end)].concat()), findings(&[&timed[..], &[end]].concat()));
        // Deadlines that expired while the clock was set back are the only findings with another moment in the two.
        plain.iter_mut().chain(&mut timed).for_each(|finding| finding.at = UnixMicros(0));
        prop_assert_eq!(plain, timed);
    }

    /// Findings between the records change nothing.
    #[test]
    fn recorded_findings_do_not_feed_back(steps in records()) {
        let plain = findings(&steps);
        let (mut correlators, mut found) = (Correlators::new(), Vec::new());
        for step in &steps {
            let before = found.len();
            let Step::Record(record) = step else { continue };
            correlators.record(record, &mut found);
            let fresh: Vec<Finding> = found[before..].to_vec();
            for finding in &fresh {
                let mut echo = record.clone();
                echo.body = finding.body().into_owned();
                echo.received = finding.at;
                correlators.record(&echo, &mut found);
            }
        }
        prop_assert_eq!(plain, found);
    }

    /// Each finding has a listed kind, a sentence, existing causes, and an identity.
    #[test]
    fn findings_are_well_formed_and_distinct(steps in records()) {
        let found = findings(&[&steps[..], &[Step::Passes(UnixMicros(i64::MAX / 2))]].concat());
        let ids: Vec<_> = steps.iter().filter_map(|step| match step {
            Step::Record(record) => Some((record.epoch, record.seq)),
            Step::Passes(_) => None,
        }).collect();
        for finding in &found {
            prop_assert!(FindingKind::from_name(finding.kind).is_some(), "{}", finding.kind);
            prop_assert!(finding.summary.ends_with('.') && !finding.summary.contains('\n'), "{}", finding.summary);
            prop_assert!(!finding.causes.is_empty(), "{finding:?}");
            prop_assert!(finding.causes.iter().all(|id| ids.contains(id)), "{finding:?}");
        }
        let mut identities: Vec<_> = found.iter().map(|finding| (finding.kind, &finding.causes)).collect();
        identities.sort();
        let all = identities.len();
        identities.dedup();
        prop_assert_eq!(identities.len(), all, "no two findings are the same");
    }

    /// Reading the last epochs is enough: the findings in the last two, and the final state, do not depend on the
    /// epochs before those that are read.
    #[test]
    fn last_epochs_give_the_same_findings_and_state(steps in prop_oneof![records(), super::oracle::histories()]) {
        let attached: Vec<usize> = steps.iter().enumerate().filter_map(|(index, step)| match step {
            Step::Record(record) if matches!(record.body, Body::Attached { .. }) => Some(index),
            _ => None,
        }).collect();
        let read = usize::try_from(EPOCHS_READ).expect("few");
        let begin = attached[attached.len().saturating_sub(read)];
        let Some(Step::Record(opened)) = attached.last().map(|last| &steps[*last]) else { unreachable!("attached") };
        let of_last_two = |found: Vec<Finding>| -> Vec<_> {
            let of_them = |finding: &Finding| finding.causes.iter().any(|(epoch, _)| epoch.0 + 1 >= opened.epoch.0);
            found.into_iter().filter(of_them).map(|finding| (finding.kind, finding.summary, finding.causes)).collect()
        };
        prop_assert_eq!(of_last_two(findings(&steps[begin..])), of_last_two(findings(&steps)));
        let final_state = |steps: &[Step]| {
            let mut correlators = Correlators::new();
            steps.iter().for_each(|step| take(&mut correlators, step, &mut Vec::new()));
            correlators.state("vm1")
        };
        prop_assert_eq!(final_state(&steps[begin..]), final_state(&steps));
    }

    /// Two seconds after an epoch is closed, no deadline is left.
    #[test]
    fn closed_epoch_has_no_late_deadline(steps in records()) {
        let (mut correlators, mut found) = (Correlators::new(), Vec::new());
        for step in &steps {
            let Step::Record(record) = step else { continue };
            correlators.record(record, &mut found);
            if matches!(record.body, Body::Detached { .. }) {
                let latest = UnixMicros(record.received.0 + local_time::micros(EXIT_RECORD_MAX));
                prop_assert!(correlators.deadline().is_none_or(|deadline| deadline <= latest));
            }
        }
    }
}

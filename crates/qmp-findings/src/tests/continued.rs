//! Explanations that are continued after the hub was down, and those that are not.

use super::super::Correlators;
use super::super::testing::{findings, short, story, take};
use super::oracle;

const IO_ERROR: &str = "1 BLOCK_IO_ERROR {\"device\": \"n0\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true, \"reason\": \"No space left on device\"}\n1.001 STOP\n";
const PANIC: &str = "1 GUEST_PANICKED {\"action\": \"run\"}\n";
const PAUSED: &str = "1 STOP\n1.01 command {\"execute\": \"stop\", \"client\": \"shell\"}\n";
const RESUMED: &str =
    "1 STOP\n1.1 answers paused\n2 RESUME\n2.01 command {\"execute\": \"cont\", \"client\": \"shell\"}\n";

/// The final explanation: cause, by, and its records.
fn final_explanation(text: &str) -> String {
    let mut correlators = Correlators::new();
    for step in story(text) {
        take(&mut correlators, &step, &mut Vec::new());
    }
    let why = correlators.state("vm1").and_then(|state| state.why).expect("there is an explanation");
    let causes: Vec<String> =
        why.causes.iter().map(|(epoch, seq)| format!("{}.{}", epoch.0, seq.0)).collect();
    format!("{} {} {}", why.cause, why.by, causes.join(","))
}

#[test]
fn explanation_is_continued_if_the_vm_is_unchanged() {
    let again = |attached: &str| format!("5 detached hub stopped\n9 attached {attached}\n");
    //  name, process of the first epoch, its events, later lines, final explanation
    let cases: [(&str, &str, &str, String, &str); 15] = [
        (
            "I/O error, same process",
            "kvm#7",
            IO_ERROR,
            again("io-error 7.2.22 kvm#7"),
            "io-error qemu 1.1,1.2,2.0",
        ),
        ("I/O error, process unknown", "", IO_ERROR, again("io-error"), "io-error qemu 1.1,1.2,2.0"),
        (
            "I/O error, another process",
            "kvm#7",
            IO_ERROR,
            again("io-error 7.2.22 kvm#8"),
            "io-error qemu 1.0,1.3,2.0",
        ),
        (
            "I/O error, and it runs",
            "kvm#7",
            IO_ERROR,
            again("running 7.2.22 kvm#7"),
            "found-running unknown 2.0",
        ),
        (
            "I/O error, and it is paused",
            "kvm#7",
            IO_ERROR,
            again("paused 7.2.22 kvm#7"),
            "found-paused unknown 2.0",
        ),
        ("a panic, same process", "kvm#7", PANIC, again("running 7.2.22 kvm#7"), "guest-panic guest 1.1,2.0"),
        ("a panic, process unknown", "", PANIC, again("running"), "found-running unknown 2.0"),
        (
            "a panic, another process",
            "kvm#7",
            PANIC,
            again("running 7.2.22 kvm#8"),
            "found-running unknown 1.0,1.2,2.0",
        ),
        (
            "paused through the hub",
            "kvm#7",
            PAUSED,
            again("paused 7.2.22 kvm#7"),
            "host-stop host 1.1,1.2,2.0",
        ),
        (
            "resumed through the hub",
            "kvm#7",
            RESUMED,
            again("running 7.2.22 kvm#7"),
            "resume host 1.3,1.4,2.0",
        ),
        ("found in this state", "kvm#7", "", again("running 7.2.22 kvm#7"), "found-running unknown 2.0"),
        (
            "over two gaps",
            "kvm#7",
            IO_ERROR,
            again("io-error 7.2.22 kvm#7") + "10 detached hub stopped\n12 attached io-error 7.2.22 kvm#7\n",
            "io-error qemu 1.1,1.2,3.0",
        ),
        (
            "over more gaps than an explanation is continued",
            "kvm#7",
            IO_ERROR,
            again("io-error 7.2.22 kvm#7")
                + &"10 detached hub stopped\n12 attached io-error 7.2.22 kvm#7\n".repeat(3),
            "io-error qemu 5.0",
        ),
        (
            "it is resumed afterwards",
            "kvm#7",
            IO_ERROR,
            again("io-error 7.2.22 kvm#7") + "10 RESUME\n10.1 answers running\n",
            "resume unknown 2.1",
        ),
        (
            "the guest is reset afterwards",
            "kvm#7",
            PANIC,
            again("running 7.2.22 kvm#7")
                + "20 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n30 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n",
            "guest-reset guest 2.2",
        ),
    ];
    for (name, process, first, then, expected) in cases {
        let opened = if process.is_empty() { String::new() } else { format!(" 7.2.22 {process}") };
        assert_eq!(
            final_explanation(&format!("0 attached running{opened}\n{first}{then}")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn ending_after_a_gap_has_the_cause_from_before_it() {
    let text = format!(
        "0 attached running 7.2.22 kvm#7\n{PANIC}5 detached hub stopped\n9.1 attached running 7.2.22 kvm#7\n20 detached\n\
         20.01 process-ended {{\"pid\": 7, \"signal\": 9}}"
    );
    let steps = story(&text);
    let found = findings(&steps);
    oracle::judge(&found, &steps).expect("every conclusion has its evidence");
    let ended = found.last().expect("a finding");
    assert_eq!(short(ended), "why-ended guest-panic 1.1,2.1,2.2");
    insta::assert_snapshot!(ended.summary, @"The guest panicked and was left running; QEMU was killed by SIGKILL 19 s later.");
    assert_eq!(ended.data["ended_by"], "killed");
}

#[test]
fn continued_explanation_names_its_gaps() {
    let summary = |text: &str| {
        let mut correlators = Correlators::new();
        for step in story(text) {
            take(&mut correlators, &step, &mut Vec::new());
        }
        let state = correlators.state("vm1").expect("the VM is tracked");
        let why = state.why.expect("there is an explanation");
        format!("{}\n  since {} {}\n", why.summary, state.run_since.expect("a moment"), why.details["gap"])
    };
    let once = format!(
        "0 attached running 7.2.22 kvm#7\n{IO_ERROR}5 detached hub stopped\n9.1 attached io-error 7.2.22 kvm#7\n"
    );
    let unknown = once.replace(" 7.2.22 kvm#7", "");
    let twice = format!("{once}10 detached hub killed\n15 attached io-error 7.2.22 kvm#7\n");
    insta::assert_snapshot!([summary(&once), summary(&unknown), summary(&twice)].concat(), @"
    A write to disk n0 failed (No space left on device), and QEMU paused it until `cont`, which tries again. Nothing was recorded for 4.1 s between epochs 1 and 2; its process and its run state were the same before and after.
      since 2026-01-02T03:04:06.001000Z {\"epochs\":[1,2],\"seconds\":4.1}
    A write to disk n0 failed (No space left on device), and QEMU paused it until `cont`, which tries again. Nothing was recorded for 4.1 s between epochs 1 and 2; its run state was the same before and after.
      since 2026-01-02T03:04:06.001000Z {\"epochs\":[1,2],\"seconds\":4.1}
    A write to disk n0 failed (No space left on device), and QEMU paused it until `cont`, which tries again. Nothing was recorded for 9.1 s in all between epochs 1 and 3; its process and its run state were the same before and after.
      since 2026-01-02T03:04:06.001000Z {\"epochs\":[1,3],\"seconds\":9.1}
    ");
}

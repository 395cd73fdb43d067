//! What the correlators ask, and for how long.

use super::super::testing::{Step, story};
use super::super::{Correlators, Question};

/// The questions that the story raises and that are open at its end, `EXECUTE EPOCH.SEQ`, in order.
fn open_at_the_end(text: &str) -> Vec<String> {
    let (mut correlators, mut questions): (_, Vec<Question>) = (Correlators::new(), Vec::new());
    for step in story(text) {
        match step {
            Step::Record(record) => correlators.record(&record, &mut Vec::new()),
            Step::Passes(now) => correlators.time_passed(now, &mut Vec::new()),
        }
        questions.extend(correlators.questions());
    }
    questions.retain(|question| correlators.is_open(question));
    let text =
        |question: Question| format!("{} {}.{}", question.execute, question.cause.0.0, question.cause.1.0);
    questions.into_iter().map(text).collect()
}

#[test]
fn stop_without_a_cause_asks_for_the_run_state() {
    //  name, story behind `0 attached running`, the questions that are open then
    let cases: [(&str, &str, &[&str]); 5] = [
        ("STOP", "5 STOP", &["query-status 1.1"]),
        ("STOP with its cause", "5 WATCHDOG {\"action\": \"pause\"}\n5.001 STOP", &[]),
        ("the command is recorded", "5 STOP\n5.01 command {\"execute\": \"stop\"}", &[]),
        ("it runs again", "5 STOP\n5.01 RESUME", &[]),
        ("the epoch is closed", "5 STOP\n5.01 detached hub stopped", &[]),
    ];
    for (name, story, expected) in cases {
        assert_eq!(open_at_the_end(&format!("0 attached running\n{story}")), expected, "{name}");
    }
}

//! The questions of the correlators, and how long they stay open.

use super::super::testing::{Step, story};
use super::super::{Correlators, Question};

/// The questions that the story raises and that are open at its end, `EXECUTE EPOCH.SEQ`, in order.
fn open_questions(text: &str) -> Vec<String> {
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
fn stop_without_cause_raises_question_about_run_state() {
    //  name, story after `0 attached running`, open questions at the end
    let cases: [(&str, &str, &[&str]); 20] = [
        ("STOP", "5 STOP", &["query-status 1.1"]),
        ("STOP with its cause", "5 WATCHDOG {\"action\": \"pause\"}\n5.001 STOP", &[]),
        ("the command is recorded", "5 STOP\n5.01 command {\"execute\": \"stop\"}", &[]),
        ("it runs again", "5 STOP\n5.01 RESUME", &["query-status 1.2"]),
        ("RESUME and the command is recorded", "5 RESUME\n5.01 command {\"execute\": \"cont\"}", &[]),
        ("WAKEUP", "5 SUSPEND\n6 WAKEUP", &[]),
        ("it is answered", "5 STOP\n5.01 answers paused", &[]),
        (
            "another question is answered",
            "5 STOP\n5.01 query 7 {\"execute\": \"query-status\", \"return\": {}}",
            &["query-status 1.1"],
        ),
        ("the answer passes", "5 STOP\n5.01 answers finish-migrate\n5.9 passes", &[]),
        (
            "the answer passes, and so does time",
            "5 STOP\n5.01 answers finish-migrate\n6.2 passes",
            &["query-status 1.2"],
        ),
        (
            "the answer passes again",
            "5 STOP\n5.01 answers finish-migrate\n6.2 answers finish-migrate\n7.9 passes\n8.3 passes",
            &["query-status 1.3"],
        ),
        (
            "a job that failed",
            "5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"aborting\"}\n5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"concluded\"}",
            &["query-jobs 1.2"],
        ),
        (
            "a job that completed",
            "5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"pending\"}\n5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"concluded\"}",
            &[],
        ),
        (
            "a job that failed with a reason",
            "5 BLOCK_JOB_COMPLETED {\"device\": \"j\", \"error\": \"x\"}\n5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"concluded\"}",
            &[],
        ),
        ("the finding was made without an answer", "5 STOP\n20 passes", &["query-status 1.1"]),
        (
            "`migrate` of a stopped VM",
            "5 STOP\n5.01 command {\"execute\": \"stop\"}\n6 command {\"execute\": \"migrate\", \"result\": \"done\"}\n7.1 passes",
            &["query-status 1.3"],
        ),
        (
            "`migrate` of a stopped VM, which is not over",
            "5 STOP\n5.01 command {\"execute\": \"stop\"}\n6 command {\"execute\": \"migrate\", \"result\": \"done\"}\n7.1 passes\n7.2 query 3 {\"execute\": \"query-status\", \"return\": {\"status\": \"paused\"}}\n9.3 passes",
            &["query-status 1.4"],
        ),
        (
            "`migrate` of a stopped VM, which is over",
            "5 STOP\n5.01 command {\"execute\": \"stop\"}\n6 command {\"execute\": \"migrate\", \"result\": \"done\"}\n7.1 passes\n7.2 query 3 {\"execute\": \"query-status\", \"return\": {\"status\": \"postmigrate\"}}\n99 passes",
            &[],
        ),
        (
            "`migrate` of a running VM",
            "6 command {\"execute\": \"migrate\", \"result\": \"done\"}\n99 passes",
            &[],
        ),
        ("the epoch is closed", "5 STOP\n5.01 detached hub stopped", &[]),
    ];
    for (name, story, expected) in cases {
        assert_eq!(open_questions(&format!("0 attached running\n{story}")), expected, "{name}");
    }
}

#[test]
fn questions_about_vm_that_stops_and_resumes_often_are_limited() {
    let story: String = (0..300)
        .map(|step| {
            format!("{}.{} {}\n", step / 10, step % 10, if step % 2 == 0 { "STOP" } else { "RESUME" })
        })
        .collect();
    let (mut correlators, mut asked) = (Correlators::new(), Vec::new());
    for step in super::super::testing::story(&format!("0 attached running\n{story}99 passes")) {
        match step {
            Step::Record(record) => correlators.record(&record, &mut Vec::new()),
            Step::Passes(now) => correlators.time_passed(now, &mut Vec::new()),
        }
        asked.extend(correlators.questions());
    }
    let last = asked.last().expect("there is a question").cause.1.0;
    assert!((10..20).contains(&asked.len()) && last == 300, "{} {last}", asked.len());
}

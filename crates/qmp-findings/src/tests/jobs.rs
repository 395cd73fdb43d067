//! Jobs, migrations and unplugs: one finding each.

use super::super::Correlators;
use super::super::testing::{Step, findings, found, story};

/// The kinds and summaries of all findings.
fn summaries(text: &str) -> String {
    let found = findings(&story(text));
    found.iter().map(|finding| format!("{}: {}\n", finding.kind, finding.summary)).collect()
}

/// `SECONDS id status …` as events of the job.
fn job(steps: &str) -> String {
    let line = |step: &str| {
        let (at, status) = step.split_once(' ').expect("time and status");
        format!("{at} JOB_STATUS_CHANGE {{\"id\": \"j0\", \"status\": \"{status}\"}}\n")
    };
    steps.split(", ").map(line).collect()
}

fn block(at: &str, event: &str, more: &str) -> String {
    format!(
        "{at} {event} {{\"device\": \"j0\", \"type\": \"mirror\", \"len\": 65536, \"offset\": 65536, \"speed\": 0{more}}}\n"
    )
}

#[test]
fn job_is_reported_once_when_it_is_over() {
    let begin = "0 attached running\n";
    let mirror = format!(
        "{begin}{}{}{}{}{}",
        job("1 created, 1 running, 3 ready"),
        block("3", "BLOCK_JOB_READY", ""),
        job("4 waiting, 4 pending"),
        block("4.1", "BLOCK_JOB_COMPLETED", ""),
        job("4.2 concluded, 4.2 null"),
    );
    insta::assert_snapshot!(summaries(&mirror), @"job: Job j0 (mirror) completed after 3.2 s, 65536 of 65536 bytes done.");
    let failed = format!(
        "{begin}{}{}{}{}",
        job("1 created, 1 running"),
        "2 BLOCK_JOB_ERROR {\"device\": \"j0\", \"operation\": \"write\", \"action\": \"report\"}\n"
            .repeat(3),
        block("3", "BLOCK_JOB_COMPLETED", ", \"error\": \"No space left on device\""),
        job("3 aborting, 3.1 concluded"),
    );
    insta::assert_snapshot!(summaries(&failed), @"job: Job j0 (mirror) failed (No space left on device) after 2.1 s, 65536 of 65536 bytes done, with an I/O error 3 times.");
    let cancelled = format!(
        "{begin}{}{}{}",
        job("1 created, 1 running, 2 aborting"),
        block("2", "BLOCK_JOB_CANCELLED", ""),
        job("2 concluded"),
    );
    insta::assert_snapshot!(summaries(&cancelled), @"job: Job j0 (mirror) was cancelled after 1.0 s, 65536 of 65536 bytes done.");
    // `blockdev-create` sends no events of block jobs.
    insta::assert_snapshot!(summaries(&format!("{begin}{}", job("1 created, 1 running, 2 waiting, 2 pending, 2 concluded"))), @"job: Job j0 completed after 1.0 s.");
}

#[test]
fn running_job_has_type_of_command_that_started_it() {
    let command = |execute: &str, result: &str| {
        format!(
            "1.1 command {{\"execute\": \"{execute}\", \"arguments\": {{\"job-id\": \"j0\"}}, \"result\": \"{result}\"}}\n"
        )
    };
    let cases = [
        ("blockdev-backup", "done", Some("backup")),
        ("snapshot-save", "done", Some("snapshot-save")),
        ("blockdev-backup", "failed", None),
        ("block-job-set-speed", "done", None),
    ];
    for (execute, result, expected) in cases {
        let story =
            format!("0 attached running\n{}{}", job("1 created, 1 running"), command(execute, result));
        let mut correlators = Correlators::new();
        for step in super::super::testing::story(&story) {
            if let Step::Record(record) = step {
                correlators.record(&record, &mut Vec::new());
            }
        }
        let jobs = correlators.state("vm1").expect("a state").jobs;
        let types: Vec<Option<&str>> = jobs.iter().map(|job| job.ty.as_deref()).collect();
        assert_eq!(types, [expected], "{execute} {result}");
    }
    let whole = format!(
        "0 attached running\n{}{}{}",
        job("1 created, 1 running"),
        command("blockdev-backup", "done"),
        job("2 pending, 2 concluded")
    );
    insta::assert_snapshot!(summaries(&whole), @"job: Job j0 (backup) completed after 1.0 s.");
}

#[test]
fn failed_job_without_reason_raises_a_question() {
    let begin = "0 attached running\n";
    let aborts = format!("{begin}{}", job("1 created, 1 running, 2 aborting, 2 concluded"));
    let answer = |error: &str| {
        format!(
            "2.1 query 4 {{\"execute\": \"query-jobs\", \"return\": [{{\"id\": \"j0\", \"type\": \"snapshot-load\", \"status\": \"concluded\"{error}}}]}}\n"
        )
    };
    let none = "2.1 query 4 {\"execute\": \"query-jobs\", \"return\": []}\n";
    let failed =
        "2.1 query 4 {\"execute\": \"query-jobs\", \"error\": {\"class\": \"TimedOut\", \"desc\": \"\"}}\n";
    let unseen = format!("{begin}{}", job("1 created, 1 running, 1 running, 2 concluded"));
    //  name, story, summary, result and causes
    let cases: [(&str, String, &str, &str); 8] = [
        (
            "it failed",
            format!("{aborts}{}", answer(", \"error\": \"Snapshot 'x' does not exist\"")),
            "Job j0 (snapshot-load) failed (Snapshot 'x' does not exist) after 1.1 s.",
            "job failed 1.1,1.2,1.3,1.4,1.5",
        ),
        (
            "it was cancelled",
            format!("{aborts}{}", answer(", \"error\": \"Operation canceled\"")),
            "Job j0 (snapshot-load) was cancelled after 1.1 s.",
            "job cancelled 1.1,1.2,1.3,1.4,1.5",
        ),
        (
            "the answer lacks it",
            format!("{aborts}{none}"),
            "Job j0 failed or was cancelled, and QEMU gave no reason, after 1.1 s.",
            "job failed 1.1,1.2,1.3,1.4",
        ),
        (
            "the VM could not be asked",
            format!("{aborts}{failed}"),
            "Job j0 failed or was cancelled, and QEMU gave no reason, after 1.1 s.",
            "job failed 1.1,1.2,1.3,1.4",
        ),
        (
            "no answer comes",
            format!("{aborts}20 passes"),
            "Job j0 failed or was cancelled, and QEMU gave no reason, after 11 s.",
            "job failed 1.1,1.2,1.3,1.4",
        ),
        (
            "it is dismissed before the answer is recorded",
            format!(
                "{aborts}2.05 JOB_STATUS_CHANGE {{\"id\": \"j0\", \"status\": \"null\"}}\n{}",
                answer(", \"error\": \"x\"")
            ),
            "Job j0 (snapshot-load) failed (x) after 1.1 s.",
            "job failed 1.1,1.2,1.3,1.4,1.5,1.6",
        ),
        (
            "neither completed nor failed, and it completed",
            format!("{unseen}{}", answer("")),
            "Job j0 (snapshot-load) completed after 1.1 s.",
            "job completed 1.1,1.2,1.3,1.4,1.5",
        ),
        (
            "neither completed nor failed, and no answer",
            format!("{unseen}20 passes"),
            "Job j0 is over, and its result is not known, after 11 s.",
            "job unknown 1.1,1.2,1.3,1.4",
        ),
    ];
    for (name, text, summary, expected) in cases {
        assert_eq!(summaries(&text), format!("job: {summary}\n"), "{name}");
        assert_eq!(found(&text), [expected], "{name}");
    }
}

#[test]
fn concluded_job_is_listed_until_it_is_dismissed() {
    let listed = |text: &str| -> String {
        let mut correlators = Correlators::new();
        for step in story(text) {
            match step {
                Step::Record(record) => correlators.record(&record, &mut Vec::new()),
                Step::Passes(now) => correlators.time_passed(now, &mut Vec::new()),
            }
        }
        let jobs = correlators.state("vm1").expect("the VM is tracked").jobs;
        let text = |job: crate::state::JobState| {
            format!("{} {} {}", job.id.unwrap_or_default(), job.status, job.error.unwrap_or_default())
        };
        jobs.into_iter().map(text).collect::<Vec<_>>().join(", ")
    };
    let begin = "0 attached running\n";
    let answer = "3 query 3 {\"execute\": \"query-jobs\", \"return\": [{\"id\": \"j0\", \"status\": \"concluded\", \"error\": \"full\"}]}\n";
    let failed = format!("{begin}{}{answer}", job("1 running, 2 aborting, 2 concluded"));
    let cases = [
        (format!("{begin}{}", job("1 running, 2 waiting, 2 pending")), "j0 pending "),
        (format!("{begin}{}", job("1 running, 2 pending, 2 concluded")), "j0 concluded "),
        (format!("{begin}{}", job("1 running, 2 pending, 2 concluded, 3 null")), ""),
        (failed.clone(), "j0 concluded full"),
        (format!("{failed}{}", job("4 null")), ""),
        ("0 attached running+j0:concluded:full".to_owned(), "j0 concluded full"),
        (
            format!("{failed}5 detached hub stopped\n6 attached running+j0:concluded:full"),
            "j0 concluded full",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(listed(&text), expected, "{text}");
    }
}

#[test]
fn job_that_runs_when_epoch_closes_is_reported_later() {
    let running = format!("0 attached running\n{}", job("1 created, 1 running"));
    let quit = "5 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n5.1 detached\n9 passes";
    let killed = running.replace("running\n", "running 7.2.22 kvm\n");
    let cases: [(&str, String, &[&str]); 11] = [
        (
            "QEMU was killed",
            format!("{killed}5 detached\n5.01 process-ended {{\"pid\": 4711, \"signal\": 9}}"),
            &["why-ended killed 1.3,1.4", "job interrupted 1.1,1.2,1.3,1.4"],
        ),
        (
            "it is not known whether QEMU ended",
            format!("{killed}5 detached\n99 passes"),
            &["why-ended gone 1.3"],
        ),
        (
            "the process before is slow to end",
            format!("{killed}5 detached\n6 attached running+j0 7.2.22 kvm#8\n7 process-ended {{\"pid\": 4711, \"signal\": 9}}"),
            &["why-ended gone 1.3", "job interrupted 1.1,1.2,1.3,2.0"],
        ),
        (
            "failed unseen",
            format!("{running}5 detached hub stopped\n6 attached running+j0:concluded:full"),
            &["job failed 1.1,1.2,1.3,2.0"],
        ),
        (
            "completed unseen",
            format!("{running}5 detached hub stopped\n6 attached running+j0:concluded"),
            &["job completed 1.1,1.2,1.3,2.0"],
        ),
        (
            "over in the epoch before, and reported there",
            format!("{running}{}5 detached hub stopped\n6 attached running+j0:concluded", job("2 pending, 2 concluded")),
            &["job completed 1.1,1.2,1.3,1.4"],
        ),
        ("continues", format!("{running}5 detached hub stopped\n6 attached running+j0"), &[]),
        (
            "continued and ended",
            format!("{running}5 detached hub stopped\n6 attached running+j0\n{}", job("7 pending, 7 concluded")),
            &["job completed 2.0,2.1,2.2"],
        ),
        (
            "ended unseen",
            format!("{running}5 detached hub stopped\n6 attached running"),
            &["job unseen 1.1,1.2,1.3,2.0"],
        ),
        (
            "ended with QEMU",
            format!("{running}{quit}"),
            &["job interrupted 1.1,1.2,1.4", "why-ended host-qmp-quit 1.3,1.4"],
        ),
        (
            "before 3.0",
            "0 attached running 2.9.0\n1 BLOCK_JOB_COMPLETED {\"device\": \"d\", \"type\": \"stream\", \"len\": 5, \"offset\": 5, \"speed\": 0}"
                .to_owned(),
            &["job completed 1.1"],
        ),
    ];
    for (name, story, expected) in cases {
        assert_eq!(found(&story), expected, "{name}");
    }
}

#[test]
fn migration_is_reported_once() {
    let text = "0 attached running 11.1.3\n\
        1 MIGRATION {\"status\": \"setup\"}\n1.1 MIGRATION {\"status\": \"active\"}\n1.5 MIGRATION_PASS {\"pass\": 2}\n\
        2 MIGRATION_PASS {\"pass\": 3}\n2.1 STOP\n2.2 MIGRATION {\"status\": \"device\"}\n2.4 MIGRATION {\"status\": \"completed\"}";
    insta::assert_snapshot!(summaries(text), @"
    why-paused: It was paused so that its migration could take the last of it over.
    migration: The migration away completed after 1.4 s, its memory sent up to pass 3, the VM paused for the last 300 ms.
    ");
    let arrives = "0 attached inmigrate\n1 MIGRATION {\"status\": \"active\"}\n2 RESUME\n2.1 MIGRATION {\"status\": \"completed\"}";
    insta::assert_snapshot!(summaries(arrives), @"migration: The migration to here completed after 1.1 s.");
    let failed = "0 attached running 11.1.3\n1 MIGRATION {\"status\": \"setup\"}\n2 MIGRATION {\"status\": \"failing\"}\n2 MIGRATION {\"status\": \"failed\"}";
    insta::assert_snapshot!(summaries(failed), @"migration: The migration away failed after 1.0 s.");
}

#[test]
fn unplug_is_reported_once() {
    let ost = |at: &str, status: u32| {
        format!(
            "{at} ACPI_DEVICE_OST {{\"info\": {{\"device\": \"d1\", \"slot\": \"0\", \"slot-type\": \"DIMM\", \"source\": 3, \"status\": {status}}}}}\n"
        )
    };
    let emptied = |at: &str, slot: &str| {
        format!(
            "{at} ACPI_DEVICE_OST {{\"info\": {{\"slot\": \"{slot}\", \"slot-type\": \"DIMM\", \"source\": 3, \"status\": 0}}}}\n"
        )
    };
    let part = "1.5 DEVICE_DELETED {\"path\": \"/machine/peripheral/d1/lapic\"}\n";
    let deleted = "2 DEVICE_DELETED {\"device\": \"d1\", \"path\": \"/machine/peripheral/d1\"}\n";
    let cases: [(&str, String, &[&str]); 13] = [
        ("USB", "1 DEVICE_DELETED {\"device\": \"u\", \"path\": \"/machine/peripheral/u\"}".into(), &["hot-unplug unplugged 1.1"]),
        (
            "virtio, with its part",
            "1 DEVICE_DELETED {\"path\": \"/machine/peripheral/n/virtio-backend\"}\n1.001 DEVICE_DELETED {\"device\": \"n\", \"path\": \"/machine/peripheral/n\"}\n9 passes".into(),
            &["hot-unplug unplugged 1.1,1.2"],
        ),
        ("without an id", "1 DEVICE_DELETED {\"path\": \"/machine/unattached/d\"}\n9 passes".into(), &["hot-unplug unplugged 1.1"]),
        (
            "the guest reports",
            format!("{}{}3 DEVICE_DELETED {{\"device\": \"d1\", \"path\": \"/machine/peripheral/d1\"}}", ost("1", 132), ost("2", 0)),
            &["hot-unplug unplugged 1.1,1.2,1.3"],
        ),
        (
            "the guest refuses",
            format!("{}2 DEVICE_UNPLUG_GUEST_ERROR {{\"device\": \"d1\", \"path\": \"/machine/peripheral/d1\"}}", ost("1", 130)),
            &["hot-unplug refused 1.1,1.2"],
        ),
        (
            "the guest refuses, in two events",
            "1 MEM_UNPLUG_ERROR {\"device\": \"d1\", \"msg\": \"no\"}\n1 DEVICE_UNPLUG_GUEST_ERROR {\"device\": \"d1\", \"path\": \"/machine/peripheral/d1\"}\n9 passes".into(),
            &["hot-unplug refused 1.1,1.2"],
        ),
        ("only the guest refuses", format!("{}{}9 passes", ost("1", 132), ost("1.1", 130)), &["hot-unplug refused 1.1,1.2"]),
        ("a slot is empty", format!("{}{part}{}9 passes", ost("1", 132), emptied("1.6", "0")), &["hot-unplug unplugged 1.1,1.2,1.3"]),
        (
            "a slot is empty, and its device is reported afterwards",
            format!("{}{part}{}{deleted}9 passes", ost("1", 132), emptied("1.6", "0")),
            &["hot-unplug unplugged 1.1,1.2,1.3,1.4"],
        ),
        ("a slot is empty afterwards", format!("{}{deleted}{}9 passes", ost("1", 132), emptied("2.1", "0")), &["hot-unplug unplugged 1.1,1.2"]),
        ("another slot is empty", format!("{}{}700 passes", ost("1", 132), emptied("1.6", "1")), &["hot-unplug unfinished 1.1"]),
        ("the guest finished before", format!("{}700 passes", ost("1", 0)), &[]),
        ("the guest sends nothing more", format!("{}700 passes", ost("1", 132)), &["hot-unplug unfinished 1.1"]),
    ];
    for (name, story, expected) in cases {
        assert_eq!(found(&format!("0 attached running\n{story}")), expected, "{name}");
    }
}

//! Block jobs, and jobs of other kinds.

use qmp_real_qemu::{Scenario, Vm};

/// Two disks of 1 MiB that hold nothing.
const DISKS: &str = "-blockdev null-co,node-name=source,size=1048576,read-zeroes=on -blockdev null-co,node-name=target,size=1048576";

/// The same, with a target on which every write fails.
fn bad_target(errno: u8) -> String {
    format!(
        "-blockdev file,node-name=source,filename=data.raw -blockdev {{\"driver\":\"blkdebug\",\"node-name\":\"target\",\"image\":{{\"driver\":\"null-co\",\"size\":1048576}},\"inject-error\":[{{\"event\":\"none\",\"iotype\":\"write\",\"errno\":{errno}}}]}}"
    )
}

const STARTS: [&str; 2] =
    ["JOB_STATUS_CHANGE id=job0 status=created", "JOB_STATUS_CHANGE id=job0 status=running"];
const CONCLUDES: [&str; 2] =
    ["JOB_STATUS_CHANGE id=job0 status=concluded", "JOB_STATUS_CHANGE id=job0 status=null"];

fn start_mirror(vm: &mut Vm, more: &str) {
    vm.send(&format!("blockdev-mirror job-id=job0 device=source target=target sync=full {more}"));
    vm.lines(&STARTS);
    vm.lines(&["JOB_STATUS_CHANGE id=job0 status=ready", "BLOCK_JOB_READY device=job0 type=mirror", "reply"]);
}

#[test]
fn mirror_that_completes() {
    let scenario = Scenario::new("mirror", "The commands `blockdev-mirror` and `block-job-complete`.")
        .shows(&["BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED", "JOB_STATUS_CHANGE"])
        .options(DISKS);
    let Some(mut vm) = scenario.start() else { return };
    start_mirror(&mut vm, "");
    vm.send("block-job-complete device=job0");
    vm.lines(&[
        "reply",
        "JOB_STATUS_CHANGE id=job0 status=waiting",
        "JOB_STATUS_CHANGE id=job0 status=pending",
        "BLOCK_JOB_COMPLETED device=job0 type=mirror len=1048576 offset=1048576 speed=0 !error",
    ]);
    vm.lines(&CONCLUDES);
    vm.finds("job job=job0 type=mirror result=completed");
    vm.end();
}

#[test]
fn mirror_that_is_finalized_by_hand() {
    let scenario = Scenario::new(
        "mirror-finalize",
        "The commands `blockdev-mirror` with `auto-finalize` and `auto-dismiss` off, `block-job-complete`, `job-finalize`, `job-dismiss`.",
    )
    .shows(&["BLOCK_JOB_PENDING"])
    .options(DISKS);
    let Some(mut vm) = scenario.start() else { return };
    start_mirror(&mut vm, "auto-finalize=false auto-dismiss=false");
    vm.send("block-job-complete device=job0");
    vm.lines(&[
        "reply",
        "JOB_STATUS_CHANGE id=job0 status=waiting",
        "JOB_STATUS_CHANGE id=job0 status=pending",
        "BLOCK_JOB_PENDING id=job0 type=mirror",
    ]);
    vm.send("job-finalize id=job0");
    vm.lines(&["BLOCK_JOB_COMPLETED device=job0", "JOB_STATUS_CHANGE id=job0 status=concluded", "reply"]);
    vm.send("job-dismiss id=job0");
    vm.lines(&["JOB_STATUS_CHANGE id=job0 status=null", "reply"]);
    vm.finds("job job=job0 result=completed");
    vm.end();
}

#[test]
fn mirror_that_is_cancelled() {
    let scenario =
        Scenario::new("mirror-cancel", "The command `block-job-cancel` before the mirror is ready.")
            .shows(&["BLOCK_JOB_CANCELLED"])
            .options(DISKS);
    let Some(mut vm) = scenario.start() else { return };
    // The first slice passes, then it waits for minutes.
    vm.send("blockdev-mirror job-id=job0 device=source target=target sync=full speed=1024");
    vm.lines(&STARTS);
    vm.next("reply");
    vm.send("block-job-cancel device=job0");
    vm.in_any_order(&[
        "reply",
        "JOB_STATUS_CHANGE id=job0 status=aborting",
        "BLOCK_JOB_CANCELLED device=job0 type=mirror len=1048576 speed=1024",
        CONCLUDES[0],
        CONCLUDES[1],
    ]);
    vm.finds("job job=job0 result=cancelled");
    vm.end();
}

#[test]
fn ready_mirror_that_is_cancelled() {
    let cases = [
        ("mirror-ready-cancel", false, "BLOCK_JOB_COMPLETED device=job0", "completed"),
        ("mirror-ready-cancel-force", true, "BLOCK_JOB_CANCELLED device=job0", "cancelled"),
    ];
    for (name, force, last, result) in cases {
        let cause = "The command `block-job-cancel` when the mirror is ready.";
        let Some(mut vm) = Scenario::new(name, cause).options(DISKS).start() else { return };
        start_mirror(&mut vm, "");
        vm.send(&format!("block-job-cancel device=job0 force={force}"));
        vm.until(last);
        vm.until(CONCLUDES[1]);
        vm.finds(&format!("job job=job0 result={result}"));
        vm.end();
    }
}

#[test]
fn mirror_that_quit_ends() {
    let scenario = Scenario::new("mirror-quit", "The command `quit` while a mirror runs.").options(DISKS);
    let Some(mut vm) = scenario.start() else { return };
    vm.send("blockdev-mirror job-id=job0 device=source target=target sync=full speed=1024");
    vm.lines(&STARTS);
    vm.next("reply");
    vm.send("quit");
    vm.next("SHUTDOWN guest=false reason=host-qmp-quit");
    vm.until("BLOCK_JOB_CANCELLED device=job0");
    vm.until(CONCLUDES[1]);
    vm.finds("job job=job0");
    vm.end();
}

#[test]
fn mirror_onto_a_bad_disk() {
    let cases = [
        ("mirror-error-report", 5, "report", "report"),
        ("mirror-error-stop", 5, "stop", "stop"),
        ("mirror-error-enospc", 28, "enospc", "stop"),
    ];
    for (name, errno, policy, action) in cases {
        let scenario = Scenario::new(name, "A mirror writes to its target, which fails.")
            .shows(&["BLOCK_JOB_ERROR"])
            .options(&bad_target(errno))
            .file("data.raw", &[7; 1 << 20]);
        let Some(mut vm) = scenario.start() else { return };
        vm.send(&format!(
            "blockdev-mirror job-id=job0 device=source target=target sync=full on-target-error={policy}"
        ));
        vm.until(&format!("BLOCK_JOB_ERROR device=job0 operation=write action={action}"));
        if action == "report" {
            vm.until("BLOCK_JOB_COMPLETED device=job0 error=\"Input/output error\"");
            vm.until(CONCLUDES[1]);
            vm.finds("job job=job0 result=failed");
        } else {
            vm.until("JOB_STATUS_CHANGE id=job0 status=paused");
        }
        vm.end();
    }
}

#[test]
fn backup_and_stream_and_commit() {
    let scenario = Scenario::new(
        "backup-stream-commit",
        "The commands `blockdev-backup`, `block-stream` and `block-commit`.",
    )
    .image("create -q -f qcow2 base.qcow2 1M")
    .image("create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2")
    .image("create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2")
    .options("-drive if=none,id=disk,file=top.qcow2 -blockdev null-co,node-name=target,size=1048576");
    let Some(mut vm) = scenario.start() else { return };
    vm.send("blockdev-backup job-id=job0 device=disk target=target sync=full");
    vm.until("BLOCK_JOB_COMPLETED device=job0 type=backup");
    vm.until(CONCLUDES[1]);
    vm.send("block-commit job-id=job0 device=disk base=base.qcow2 top=middle.qcow2");
    vm.until("BLOCK_JOB_COMPLETED device=job0 type=commit");
    vm.until(CONCLUDES[1]);
    vm.send("block-stream job-id=job0 device=disk");
    vm.until("BLOCK_JOB_COMPLETED device=job0 type=stream");
    vm.until(CONCLUDES[1]);
    vm.finds("job job=job0 type=backup result=completed");
    vm.finds("job job=job0 type=commit result=completed");
    vm.finds("job job=job0 type=stream result=completed");
    vm.end();
}

#[test]
fn creation_of_an_image() {
    let scenario = Scenario::new("blockdev-create", "The command `blockdev-create`.");
    let Some(mut vm) = scenario.start() else { return };
    vm.send(r#"blockdev-create job-id=job0 options={"driver":"file","filename":"made.img","size":4096}"#);
    vm.lines(&STARTS);
    vm.in_any_order(&[
        "reply",
        "JOB_STATUS_CHANGE id=job0 status=waiting",
        "JOB_STATUS_CHANGE id=job0 status=pending",
        "JOB_STATUS_CHANGE id=job0 status=concluded",
    ]);
    vm.send("job-dismiss id=job0");
    vm.lines(&["JOB_STATUS_CHANGE id=job0 status=null", "reply"]);
    vm.finds("job job=job0 result=completed");
    vm.end();
}

#[test]
fn dump() {
    let scenario =
        Scenario::new("dump", "The command `dump-guest-memory` with `detach`.").shows(&["DUMP_COMPLETED"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.send("dump-guest-memory paging=false protocol=file:guest.dump detach=true");
    vm.lines(&["reply", "DUMP_COMPLETED result.status=completed !error"]);
    vm.end();
}

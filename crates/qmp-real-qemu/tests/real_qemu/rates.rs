//! Rate limits of a real QEMU, against the limiter of this project, which is fed the same causes.
//!
//! A cause is one command at a time that is fixed beforehand, far from the edges of the windows; so what comes, in which
//! order and about when is the same for both.

use std::time::{Duration, Instant};

use qmp_events::limiter::Limiter;
use qmp_events::{EventKind, Release};
use qmp_real_qemu::{Boot, MonitorLine, Scenario, Vm};

/// How long a window is.
const INTERVAL: Duration = Duration::from_millis(1_000);

/// How late a line may be: QEMU's timer, two processes and a loaded machine. The causes keep twice that from an edge.
const LATE: Duration = Duration::from_millis(150);

/// When causes happen, in milliseconds.
struct Schedule {
    name: &'static str,
    causes: &'static [u64],
}

const SCHEDULES: [Schedule; 3] = [
    Schedule { name: "burst keeps first and last", causes: &[0, 50, 100, 150, 500] },
    Schedule { name: "the window opens again", causes: &[0, 400, 1_500, 1_600] },
    Schedule { name: "alone again after an empty window", causes: &[0, 2_400] },
];

/// The causes that pass, and when.
type ForwardedCommand = Vec<(usize, Duration)>;

/// The causes that our own limiter lets pass.
fn predicted(kind: EventKind, causes: &[u64]) -> ForwardedCommand {
    let start = Instant::now();
    let mut limiter = Limiter::default();
    let mut passed = ForwardedCommand::new();
    for (index, at) in causes.iter().enumerate() {
        let now = start + Duration::from_millis(*at);
        while let Some(deadline) = limiter.next_deadline().filter(|deadline| *deadline <= now) {
            limiter.expire(deadline, |held| passed.push((held, deadline - start)));
        }
        if let Some(index) = limiter.offer(kind, "", INTERVAL, index, now) {
            passed.push((index, now - start));
        }
    }
    while let Some(deadline) = limiter.next_deadline() {
        limiter.expire(deadline, |held| passed.push((held, deadline - start)));
    }
    passed
}

/// Causes an event by the schedule and returns when each was, and the lines that came, held ones included.
fn caused(
    vm: &mut Vm,
    schedule: &Schedule,
    cause: impl Fn(&mut Vm, usize),
) -> (Vec<Instant>, Vec<MonitorLine>) {
    vm.forget();
    let start = Instant::now();
    let mut causes = Vec::new();
    for (index, at) in schedule.causes.iter().enumerate() {
        // A real window passes in real time.
        let wait = (start + Duration::from_millis(*at)).saturating_duration_since(Instant::now());
        std::thread::sleep(wait);
        cause(vm, index);
        causes.push(Instant::now());
    }
    // Until no window can be open.
    std::thread::sleep(2 * INTERVAL + LATE);
    (causes, vm.waiting())
}

/// Compares what came with what our limiter says; `which` tells the cause of a line.
fn compare(
    schedule: &Schedule,
    kind: EventKind,
    (causes, lines): (Vec<Instant>, Vec<MonitorLine>),
    which: impl Fn(&MonitorLine) -> Option<usize>,
) {
    let lines: Vec<&MonitorLine> = lines.iter().filter(|line| line.event() == Some(kind.name())).collect();
    let predicted = predicted(kind, schedule.causes);
    let name = schedule.name;
    let texts: Vec<&str> = lines.iter().map(|line| line.text()).collect();
    assert_eq!(lines.len(), predicted.len(), "{name}: {texts:#?}, predicted {predicted:?}");
    let first = lines[0];
    for (line, (index, at)) in lines.iter().zip(&predicted) {
        if let Some(which) = which(line) {
            assert_eq!(which, *index, "{name}: {texts:#?}");
        }
        let arrived = line.arrived.duration_since(causes[0]);
        assert!(arrived + LATE > *at && arrived < *at + LATE, "{name}: {arrived:?} instead of {at:?}");
        // The time is that of the cause, however long the event was held.
        let stamped = Duration::from_micros((line.timestamp_us() - first.timestamp_us()).unsigned_abs());
        let cause = causes[*index].duration_since(causes[0]);
        assert!(stamped + LATE > cause && stamped < cause + LATE, "{name}: {stamped:?} is not {cause:?}");
    }
}

/// Goes through the schedules with one VM.
fn go(
    vm: &mut Vm,
    kind: EventKind,
    cause: impl Fn(&mut Vm, usize),
    which: impl Fn(&MonitorLine) -> Option<usize>,
) {
    for schedule in &SCHEDULES {
        let came = caused(vm, schedule, &cause);
        compare(schedule, kind, came, &which);
    }
}

#[test]
fn rtc_change() {
    let scenario = Scenario::new("rate-rtc", "The year of the clock is set, again and again.")
        .options("-rtc base=2020-01-02T03:04:05");
    let Some(mut vm) = scenario.start() else { return };
    let cause = |vm: &mut Vm, index: usize| {
        vm.human("o /b 0x70 9");
        // Another year each time, in binary-coded decimals.
        vm.human(&format!("o /b 0x71 {}", 0x21 + index));
    };
    let which = |line: &MonitorLine| {
        let offset = line.message["data"]["offset"].as_u64().expect("a year of this century");
        let years = (offset + 200 * 86_400) / (365 * 86_400);
        usize::try_from(years).ok()?.checked_sub(1)
    };
    go(&mut vm, EventKind::RtcChange, cause, which);
    vm.end();
}

#[test]
fn watchdog() {
    let scenario = Scenario::new("rate-watchdog", "The watchdog expires, again and again.")
        .options("-device ib700 -action watchdog=none");
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    let cause = |vm: &mut Vm, _: usize| drop(vm.human("o /b 0x443 0x0f"));
    go(&mut vm, EventKind::Watchdog, cause, |_| None);
    vm.end();
}

/// A quorum whose copies hold different bytes everywhere.
fn quorum(name: &'static str, cause: &'static str, copies: [u8; 3]) -> Scenario {
    let mut scenario = Scenario::new(name, cause).options(crate::quorum::QUORUM);
    for (file, byte) in ["a.img", "b.img", "c.img"].into_iter().zip(copies) {
        scenario = scenario.file(file, &[byte; 4096]);
    }
    scenario
}

fn read_sector(vm: &mut Vm, sector: usize) {
    vm.human(&format!("qemu-io q \"read {} 512\"", 512 * sector));
}

fn sector(line: &MonitorLine) -> Option<usize> {
    usize::try_from(line.message["data"]["sector-num"].as_u64()?).ok()
}

#[test]
fn quorum_report_bad() {
    let cause = "One of three copies differs from the others; the disk is read again and again.";
    let Some(mut vm) = quorum("rate-quorum-bad", cause, [0, 0, 1]).start() else { return };
    go(&mut vm, EventKind::QuorumReportBad, read_sector, sector);
    vm.end();
}

#[test]
fn quorum_failure() {
    let cause = "Three copies differ from each other; the disk is read again and again.";
    let Some(mut vm) = quorum("rate-quorum-failure", cause, [0, 1, 2]).start() else { return };
    go(&mut vm, EventKind::QuorumFailure, read_sector, sector);
    vm.end();
}

/// An event that is held when QEMU ends is lost.
#[test]
fn held_at_the_end() {
    let scenario = Scenario::new(
        "rate-lost-at-quit",
        "The clock is set three times within a second, then QEMU is ended.",
    );
    let Some(mut vm) = scenario.start() else { return };
    for year in [0x21, 0x22, 0x23] {
        vm.human("o /b 0x70 9");
        vm.human(&format!("o /b 0x71 {year}"));
    }
    vm.next("RTC_CHANGE");
    vm.send("quit");
    vm.lines(&["SHUTDOWN reason=host-qmp-quit", "reply"]);
    vm.ends();
    vm.end();
}

/// Each `cont` tries a request again that fails again: QEMU says so each time.
#[test]
fn error_that_stops_is_not_limited() {
    let scenario =
        Scenario::new("rate-io-error-stop", "A read fails, and `cont` lets it try again, twenty times.")
            .options(&crate::disks::bad_disk("read", 5, ",rerror=stop,werror=stop"))
            .boots(crate::disks::READ);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["BLOCK_IO_ERROR action=stop", "STOP"]);
    for _ in 0..20 {
        vm.send("cont");
        vm.in_any_order(&["RESUME", "reply", "BLOCK_IO_ERROR action=stop", "STOP"]);
    }
    vm.finds("why-paused cause=io-error");
    vm.end();
}

/// QEMU before 9.2 tells of every failure.
#[test]
fn errors_that_are_reported() {
    // mov si, 40; then reads, si times: dec si; jnz to the read, whose code has 18 bytes.
    let guest = Boot::new().then(&[0xbe, 40, 0]).read_disk().then(&[0x4e, 0x75, 0xeb]).out(0x443, 0x0f);
    let scenario = Scenario::new("rate-io-error-report", "The guest reads a disk that fails, forty times.")
        .options(&format!(
            "{} -device ib700 -action watchdog=none",
            crate::disks::bad_disk("read", 5, ",rerror=report,werror=report")
        ))
        .boots(guest);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    // The guest lets its watchdog expire when it is done.
    let lines = vm.until("WATCHDOG");
    let told = lines.iter().filter(|line| line.event() == Some("BLOCK_IO_ERROR")).count();
    let stats = vm.execute("query-blockstats");
    let disks = stats.as_array().expect("a list").iter();
    let failed = disks.filter_map(|disk| disk["stats"]["failed_rd_operations"].as_u64()).sum::<u64>();
    assert!(failed >= 40, "{failed}");
    if vm.release() < Release::new(9, 2) {
        assert_eq!(told as u64, failed);
    } else {
        assert!(told < 40, "{told} of {failed}");
    }
    vm.end();
}

//! Why a VM stopped, with a real QEMU that is stopped in each way. Skipped where there is none, unless `CI` is set.
//!
//! What a guest does is done by a boot sector of a few instructions, on a floppy disk.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qmp_hub::Hub;
use qmp_wire::{Body, Record};
use serde_json::{Value, json};
use support::client::{execute, get_json};
use support::{Watcher, config};
use tokio::sync::Semaphore;

/// QEMUs that run at the same time: each takes a core while its firmware starts.
const QEMUS_AT_ONCE: usize = 3;

/// How often it is looked whether a QEMU ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What ends every boot sector: `hlt; jmp $-1`.
const HALT: [u8; 3] = [0xf4, 0xeb, 0xfd];

/// `mov dx, 0x604; mov ax, 0x2000; out dx, ax`: `SLP_EN` with sleep type 0, which is S5.
const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];
/// The same with sleep type 1: S3.
const SLEEP: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef];
/// The same with sleep type 2: S4.
const HIBERNATE: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x28, 0xef];
/// `mov dx, 0xcf9; mov al, 6; out dx, al`: hard reset.
const RESET: &[u8] = &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee];
/// `mov dx, 0x505; mov al, 1; out dx, al`: pvpanic, panicked.
const PANIC: &[u8] = &[0xba, 0x05, 0x05, 0xb0, 0x01, 0xee];
/// The same with 2: crash kernel loaded.
const CRASH_LOADED: &[u8] = &[0xba, 0x05, 0x05, 0xb0, 0x02, 0xee];
/// `mov dx, 0x443; mov al, 0x0f; out dx, al`: ib700 watchdog that expires at once.
const WATCHDOG: &[u8] = &[0xba, 0x43, 0x04, 0xb0, 0x0f, 0xee];
/// `mov ax, 0x201; mov bx, 0x8000; mov cx, 2; mov dx, 0x80; int 0x13`: reads sector 2 of the first hard disk.
const READ_DISK: &[u8] =
    &[0xb8, 0x01, 0x02, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13];

/// A disk on which every read fails.
const BAD_DISK: &str = "-blockdev {\"driver\":\"blkdebug\",\"node-name\":\"bad\",\"image\":{\"driver\":\"null-co\",\"size\":1048576},\"inject-error\":[{\"event\":\"none\",\"iotype\":\"read\",\"errno\":5}]} -device ide-hd,drive=bad,id=disk0,rerror=stop,werror=stop";

/// One way to stop a VM.
struct Case {
    name: &'static str,
    /// Options of QEMU, separated by spaces.
    options: &'static str,
    boot: &'static [u8],
    then: &'static [Do],
    expected: Expected,
}

/// What is done from outside, one after the other. `cont` comes first.
enum Do {
    Execute(&'static str),
    /// Waits for an event before it goes on.
    Await(&'static str),
    Signal(&'static str),
}

/// What is to be found.
enum Expected {
    /// A finding of this kind with this cause.
    Why(&'static str, &'static str),
    /// None, after this event; it stands so, for this cause.
    Stands(&'static str, &'static str, &'static str),
}

/// What is found where the system does not tell how a process ended, and where it does.
const KILLED: &str = "gone or killed";

use Do::{Await, Execute, Signal};
use Expected::{Stands, Why};

const fn case(
    name: &'static str,
    options: &'static str,
    boot: &'static [u8],
    then: &'static [Do],
    expected: Expected,
) -> Case {
    Case { name, options, boot, then, expected }
}

const CASES: [Case; 39] = [
    case("quit", "", &[], &[Execute(r#"{"execute": "quit"}"#)], Why("why-ended", "host-qmp-quit")),
    case(
        "quit with -no-shutdown",
        "-no-shutdown",
        &[],
        &[Execute(r#"{"execute": "quit"}"#)],
        Why("why-ended", "host-qmp-quit"),
    ),
    case("SIGTERM", "", &[], &[Signal("TERM")], Why("why-ended", "host-signal")),
    case("SIGINT", "", &[], &[Signal("INT")], Why("why-ended", "host-signal")),
    case(
        "SIGTERM with -no-shutdown",
        "-no-shutdown",
        &[],
        &[Signal("TERM")],
        Why("why-ended", "host-signal"),
    ),
    case("SIGKILL", "", &[], &[Signal("KILL")], Why("why-ended", KILLED)),
    case("stop", "", &[], &[Execute(r#"{"execute": "stop"}"#)], Why("why-paused", "host-stop")),
    case(
        "system_reset",
        "",
        &[],
        &[Execute(r#"{"execute": "system_reset"}"#)],
        Why("why-reset", "host-qmp-system-reset"),
    ),
    case(
        "system_reset of a stopped VM",
        "",
        &[],
        &[Execute(r#"{"execute": "stop"}"#), Execute(r#"{"execute": "system_reset"}"#)],
        Why("why-reset", "host-qmp-system-reset"),
    ),
    case(
        "system_reset, -no-reboot",
        "-no-reboot",
        &[],
        &[Execute(r#"{"execute": "system_reset"}"#)],
        Why("why-ended", "host-qmp-system-reset"),
    ),
    case(
        "system_powerdown, and nobody obeys",
        "",
        &[],
        &[Execute(r#"{"execute": "system_powerdown"}"#)],
        Stands("POWERDOWN", "running", "resume"),
    ),
    case("guest S5", "", POWER_OFF, &[], Why("why-ended", "guest-shutdown")),
    case("guest S5, -no-shutdown", "-no-shutdown", POWER_OFF, &[], Why("why-paused", "guest-shutdown")),
    case(
        "guest S5, -no-shutdown, then quit",
        "-no-shutdown",
        POWER_OFF,
        &[Await("STOP"), Execute(r#"{"execute": "quit"}"#)],
        Why("why-ended", "host-qmp-quit"),
    ),
    case("guest S4", "-global PIIX4_PM.disable_s4=0", HIBERNATE, &[], Why("why-ended", "guest-hibernate")),
    case("guest S3", "-global PIIX4_PM.disable_s3=0", SLEEP, &[], Why("why-suspended", "guest-suspend")),
    case(
        "guest S3, woken",
        "-global PIIX4_PM.disable_s3=0",
        SLEEP,
        &[Await("SUSPEND"), Execute(r#"{"execute": "system_wakeup"}"#)],
        Stands("WAKEUP", "running", "wakeup"),
    ),
    case("guest reset", "", RESET, &[], Why("why-reset", "guest-reset")),
    case("guest reset, -no-reboot", "-no-reboot", RESET, &[], Why("why-ended", "guest-reset")),
    case(
        "guest reset, reboot=shutdown,shutdown=pause",
        "-action reboot=shutdown,shutdown=pause",
        RESET,
        &[],
        Why("why-paused", "guest-reset"),
    ),
    case(
        "panic=none",
        "-device pvpanic -action panic=none",
        PANIC,
        &[],
        Stands("GUEST_PANICKED", "running", "guest-panic"),
    ),
    case("panic=pause", "-device pvpanic -action panic=pause", PANIC, &[], Why("why-paused", "guest-panic")),
    case(
        "panic=shutdown",
        "-device pvpanic -action panic=shutdown",
        PANIC,
        &[],
        Why("why-ended", "guest-panic"),
    ),
    case("panic by default", "-device pvpanic", PANIC, &[], Why("why-ended", "guest-panic")),
    case(
        "panic=shutdown, -no-shutdown",
        "-device pvpanic -no-shutdown",
        PANIC,
        &[],
        Why("why-paused", "guest-panic"),
    ),
    case(
        "panic=exit-failure",
        "-device pvpanic -action panic=exit-failure",
        PANIC,
        &[],
        Why("why-ended", "guest-panic"),
    ),
    case(
        "panic=exit-failure, -no-shutdown",
        "-device pvpanic -no-shutdown -action panic=exit-failure",
        PANIC,
        &[],
        Why("why-paused", "guest-panic"),
    ),
    case(
        "crash kernel",
        "-device pvpanic",
        CRASH_LOADED,
        &[],
        Stands("GUEST_CRASHLOADED", "running", "resume"),
    ),
    case(
        "watchdog=reset",
        "-device ib700 -action watchdog=reset",
        WATCHDOG,
        &[],
        Why("why-reset", "watchdog"),
    ),
    case(
        "watchdog=reset, -no-reboot",
        "-device ib700 -no-reboot -action watchdog=reset",
        WATCHDOG,
        &[],
        Why("why-ended", "watchdog"),
    ),
    case(
        "watchdog=shutdown",
        "-device ib700 -action watchdog=shutdown",
        WATCHDOG,
        &[],
        Stands("POWERDOWN", "running", "resume"),
    ),
    case(
        "watchdog=poweroff",
        "-device ib700 -action watchdog=poweroff",
        WATCHDOG,
        &[],
        Why("why-ended", "watchdog"),
    ),
    case(
        "watchdog=pause",
        "-device ib700 -action watchdog=pause",
        WATCHDOG,
        &[],
        Why("why-paused", "watchdog"),
    ),
    case(
        "watchdog=debug",
        "-device ib700 -action watchdog=debug",
        WATCHDOG,
        &[],
        Stands("WATCHDOG", "running", "resume"),
    ),
    case(
        "watchdog=none",
        "-device ib700 -action watchdog=none",
        WATCHDOG,
        &[],
        Stands("WATCHDOG", "running", "resume"),
    ),
    case(
        "watchdog=inject-nmi",
        "-device ib700 -action watchdog=inject-nmi",
        WATCHDOG,
        &[],
        Stands("WATCHDOG", "running", "resume"),
    ),
    case("I/O error", BAD_DISK, READ_DISK, &[], Why("why-paused", "io-error")),
    case(
        "migration",
        "",
        &[],
        &[
            Execute(
                r#"{"execute": "migrate-set-capabilities", "arguments": {"capabilities": [{"capability": "events", "state": true}]}}"#,
            ),
            Execute(r#"{"execute": "migrate", "arguments": {"uri": "exec:cat>/dev/null"}}"#),
        ],
        Why("why-paused", "migration"),
    ),
    case(
        "migration that is not reported",
        "",
        &[],
        &[Execute(r#"{"execute": "migrate", "arguments": {"uri": "exec:cat>/dev/null"}}"#)],
        Why("why-paused", "host-stop"),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_stop_has_its_cause() {
    if support::qemu::is_missing() {
        return;
    }
    let permits = Arc::new(Semaphore::new(QEMUS_AT_ONCE));
    let mut running = tokio::task::JoinSet::new();
    for case in &CASES {
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (case.name, check(case).await)
        });
    }
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        let (name, result) = ended.expect("it did not panic");
        wrong.extend(result.err().map(|why| format!("{name}: {why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether this Linux tells strangers how a process ended: 6.15 and later do.
fn tells_exit_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a Linux");
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= [6, 15].as_slice()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_status_is_told() {
    if support::qemu::is_missing() {
        return;
    }
    let exit_failure = "-device pvpanic -action panic=exit-failure";
    let cases: [(Case, &str, i64); 3] = [
        (
            case("quit", "", &[], &[Execute(r#"{"execute": "quit"}"#)], Why("why-ended", "host-qmp-quit")),
            "exit_code",
            0,
        ),
        (case("panic", exit_failure, PANIC, &[], Why("why-ended", "guest-panic")), "exit_code", 1),
        (case("killed", "", &[], &[Signal("KILL")], Why("why-ended", KILLED)), "signal", 9),
    ];
    for (case, member, expected) in cases {
        let ended = check(&case).await.expect(case.name);
        let ended = ended.iter().find(|record| is_why(record, "why-ended", None)).expect(case.name);
        let Body::Finding { data: Some(data), .. } = &ended.body else { unreachable!("it is a finding") };
        let data: Value = serde_json::from_str(data).expect("JSON");
        let told = tells_exit_status().then_some(expected);
        assert_eq!(data[member].as_i64(), told, "{}: {data}", case.name);
    }
}

/// Runs one case and says what is wrong with what is found; otherwise all that is.
async fn check(case: &Case) -> Result<Vec<Record<'static>>, String> {
    let home = tempfile::tempdir().expect("a directory");
    let qemu = Qemu::start(home.path(), case);
    let mut config = config(home.path(), &["vm1"]);
    config.findings = true;
    let hub = Hub::start(config).await.expect("starts");
    let mut seen = Vec::new();
    let mut journal = Watcher::new(&hub);
    next_until(&mut journal, &mut seen, |record| matches!(record.body, Body::Attached { .. })).await?;
    command(home.path(), r#"{"execute": "cont"}"#).await;
    for step in case.then {
        match step {
            Do::Execute(text) => command(home.path(), text).await,
            Do::Await(event) => next_until(&mut journal, &mut seen, |record| is_event(record, event)).await?,
            Do::Signal(signal) => qemu.signal(signal),
        }
    }
    let result = match case.expected {
        Why(kind, cause) => {
            next_until(&mut journal, &mut seen, |record| is_why(record, kind, Some(cause))).await
        }
        Stands(event, run_state, cause) => {
            next_until(&mut journal, &mut seen, |record| is_event(record, event)).await?;
            stands(home.path(), run_state, cause).await
        }
    };
    let unexpected = seen.iter().find(|record| match case.expected {
        // No other explanation, and none of another kind that denies it.
        Why(kind, cause) => {
            is_why(record, kind, None) && !is_why(record, kind, Some(cause)) && kind == "why-ended"
        }
        Stands(..) => is_why(record, "why-ended", None) || is_why(record, "why-paused", None),
    });
    let unexpected = unexpected.map(|record| format!("found {:?}", record.body));
    hub.stop().await.expect("stops");
    drop(qemu);
    result.and(unexpected.map_or(Ok(seen), Err))
}

/// Reads up to a record that is wanted, and keeps what it reads.
async fn next_until(
    journal: &mut Watcher,
    seen: &mut Vec<Record<'static>>,
    wanted: impl Fn(&Record<'_>) -> bool,
) -> Result<(), String> {
    let reading = async {
        loop {
            let record = journal.next().await;
            let is_it = wanted(&record);
            seen.push(record);
            if is_it {
                break;
            }
        }
    };
    let told = |record: &Record<'_>| support::short(record) + &details(record);
    match tokio::time::timeout(Duration::from_secs(60), reading).await {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("waited in vain; seen {:#?}", seen.iter().map(told).collect::<Vec<_>>())),
    }
}

fn details(record: &Record<'_>) -> String {
    match &record.body {
        Body::Finding { data, summary, .. } => format!(" {summary} {}", data.as_deref().unwrap_or_default()),
        _ => String::new(),
    }
}

fn is_event(record: &Record<'_>, wanted: &str) -> bool {
    matches!(&record.body, Body::Event { name, .. } if name == wanted)
}

fn is_why(record: &Record<'_>, kind: &str, cause: Option<&str>) -> bool {
    let Body::Finding { finding, data: Some(data), .. } = &record.body else { return false };
    let data: Value = serde_json::from_str(data).expect("JSON");
    let is_cause = |cause: &str| match cause {
        KILLED => data["cause"] == if tells_exit_status() { "killed" } else { "gone" },
        cause => data["cause"] == cause,
    };
    finding == kind && cause.is_none_or(is_cause)
}

async fn stands(home: &Path, run_state: &str, cause: &str) -> Result<(), String> {
    let (_, vm) = get_json(home, "/v1/vms/vm1").await;
    if (&vm["run_state"], &vm["why"]["cause"]) == (&json!(run_state), &json!(cause)) {
        return Ok(());
    }
    Err(format!("expected {run_state} {cause}, found {vm:#}"))
}

async fn command(home: &Path, text: &str) {
    let (status, answer) = execute(home, "vm1", text).await;
    assert_eq!((status, &answer["return"]), (200, &json!({})), "{text}: {answer}");
}

/// A QEMU of this test, ended with it.
struct Qemu(Arc<Mutex<Child>>);

impl Qemu {
    /// Starts one that is paused, with its monitor at `vm1.sock` in `home`.
    fn start(home: &Path, case: &Case) -> Self {
        let monitor = format!("unix:{},server=on,wait=off", home.join("vm1.sock").display());
        let mut command = Command::new(support::qemu::PROGRAM);
        command.args([
            "-nodefaults",
            "-display",
            "none",
            "-accel",
            "tcg",
            "-m",
            "16",
            "-S",
            "-qmp",
            &monitor,
        ]);
        command.args(case.options.split(' ').filter(|option| !option.is_empty()));
        if !case.boot.is_empty() {
            let floppy = format!("if=floppy,format=raw,file={}", floppy(home, case.boot).display());
            command.args(["-drive", &floppy, "-boot", "a"]);
        }
        let child = Arc::new(Mutex::new(command.stdin(Stdio::null()).spawn().expect("QEMU starts")));
        // Only when its parent took notice of its end, others are told how it ended.
        let watched = Arc::clone(&child);
        std::thread::spawn(move || {
            while watched.lock().expect("nobody panics with it").try_wait().is_ok_and(|ended| ended.is_none())
            {
                std::thread::sleep(LOOK_AGAIN);
            }
        });
        Self(child)
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.0.lock().expect("whole").id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal}");
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It has ended by itself, or is not needed any more.
        let mut child = self.0.lock().expect("whole");
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A floppy disk that runs `code` and halts.
fn floppy(home: &Path, code: &[u8]) -> PathBuf {
    let mut image = vec![0; 1_440 << 10];
    let program = [code, &HALT].concat();
    image[..program.len()].copy_from_slice(&program);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = home.join("boot.img");
    std::fs::write(&path, image).expect("writes");
    path
}

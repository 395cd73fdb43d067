//! The guest's watchdog, and its panics.

use qmp_real_qemu::{Boot, Scenario};

use crate::run::exit_code;

/// The ib700 watchdog expires at once.
const EXPIRE: Boot = Boot::new().out(0x443, 0x0f);
/// pvpanic: the guest panicked.
const PANIC: Boot = Boot::new().out(0x505, 1);
/// pvpanic: the guest runs a crash kernel.
const CRASH_LOADED: Boot = Boot::new().out(0x505, 2);
/// pvpanic: the guest shuts down.
const SHUT_DOWN: Boot = Boot::new().out(0x505, 4);

/// One way that a machine goes on after an event, or ends.
struct Way {
    name: &'static str,
    options: &'static str,
    events: &'static [&'static str],
    after: After,
    finding: &'static str,
}

/// The state of the machine.
enum After {
    /// It stands so, for this cause, and nothing more comes.
    Stands(&'static str, &'static str),
    /// The guest does it all again.
    Repeats,
    /// QEMU exited with this status.
    Exited(i32),
}

use After::{Exited, Repeats, Stands};

const fn way(
    name: &'static str,
    options: &'static str,
    events: &'static [&'static str],
    after: After,
    finding: &'static str,
) -> Way {
    Way { name, options, events, after, finding }
}

/// QEMU asks itself to stop and to end, and looks at the latter first.
const PANICKED_AND_ENDED: &[&str] =
    &["GUEST_PANICKED action=poweroff", "SHUTDOWN guest=true reason=guest-panic"];

fn go(way: &Way, cause: &'static str, shows: &'static [&'static str], guest: Boot) {
    let scenario = Scenario::new(way.name, cause).shows(shows).options(way.options).boots(guest);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(way.events);
    match way.after {
        Repeats => {}
        Stands(state, cause) => {
            assert_eq!(vm.quiet(), state, "{}", way.name);
            vm.stands(state, cause);
        }
        Exited(status) => assert_eq!(vm.ends().code(), Some(status), "{}", way.name),
    }
    match way.after {
        Exited(status) => vm.finds(&exit_code(way.finding, status)),
        _ if way.finding.is_empty() => {}
        _ => vm.finds(way.finding),
    }
    vm.end();
}

#[test]
fn watchdog() {
    let ways = [
        way(
            "watchdog-reset",
            "-device ib700 -action watchdog=reset",
            &["WATCHDOG action=reset", "RESET guest=true reason=guest-reset"],
            Repeats,
            "why-reset cause=watchdog",
        ),
        way(
            "watchdog-reset-no-reboot",
            "-device ib700 -action watchdog=reset -no-reboot",
            &["WATCHDOG action=reset", "SHUTDOWN guest=true reason=guest-reset"],
            Exited(0),
            "why-ended cause=watchdog",
        ),
        way(
            "watchdog-shutdown",
            "-device ib700 -action watchdog=shutdown",
            &["WATCHDOG action=shutdown", "POWERDOWN"],
            Stands("running", "resume"),
            "",
        ),
        way(
            "watchdog-poweroff",
            "-device ib700 -action watchdog=poweroff",
            &["WATCHDOG action=poweroff"],
            Exited(0),
            "why-ended cause=watchdog",
        ),
        way(
            "watchdog-poweroff-no-shutdown",
            "-device ib700 -action watchdog=poweroff -no-shutdown",
            &["WATCHDOG action=poweroff"],
            Exited(0),
            "why-ended cause=watchdog",
        ),
        way(
            "watchdog-pause",
            "-device ib700 -action watchdog=pause",
            &["WATCHDOG action=pause", "STOP"],
            Stands("watchdog", "watchdog"),
            "why-paused cause=watchdog",
        ),
        way(
            "watchdog-debug",
            "-device ib700 -action watchdog=debug",
            &["WATCHDOG action=debug"],
            Stands("running", "resume"),
            "",
        ),
        way(
            "watchdog-none",
            "-device ib700 -action watchdog=none",
            &["WATCHDOG action=none"],
            Stands("running", "resume"),
            "",
        ),
        way(
            "watchdog-inject-nmi",
            "-device ib700 -action watchdog=inject-nmi",
            &["WATCHDOG action=inject-nmi"],
            Stands("running", "resume"),
            "",
        ),
    ];
    for way in &ways {
        let cause = "The guest sets its watchdog, an ib700, to expire at once.";
        go(way, cause, &["WATCHDOG"], EXPIRE);
    }
}

#[test]
fn panic() {
    let ways = [
        way("panic", "-device pvpanic", PANICKED_AND_ENDED, Exited(0), "why-ended cause=guest-panic"),
        way(
            "panic-pause",
            "-device pvpanic -action panic=pause",
            &["GUEST_PANICKED action=pause", "STOP"],
            Stands("guest-panicked", "guest-panic"),
            "why-paused cause=guest-panic",
        ),
        way(
            "panic-shutdown",
            "-device pvpanic -action panic=shutdown",
            PANICKED_AND_ENDED,
            Exited(0),
            "why-ended cause=guest-panic",
        ),
        way(
            "panic-no-shutdown",
            "-device pvpanic -no-shutdown",
            &["GUEST_PANICKED action=pause", "STOP"],
            Stands("guest-panicked", "guest-panic"),
            "why-paused cause=guest-panic",
        ),
        way(
            "panic-exit-failure",
            "-device pvpanic -action panic=exit-failure",
            PANICKED_AND_ENDED,
            Exited(1),
            "why-ended cause=guest-panic",
        ),
        way(
            "panic-exit-failure-no-shutdown",
            "-device pvpanic -action panic=exit-failure -no-shutdown",
            &["GUEST_PANICKED action=poweroff", "SHUTDOWN guest=true reason=guest-panic", "STOP"],
            Stands("shutdown", "guest-panic"),
            "why-paused cause=guest-panic",
        ),
        way(
            "panic-none",
            "-device pvpanic -action panic=none",
            &["GUEST_PANICKED action=run"],
            Stands("running", "guest-panic"),
            "",
        ),
    ];
    for way in &ways {
        go(way, "The guest reports to its pvpanic device that it panicked.", &["GUEST_PANICKED"], PANIC);
    }
}

/// The port is written by QEMU's own thread, which stops the VM at once.
#[test]
fn panic_by_the_human_monitor() {
    let scenario = Scenario::new("panic-by-monitor", "The human monitor writes to the port of pvpanic.")
        .options("-device pvpanic");
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("human-monitor-command command-line=\"o /b 0x505 1\"");
    vm.lines(&["GUEST_PANICKED action=poweroff", "STOP", "SHUTDOWN guest=true reason=guest-panic", "reply"]);
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-panic");
    vm.end();
}

#[test]
fn crash_kernel() {
    let way = way(
        "crash-loaded",
        "-device pvpanic",
        &["GUEST_CRASHLOADED action=run"],
        Stands("running", "guest-panic"),
        "",
    );
    go(
        &way,
        "The guest reports to its pvpanic device that it panicked and runs a crash kernel.",
        &["GUEST_CRASHLOADED"],
        CRASH_LOADED,
    );
}

/// QEMU 9.1 and later; before that the bit does nothing.
#[test]
fn shutdown_by_pvpanic() {
    let scenario =
        Scenario::new("pvpanic-shutdown", "The guest reports to its pvpanic device that it shuts down.")
            .options("-device pvpanic")
            .boots(SHUT_DOWN.sleep(0));
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    if vm.release().major >= 10 {
        vm.next("GUEST_PVSHUTDOWN");
    }
    vm.next("SHUTDOWN guest=true reason=guest-shutdown");
    vm.ends();
    vm.finds("why-ended cause=guest-shutdown by=guest");
    vm.end();
}

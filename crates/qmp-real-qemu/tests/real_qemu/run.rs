//! Run control: `stop`, `cont`, resets from outside and by the guest, and every end.

use qmp_real_qemu::{Boot, Scenario, tells_how_processes_end};

/// Hard reset by the chip set's reset control register.
const RESET_CONTROL: Boot = Boot::new().out(0xcf9, 6);
/// Reset by the keyboard controller: pulse output line 0.
const KEYBOARD_RESET: Boot = Boot::new().out(0x64, 0xfe);
/// `xor ax, ax; mov ds, ax; lidt [0x7df0]; int3`: with an interrupt table of no length nothing can be handled.
const TRIPLE_FAULT: Boot = Boot::new().then(&[0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x1e, 0xf0, 0x7d, 0xcc]);

const BY_GUEST: &str = "RESET guest=true reason=guest-reset";

#[test]
fn stop_and_cont() {
    let scenario = Scenario::new("stop-cont", "The command `stop`, then `cont`.").shows(&["STOP", "RESUME"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("stop");
    vm.lines(&["STOP", "reply"]);
    vm.execute("stop");
    assert_eq!(vm.quiet(), "paused");
    vm.found("why-paused cause=host-stop by=unknown");
    vm.send("cont");
    vm.lines(&["RESUME", "reply"]);
    vm.execute("cont");
    assert_eq!(vm.quiet(), "running");
    vm.finds("why-ended cause=host-qmp-quit");
    vm.end();
}

#[test]
fn reset_from_outside() {
    let scenario =
        Scenario::new("reset", "The command `system_reset`, of a stopped VM and of a running one.")
            .shows(&["RESET"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.send("system_reset");
    vm.lines(&["RESET guest=false reason=host-qmp-system-reset", "reply"]);
    assert_eq!(vm.quiet(), "prelaunch");
    vm.cont();
    vm.send("system_reset");
    vm.lines(&["RESET guest=false reason=host-qmp-system-reset", "reply"]);
    vm.finds("why-reset cause=host-qmp-system-reset");
    vm.end();
}

#[test]
fn reset_of_a_stopped_vm_leaves_it_stopped() {
    let scenario = Scenario::new("reset-stopped", "The commands `stop` and `system_reset`.");
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("stop");
    vm.lines(&["STOP", "reply"]);
    vm.found("why-paused cause=host-stop by=unknown");
    vm.send("system_reset");
    vm.lines(&["RESET guest=false reason=host-qmp-system-reset", "reply"]);
    assert_eq!(vm.quiet(), "prelaunch");
    vm.finds("why-reset cause=host-qmp-system-reset");
    vm.end();
}

#[test]
fn reset_from_outside_is_the_end() {
    let scenario =
        Scenario::new("reset-no-reboot", "The command `system_reset`, when a reset is to be the end.")
            .options("-no-reboot");
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("system_reset");
    vm.lines(&["SHUTDOWN guest=false reason=host-qmp-system-reset", "reply"]);
    vm.ends();
    vm.finds("why-ended cause=host-qmp-system-reset");
    vm.end();
}

#[test]
fn guest_resets_itself() {
    let ways = [
        ("reset-control", "The guest resets the machine by port 0xcf9.", RESET_CONTROL),
        ("reset-keyboard", "The guest resets the machine by its keyboard controller.", KEYBOARD_RESET),
        ("reset-triple-fault", "The guest's processor meets a triple fault.", TRIPLE_FAULT),
    ];
    for (name, cause, guest) in ways {
        let Some(mut vm) = Scenario::new(name, cause).boots(guest).start() else { return };
        vm.cont();
        // The boot sector does it again each time.
        vm.lines(&[BY_GUEST, BY_GUEST]);
        vm.finds("why-reset cause=guest-reset by=guest");
        vm.end();
    }
}

#[test]
fn reset_by_the_guest_is_the_end() {
    let scenario = Scenario::new("guest-reset-no-reboot", "The guest resets the machine.")
        .options("-no-reboot")
        .boots(RESET_CONTROL);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("SHUTDOWN guest=true reason=guest-reset");
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-reset");
    vm.end();
}

#[test]
fn reset_by_the_guest_stops_it() {
    let scenario = Scenario::new("guest-reset-pause", "The guest resets the machine.")
        .options("-action reboot=shutdown,shutdown=pause")
        .boots(RESET_CONTROL);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["SHUTDOWN guest=true reason=guest-reset", "STOP"]);
    assert_eq!(vm.quiet(), "shutdown");
    vm.finds("why-paused cause=guest-reset");
    vm.end();
}

#[test]
fn quit() {
    for (name, options) in [("quit", ""), ("quit-no-shutdown", "-no-shutdown")] {
        let scenario = Scenario::new(name, "The command `quit`.").options(options);
        let Some(mut vm) = scenario.start() else { return };
        vm.cont();
        vm.send("quit");
        vm.lines(&["SHUTDOWN guest=false reason=host-qmp-quit", "reply"]);
        assert!(vm.ends().success());
        vm.finds(&exit_code("why-ended cause=host-qmp-quit", 0));
        vm.end();
    }
}

#[test]
fn signals() {
    let cases = [
        ("sigterm", "QEMU is sent SIGTERM.", "", "TERM"),
        ("sigint", "QEMU is sent SIGINT.", "", "INT"),
        ("sighup", "QEMU is sent SIGHUP.", "", "HUP"),
        ("sigterm-no-shutdown", "QEMU is sent SIGTERM.", "-no-shutdown", "TERM"),
    ];
    for (name, cause, options, signal) in cases {
        let Some(mut vm) = Scenario::new(name, cause).options(options).start() else { return };
        // Its processors stay stopped: QEMU 7.2 can hang after SHUTDOWN when a signal comes 4 ms after `cont`.
        vm.signal(signal);
        vm.next("SHUTDOWN guest=false reason=host-signal");
        assert!(vm.ends().success());
        vm.finds("why-ended cause=host-signal");
        vm.end();
    }
}

#[test]
fn killed_without_a_word() {
    let Some(mut vm) = Scenario::new("sigkill", "QEMU is sent SIGKILL.").start() else { return };
    vm.cont();
    vm.signal("KILL");
    vm.ends();
    vm.finds(if tells_how_processes_end() {
        "why-ended run_state=gone cause=killed signal=9"
    } else {
        "why-ended run_state=gone cause=gone !signal"
    });
    vm.end();
}

/// As by `qmp exec`: what the hub itself is told to do has the same causes.
#[test]
fn commands_by_the_hub() {
    let scenario =
        Scenario::new("commands-by-hub", "The hub executes `cont`, `stop`, `system_reset` and `quit`.");
    let Some(mut vm) = scenario.start() else { return };
    for (command, event) in [
        ("cont", "RESUME"),
        ("stop", "STOP"),
        ("system_reset", "RESET guest=false reason=host-qmp-system-reset"),
        ("quit", "SHUTDOWN guest=false reason=host-qmp-quit"),
    ] {
        vm.execute_by_hub(command);
        vm.next(event);
        match command {
            "stop" => vm.stands("paused", "host-stop"),
            "cont" => vm.stands("running", "resume"),
            _ => {}
        }
    }
    assert!(vm.ends().success());
    vm.finds("why-paused cause=host-stop by=host");
    vm.finds("why-reset cause=host-qmp-system-reset");
    vm.finds("why-ended cause=host-qmp-quit");
    vm.end();
}

/// A finding with the exit status, where Linux tells it.
pub(crate) fn exit_code(finding: &str, status: i32) -> String {
    if tells_how_processes_end() {
        format!("{finding} exit_code={status}")
    } else {
        format!("{finding} !exit_code")
    }
}

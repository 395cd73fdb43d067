//! A kernel that panics, and tells the machine so (pvpanic).

use qmp_real_qemu::{Linux, Scenario, Vm};

fn panics(name: &'static str, cause: &'static str, options: &str) -> Option<(Vm, Linux)> {
    let scenario = Scenario::new(name, cause).shows(&["GUEST_PANICKED"]).options(options);
    let (vm, mut linux) = scenario.start_linux(&["pvpanic_mmio"])?;
    linux.begins("echo c >/proc/sysrq-trigger");
    Some((vm, linux))
}

#[test]
fn ends() {
    let cause = "The guest's kernel panics (`echo c >/proc/sysrq-trigger`).";
    let Some((mut vm, _linux)) = panics("guest-panicked-linux", cause, "-device pvpanic") else { return };
    vm.lines(&["GUEST_PANICKED action=poweroff", "SHUTDOWN guest=true reason=guest-panic"]);
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-panic");
    vm.end();
}

#[test]
fn pauses() {
    let cause = "The guest's kernel panics (`echo c >/proc/sysrq-trigger`); the action is `pause`.";
    let options = "-device pvpanic -action panic=pause";
    let Some((mut vm, _linux)) = panics("guest-panicked-linux-pause", cause, options) else { return };
    vm.lines(&["GUEST_PANICKED action=pause", "STOP"]);
    vm.reaches("guest-panicked");
    vm.finds("why-paused cause=guest-panic");
    vm.end();
}

/// The machine goes on, and the guest reboots by itself.
#[test]
fn goes_on() {
    let cause =
        "The guest's kernel panics (`echo c >/proc/sysrq-trigger`); the action is `none`, and it reboots.";
    let options = "-device pvpanic -action panic=none";
    let Some((mut vm, mut linux)) = panics("guest-panicked-linux-reboot", cause, options) else { return };
    vm.lines(&["GUEST_PANICKED action=run", "RESET guest=true reason=guest-reset"]);
    linux.starts_again();
    vm.end();
}

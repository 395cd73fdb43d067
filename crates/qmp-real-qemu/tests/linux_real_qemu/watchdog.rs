//! A watchdog that the guest's driver arms and no process feeds.

use qmp_real_qemu::Scenario;

/// Starts a guest that lets its watchdog expire after a second; what follows is up to the action.
fn expires(
    name: &'static str,
    cause: &'static str,
    action: &str,
    shows: &'static [&'static str],
    then: &str,
    finds: &str,
) {
    let options = format!("-device i6300esb -action watchdog={action}");
    let scenario = Scenario::new(name, cause).shows(shows).options(&options);
    let Some((mut vm, mut linux)) = scenario.start_packed_linux(&["i6300esb"]) else { return };
    linux.runs("watchdog -T 1 -t 600 /dev/watchdog0");
    vm.next(&format!("WATCHDOG action={action}"));
    vm.next(then);
    vm.finds(finds);
    vm.end();
}

#[test]
fn reset() {
    expires(
        "watchdog-i6300esb-reset",
        "The guest arms its watchdog (i6300esb) and does not feed it; the action is `reset`.",
        "reset",
        &["WATCHDOG", "RESET"],
        "RESET guest=true reason=guest-reset",
        "why-reset cause=watchdog",
    );
}

#[test]
fn pause() {
    expires(
        "watchdog-i6300esb-pause",
        "The guest arms its watchdog (i6300esb) and does not feed it; the action is `pause`.",
        "pause",
        &["WATCHDOG", "STOP"],
        "STOP",
        "why-paused cause=watchdog",
    );
}

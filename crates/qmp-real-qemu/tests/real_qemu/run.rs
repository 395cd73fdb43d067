//! Run control from outside: `stop`, `cont`, `system_reset`, `quit`.

use qmp_real_qemu::Scenario;

#[test]
fn stop_and_cont() {
    let scenario = Scenario::new("stop-cont", "The command `stop`, then `cont`.").shows(&["STOP", "RESUME"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("stop");
    vm.lines(&["STOP", "reply"]);
    vm.execute("stop");
    assert_eq!(vm.quiet(), "paused");
    vm.send("cont");
    vm.lines(&["RESUME", "reply"]);
    vm.execute("cont");
    assert_eq!(vm.quiet(), "running");
    vm.finds("why-paused cause=host-stop");
    vm.finds("why-ended cause=host-qmp-quit");
    vm.end();
}

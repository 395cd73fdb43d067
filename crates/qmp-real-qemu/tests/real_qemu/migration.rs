//! Migration from one QEMU to another.

use qmp_events::Release;
use qmp_real_qemu::{MonitorLine, Scenario, Vm};

fn with_events(vm: &mut Vm) {
    vm.execute(r#"migrate-set-capabilities capabilities=[{"capability":"events","state":true}]"#);
}

/// The events of these lines, each with its status or number.
fn story(lines: &[MonitorLine]) -> Vec<String> {
    let told = |line: &MonitorLine| {
        let data = &line.message["data"];
        let more = data.get("status").or(data.get("pass")).map_or(String::new(), |more| format!(" {more}"));
        Some(format!("{}{}", line.event()?, more.replace('"', "")))
    };
    lines.iter().filter_map(told).collect()
}

#[test]
fn to_another_qemu() {
    let away = Scenario::new(
        "migration",
        "A running VM is migrated to another QEMU by a unix socket; this is what the one that it leaves says.",
    )
    .shows(&["MIGRATION", "MIGRATION_PASS"]);
    let Some(mut away) = away.start() else { return };
    let home = Scenario::new("migration-incoming", "A VM is migrated here.")
        .beside(&away)
        .runs_at_once()
        .options("-incoming unix:migrate.sock");
    let Some(mut home) = home.start() else { return };
    with_events(&mut away);
    with_events(&mut home);
    away.cont();
    away.send("migrate uri=unix:migrate.sock");
    let lines = story(&away.until("MIGRATION status=completed"));
    let stopped = lines.iter().position(|line| line == "STOP").expect("it stops before it goes");
    assert_eq!(lines[0], "MIGRATION setup");
    assert!(lines[..stopped].contains(&"MIGRATION active".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("MIGRATION_PASS ")), "{lines:?}");
    assert!(away.release().major >= 10 || !lines.contains(&"MIGRATION device".to_owned()), "{lines:?}");
    away.reaches("postmigrate");

    let lines = story(&home.until("MIGRATION status=completed"));
    assert!(lines.starts_with(&["MIGRATION active".to_owned()]), "{lines:?}");
    home.reaches("running");
    away.finds("migration direction=outgoing result=completed");
    away.finds("why-paused cause=migration");
    home.finds("migration direction=incoming result=completed");
    home.end();
    away.end();
}

#[test]
fn without_the_capability() {
    let scenario =
        Scenario::new("migration-silent", "A VM is migrated while its capability `events` is off.");
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.send("migrate uri=exec:cat>/dev/null");
    vm.lines(&["reply", "STOP"]);
    // No event tells it from a `stop`: QEMU is asked.
    vm.found("why-paused cause=migration by=unknown");
    vm.stands("postmigrate", "migration");
    vm.finds("why-ended cause=migration ended_by=host-qmp-quit run_state_before=postmigrate");
    vm.end();
}

#[test]
fn to_nobody() {
    let scenario = Scenario::new("migration-failed", "A VM is migrated to a socket at which nobody listens.");
    let Some(mut vm) = scenario.start() else { return };
    with_events(&mut vm);
    vm.cont();
    vm.send("migrate uri=unix:nobody.sock");
    let lines = story(&vm.until("MIGRATION status=failed"));
    let expected: &[&str] = if vm.release().major < 11 {
        &["MIGRATION setup", "MIGRATION failed"]
    } else {
        &["MIGRATION setup", "MIGRATION failing", "MIGRATION failed"]
    };
    assert_eq!(lines, expected);
    assert_eq!(vm.quiet(), "running");
    vm.finds("migration direction=outgoing result=failed");
    vm.end();
}

#[test]
fn cancelled() {
    let scenario = Scenario::new("migration-cancelled", "A migration is cancelled by `migrate_cancel`.");
    let Some(mut vm) = scenario.start() else { return };
    with_events(&mut vm);
    // 4096 pages of nothing take seconds; a tenth of it a window, and none at all would be no limit.
    vm.execute("migrate-set-parameters max-bandwidth=4096");
    vm.cont();
    vm.execute("migrate uri=exec:cat>/dev/null");
    vm.until("MIGRATION status=active");
    vm.send("migrate_cancel");
    let lines = story(&vm.until("MIGRATION status=cancelled"));
    assert!(lines.contains(&"MIGRATION cancelling".to_owned()), "{lines:?}");
    vm.reaches("running");
    vm.finds("migration direction=outgoing result=cancelled");
    vm.end();
}

/// Both sides live on, each alone, after the one is told that it has lost the other.
#[test]
fn colo() {
    let primary = Scenario::new(
        "colo",
        "Two QEMUs keep one VM in step (COLO); the primary one is told by `x-colo-lost-heartbeat` that the other is gone.",
    )
    .shows(&["COLO_EXIT"])
    .runs_at_once();
    let Some(mut primary) = primary.start() else { return };
    if primary.release() >= Release::new(8, 0) {
        eprintln!("skipped: {} wants a way back, with which 7.2 fails", primary.release());
        return;
    }
    let secondary =
        Scenario::new("colo-secondary", "The other side of a VM in step (COLO), which is given up.")
            .beside(&primary)
            .runs_at_once()
            .options("-incoming unix:migrate.sock");
    let Some(mut secondary) = secondary.start() else { return };
    for vm in [&mut primary, &mut secondary] {
        with_events(vm);
        vm.execute(r#"migrate-set-capabilities capabilities=[{"capability":"x-colo","state":true}]"#);
    }
    primary.execute("migrate uri=unix:migrate.sock");
    primary.until("MIGRATION status=colo");
    primary.next("RESUME");
    secondary.until("MIGRATION status=colo");
    primary.execute("x-colo-lost-heartbeat");
    // The command or an error of the connection ends COLO, whichever is first.
    primary.until("COLO_EXIT mode=primary");
    secondary.until("COLO_EXIT mode=secondary");
    primary.reaches("running");
    primary.finds("why-paused cause=migration");
    secondary.end();
    primary.end();
}

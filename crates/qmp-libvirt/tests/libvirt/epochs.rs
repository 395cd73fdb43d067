//! When epochs open and close.

use std::time::Duration;

use qmp_libvirt::Uuid;
use qmp_testing::{LibvirtDaemon, LibvirtDomain, QEMU, REMOTE};

use crate::conversation::{Conversation, UUID};

/// Numbers of lifecycle events.
const UNDEFINED: u32 = 1;
const STARTED: u32 = 2;
const STOPPED: u32 = 5;

/// A session without a running domain; `vm1` is defined.
fn idle() -> Conversation {
    let mut conversation = Conversation::with_vm1();
    set_stopped(&mut conversation);
    conversation.open();
    conversation
}

fn set_stopped(conversation: &mut Conversation) {
    let vm1 = conversation.daemon.domain("vm1");
    (vm1.id, vm1.state) = (-1, (5, 1));
}

fn set_running(conversation: &mut Conversation, id: i32, reason: u32) {
    let vm1 = conversation.daemon.domain("vm1");
    (vm1.id, vm1.state) = (id, (1, reason));
}

#[test]
fn events_before_the_list_stand_behind_the_state() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.early_events =
        vec![("vm1".to_owned(), "STOP".to_owned()), ("vm1".to_owned(), "RESUME".to_owned())];
    let items = conversation.run().expect("opens");
    let expected = [
        "connected 9.0.0 host1",
        "running vm1#1",
        "attached vm1#1 found: running booted",
        "event STOP",
        "event RESUME",
        "listed",
    ];
    assert_eq!(items, expected);
}

#[test]
fn domain_that_is_off_is_listed_until_it_is_undefined() {
    let mut conversation = Conversation::with_vm1();
    set_stopped(&mut conversation);
    assert_eq!(conversation.run().expect("opens"), ["connected 9.0.0 host1", "off vm1", "listed"]);
    conversation.daemon.emit_lifecycle("vm1", UNDEFINED, 0);
    assert_eq!(conversation.run().expect("goes on"), ["gone"]);
}

#[test]
fn events_before_started_stand_behind_attached() {
    let mut conversation = idle();
    set_running(&mut conversation, 2, 3);
    conversation.daemon.emit("vm1", "MIGRATION", Some(r#"{"status":"setup"}"#));
    conversation.daemon.emit("vm1", "RESUME", None);
    assert_eq!(conversation.run().expect("holds"), ["running vm1#2"]);
    conversation.daemon.emit_lifecycle("vm1", STARTED, 2);
    let expected = ["attached vm1#2 started restored: running restored", "event MIGRATION", "event RESUME"];
    assert_eq!(conversation.run().expect("opens"), expected);
}

#[test]
fn run_whose_start_is_not_announced_opens_after_a_second() {
    let mut conversation = idle();
    set_running(&mut conversation, 2, 2);
    conversation.daemon.emit("vm1", "MIGRATION", None);
    conversation.open();
    assert_eq!(conversation.pass(Duration::from_millis(900)), Ok(Vec::new()));
    let items = conversation.pass(Duration::from_millis(200)).expect("opens");
    assert_eq!(items, ["attached vm1#2 started: running migrated", "event MIGRATION"]);
    conversation.daemon.emit_lifecycle("vm1", STARTED, 1);
    assert_eq!(conversation.run(), Ok(Vec::new()));
}

#[test]
fn wakeup_opens_no_epoch() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.emit_lifecycle("vm1", STARTED, 4);
    assert_eq!(conversation.run(), Ok(Vec::new()));
}

#[test]
fn epoch_closes_with_the_word_of_libvirt() {
    for (detail, id, word) in [(0, 1, "shutdown"), (1, -1, "destroyed"), (4, -1, "saved"), (9, -1, "9")] {
        let mut conversation = Conversation::with_vm1();
        conversation.open();
        conversation.daemon.emit("vm1", "SHUTDOWN", None);
        set_stopped(&mut conversation);
        conversation.daemon.domain("vm1").id = id;
        conversation.daemon.emit_lifecycle("vm1", STOPPED, detail);
        let expected = ["event SHUTDOWN".to_owned(), format!("detached {word}")];
        assert_eq!(conversation.run().expect("goes on"), expected);
        assert_eq!(conversation.daemon.calls().last(), Some(&(REMOTE, 212)), "does it exist still?");
    }
}

#[test]
fn late_event_of_an_ended_run_is_discarded() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.emit_lifecycle("vm1", STOPPED, 0);
    conversation.daemon.emit("vm1", "SHUTDOWN", None);
    assert_eq!(conversation.run().expect("goes on"), ["detached shutdown"]);
}

#[test]
fn transient_domain_is_gone_after_its_run() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.emit_lifecycle("vm1", STOPPED, 1);
    conversation.daemon.domains.clear();
    assert_eq!(conversation.run().expect("goes on"), ["detached destroyed", "gone"]);
}

#[test]
fn domain_is_gone_when_it_is_undefined_or_renamed() {
    for detail in [0, 1] {
        let mut conversation = Conversation::with_vm1();
        conversation.open();
        conversation.daemon.emit_lifecycle("vm1", UNDEFINED, detail);
        assert_eq!(conversation.run(), Ok(Vec::new()), "it runs still");
        set_stopped(&mut conversation);
        conversation.daemon.emit_lifecycle("vm1", STOPPED, 1);
        assert_eq!(conversation.run().expect("goes on"), ["detached destroyed"]);
        conversation.daemon.emit_lifecycle("vm1", UNDEFINED, detail);
        conversation.daemon.emit_lifecycle("vm1", UNDEFINED, detail);
        assert_eq!(conversation.run().expect("goes on"), ["gone"]);
    }
}

#[test]
fn another_run_closes_the_epoch() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    set_running(&mut conversation, 7, 4);
    conversation.daemon.emit_lifecycle("vm1", STARTED, 3);
    let expected = [
        "detached replaced by #7",
        "running vm1#7",
        "attached vm1#7 started from-snapshot: running from-snapshot",
    ];
    assert_eq!(conversation.run().expect("goes on"), expected);
}

#[test]
fn run_that_ends_before_its_state_is_known_keeps_its_events() {
    let mut conversation = idle();
    set_running(&mut conversation, 2, 1);
    conversation.daemon.emit("vm1", "RESUME", None);
    conversation.daemon.emit("vm1", "SHUTDOWN", None);
    set_stopped(&mut conversation);
    conversation.daemon.emit_lifecycle("vm1", STOPPED, 5);
    conversation.daemon.domains.clear();
    let expected = [
        "running vm1#2",
        "attached vm1#2 started: error 42",
        "event RESUME",
        "event SHUTDOWN",
        "detached failed",
        "gone",
    ];
    assert_eq!(conversation.run().expect("goes on"), expected);
}

#[test]
fn domain_that_stops_while_the_session_opens_has_no_epoch() {
    let opening = ["connected 9.0.0 host1", "running vm1#1", "listed"];
    for (reason, word) in [(1, "shutdown"), (2, "destroyed"), (4, "migrated")] {
        let mut conversation = Conversation::with_vm1();
        conversation.daemon.domain("vm1").state = (5, reason);
        let detached = format!("detached {word}");
        let expected = [&opening[..], &[&detached]].concat();
        assert_eq!(conversation.run().expect("opens"), expected);
        conversation.daemon.emit_lifecycle("vm1", STOPPED, reason - 1);
        assert_eq!(conversation.run(), Ok(Vec::new()), "it is known already");
    }
    let mut conversation = Conversation::with_vm1();
    let not_found = (42, "Domain not found".to_owned());
    conversation.daemon.refusals.insert((REMOTE, 212), not_found);
    assert_eq!(conversation.run().expect("opens"), [&opening[..], &["gone"]].concat());
}

#[test]
fn domain_that_stopped_before_the_list_does_not_run() {
    let mut conversation = Conversation::with_vm1();
    // libvirt itself ended the run, and the list may be older.
    conversation.daemon.domain("vm1").id = -1;
    conversation.daemon.emit_lifecycle("vm1", STOPPED, 1);
    conversation.daemon.domain("vm1").id = 1;
    assert_eq!(conversation.run().expect("opens"), ["connected 9.0.0 host1", "listed"]);
    set_running(&mut conversation, 2, 1);
    conversation.daemon.emit_lifecycle("vm1", STARTED, 0);
    let expected = ["running vm1#2", "attached vm1#2 started booted: running booted"];
    assert_eq!(conversation.run().expect("goes on"), expected);
}

#[test]
fn daemon_that_demands_calls_and_replies_to_none_is_left() {
    let name = "x".repeat(1 << 10);
    let mut conversation =
        Conversation::new(LibvirtDaemon::new(vec![LibvirtDomain::running(&name, UUID, 1)]));
    conversation.open();
    conversation.daemon.unanswered.push((REMOTE, 212));
    for id in 2..20_000 {
        conversation.daemon.domain(&name).id = id;
        conversation.daemon.emit_lifecycle(&name, STARTED, 0);
        if let Err(error) = conversation.run() {
            assert_eq!(error.to_string(), "libvirt replies too slowly: calls of 16 MiB wait");
            return;
        }
        let held_bytes = conversation.follow.held_bytes();
        assert!(held_bytes < 20 << 20, "{held_bytes}");
    }
    panic!("it goes on");
}

#[test]
fn long_error_of_the_daemon_is_cut() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.refusals.insert((REMOTE, 1), (38, "é".repeat(1 << 20)));
    let error = conversation.run().expect_err("refused").to_string();
    assert!(error.starts_with("cannot open the hypervisor: ") && error.len() < 600, "{}", error.len());
}

#[test]
fn occupied_monitor_is_waited_for() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.domain("vm1").control = 2;
    assert_eq!(conversation.run().expect("opens"), ["connected 9.0.0 host1", "running vm1#1", "listed"]);
    assert_eq!(conversation.pass(Duration::from_secs(1)), Ok(Vec::new()), "a libvirtd that restarts");
    assert_eq!(conversation.pass(Duration::from_secs(59)), Ok(vec!["occupied vm1#1".to_owned()]));
    let asked = conversation.daemon.calls().iter().filter(|call| **call == (REMOTE, 229)).count();
    assert!((230..=250).contains(&asked), "{asked} in 60 s");
    conversation.daemon.domain("vm1").control = 0;
    let items = conversation.pass(Duration::from_millis(250)).expect("opens");
    assert_eq!(items, ["attached vm1#1 found: running booted"]);
}

#[test]
fn first_event_ends_the_wait_for_an_occupied_monitor() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.domain("vm1").control = 2;
    conversation.open();
    conversation.daemon.emit("vm1", "STOP", None);
    let expected = ["attached vm1#1 found: running booted", "event STOP"];
    assert_eq!(conversation.run().expect("opens"), expected);
}

#[test]
fn lost_monitor_closes_the_epoch_and_the_next_run_opens_one() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.emit_control_error("vm1");
    assert_eq!(conversation.run().expect("goes on"), [""; 0], "the run may have ended");
    let lost = conversation.pass(Duration::from_secs(4)).expect("goes on");
    assert_eq!(lost, ["detached monitor lost 3 s ago", "unreadable vm1#1"]);
    set_running(&mut conversation, 2, 1);
    conversation.daemon.emit_lifecycle("vm1", STARTED, 0);
    let expected =
        ["detached replaced by #2", "running vm1#2", "attached vm1#2 started booted: running booted"];
    assert_eq!(conversation.run().expect("goes on"), expected);
}

#[test]
fn end_of_a_run_explains_a_lost_monitor() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.emit_control_error("vm1");
    conversation.daemon.emit_control_error("vm1");
    assert_eq!(conversation.pass(Duration::from_secs(1)).expect("goes on"), [""; 0]);
    conversation.daemon.emit_lifecycle("vm1", STOPPED, 1);
    let ended = conversation.run().expect("goes on");
    assert_eq!(ended.first().map(String::as_str), Some("detached destroyed"), "{ended:?}");
    let later = conversation.pass(Duration::from_secs(10)).expect("goes on");
    assert_eq!(later, [""; 0]);
}

#[test]
fn broken_monitor_opens_no_epoch() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.domain("vm1").control = 3;
    let expected = ["connected 9.0.0 host1", "running vm1#1", "listed", "unreadable vm1#1"];
    assert_eq!(conversation.run().expect("opens"), expected);
}

#[test]
fn reopened_epoch_begins_with_the_state_of_now() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.domain("vm1").state = (3, 1);
    conversation.follow.reopen(Uuid::from_bytes(UUID), conversation.now);
    conversation.daemon.emit("vm1", "STOP", None);
    let expected = ["attached vm1#1 reopened: paused user", "event STOP"];
    assert_eq!(conversation.run().expect("goes on"), expected);
}

#[test]
fn state_of_a_domain_that_runs_is_queried_within_its_epoch() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.domain("vm1").state = (3, 3);
    conversation.daemon.emit("vm1", "STOP", None);
    let (follow, now) = (&mut conversation.follow, conversation.now);
    assert_eq!(follow.query_state(Uuid::from_bytes([9; 16]), now), None);
    assert!(follow.query_state(Uuid::from_bytes(UUID), now).is_some());
    assert_eq!(conversation.run().expect("goes on"), ["event STOP", "state paused save"]);
}

#[test]
fn command_is_passed_to_a_domain_that_runs() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    let (follow, now) = (&mut conversation.follow, conversation.now);
    assert_eq!(follow.execute(Uuid::from_bytes([9; 16]), "{}", now), None);
    assert!(follow.execute(Uuid::from_bytes(UUID), r#"{"execute":"stop"}"#, now).is_some());
    let items = conversation.run().expect("goes on");
    assert_eq!(items, [r#"reply {"return":{},"id":"libvirt-1"}"#]);
}

#[test]
fn qemu_that_never_replies_delays_no_other_call() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.unanswered.push((QEMU, 1));
    for _ in 0..5 {
        conversation.follow.execute(Uuid::from_bytes(UUID), r#"{"execute":"stop"}"#, conversation.now);
    }
    assert_eq!(conversation.run().expect("goes on"), [""; 0]);
    assert_eq!(conversation.daemon.unreplied_calls(), 3, "the others wait");
    conversation.follow.reopen(Uuid::from_bytes(UUID), conversation.now);
    assert_eq!(conversation.run().expect("goes on"), ["attached vm1#1 reopened: running booted"]);
    assert_eq!(conversation.pass(Duration::from_secs(3600)).expect("no deadline"), [""; 0]);
}

#[test]
fn events_of_each_domain_keep_their_order() {
    let domains = vec![LibvirtDomain::running("vm1", UUID, 1), LibvirtDomain::running("vm2", [2; 16], 2)];
    let mut conversation = Conversation::new(LibvirtDaemon::new(domains));
    conversation.open();
    for (name, event) in [("vm1", "A"), ("vm2", "B"), ("vm1", "C"), ("vm2", "D")] {
        conversation.daemon.emit(name, event, None);
    }
    assert_eq!(conversation.run().expect("goes on"), ["event A", "event B", "event C", "event D"]);
}

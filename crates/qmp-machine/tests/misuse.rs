//! Times that no clock reaches, and calls that panic.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use qmp_machine::{
    Action, ActionError, Machine, MachineConfig,
    fault::{Fault, FaultKind, Faults, Stage},
};
use support::{Client, action, word};

/// Longer than any clock runs.
const NEVER: [Duration; 3] =
    [Duration::MAX, Duration::from_secs(i64::MAX as u64), Duration::from_secs(1 << 41)];

#[test]
fn advance_beyond_the_range_of_the_clock_is_an_error() {
    for by in NEVER {
        let running = Machine::start(MachineConfig::default()).unwrap();
        let error = running.advance(by).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{by:?}");
        // The machine is where its clock ends, and still runs.
        running.machine().perform(&Action::new("stop")).unwrap();
        let mut client = Client::new(running.connect().unwrap());
        assert_eq!(client.ask(&action("cont")).iter().map(word).collect::<Vec<_>>(), ["RESUME", "reply"]);
        running.stop().unwrap();
    }
}

#[test]
fn call_scheduled_for_never_does_not_run() {
    for after in NEVER {
        let running = Machine::start(MachineConfig::default()).unwrap();
        running.advance(Duration::from_secs(1)).unwrap();
        running.machine().schedule(after, |_| panic!("it is never due"));
        running.advance(Duration::from_secs(3600)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn call_scheduled_for_never_does_not_run_in_memory() {
    for after in NEVER {
        let machine = Machine::start_in_memory(MachineConfig::default()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        machine.machine().schedule(after, |_| panic!("it is never due"));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        machine.machine().perform(&Action::new("stop")).unwrap();
    }
}

#[test]
fn delay_of_any_length_keeps_the_message_back() {
    for by in NEVER {
        for kind in [FaultKind::Delay { by, jitter: by }, FaultKind::Delay { by: Duration::ZERO, jitter: by }]
        {
            let rules = Faults::new(1).with(Fault::new(kind));
            for rules in [rules.clone(), rules.with(Fault::new(FaultKind::Reorder))] {
                let mut stage = Stage::new(&rules, 1);
                stage.handle_input(b"{\"event\": \"STOP\"}\r\n", Duration::from_secs(1));
                assert!(stage.poll_timeout().is_some_and(|at| at >= Duration::from_secs(1)), "{by:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn delay_of_any_length_keeps_the_message_back_in_memory() {
    use tokio::io::AsyncReadExt;
    let faults = Faults::new(1);
    let kind = FaultKind::Delay { by: Duration::MAX, jitter: Duration::ZERO };
    let machine = Machine::start_in_memory(MachineConfig::default()).unwrap();
    let mut stream = machine
        .connect_with(&faults.with(Fault::new(kind).of(qmp_machine::fault::Messages::Greeting)))
        .unwrap();
    let greeting = tokio::time::timeout(Duration::from_secs(3600), stream.read_u8()).await;
    assert!(greeting.is_err(), "{greeting:?}");
}

#[test]
fn panic_in_a_scheduled_call_is_reported_and_the_machine_goes_on() {
    let running = Machine::start(MachineConfig::default()).unwrap();
    let mut client = Client::new(running.connect().unwrap());
    let machine = running.machine();
    machine.schedule(Duration::from_secs(1), |_| panic!("on purpose"));
    machine.schedule(Duration::from_secs(1), |machine| {
        machine.perform(&Action::new("stop")).unwrap();
        // An error of the second call, too.
        machine.schedule(Duration::ZERO, |_| panic!("{}", 2));
    });
    let error = running.advance(Duration::from_secs(2)).unwrap_err();
    assert_eq!(error.to_string(), "a scheduled call panicked: on purpose (and 1 more)");
    assert_eq!((running.stats().panics, running.machine().elapsed()), (2, Duration::from_secs(2)));
    assert_eq!(client.lines_now().iter().map(word).collect::<Vec<_>>(), ["STOP"]);
    assert_eq!(client.ask(&action("cont")).iter().map(word).collect::<Vec<_>>(), ["RESUME", "reply"]);
    // Each is reported once.
    running.advance(Duration::from_secs(2)).unwrap();
    running.stop().unwrap();
}

#[test]
fn clock_of_the_host_cannot_be_advanced() {
    let config = MachineConfig::default().with_clock(qmp_machine::MachineClock::Host);
    let running = Machine::start(config).unwrap();
    let error = running.advance(Duration::from_secs(3600)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    running.stop().unwrap();
}

#[test]
fn panic_on_the_thread_of_the_machine_is_reported_at_its_end() {
    let config = MachineConfig::default().with_clock(qmp_machine::MachineClock::Host);
    let running = Machine::start(config).unwrap();
    let (sender, called) = std::sync::mpsc::channel();
    running.machine().schedule(Duration::from_millis(1), |_| panic!("on purpose"));
    running.machine().schedule(Duration::from_millis(2), move |_| sender.send(()).unwrap());
    called.recv().unwrap();
    let mut client = Client::new(running.connect().unwrap());
    assert_eq!(client.ask(&action("stop")).iter().map(word).collect::<Vec<_>>(), ["STOP", "reply"]);
    assert_eq!(running.stop().unwrap_err().to_string(), "a scheduled call panicked: on purpose");
}

#[test]
fn scheduled_call_whose_drop_panics_is_dropped_at_the_exit() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let running = Machine::start(MachineConfig::default()).unwrap();
    let bomb = Bomb;
    running.machine().schedule(Duration::from_secs(60), move |_| drop(bomb));
    running.machine().perform(&Action::new("quit")).unwrap();
    let exited = running.machine().perform(&Action::new("stop"));
    assert!(matches!(exited, Err(ActionError::Exited { status: 0 })), "{exited:?}");
    assert_eq!(running.wait().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_scheduled_call_is_reported_by_a_machine_in_memory() {
    let machine = Machine::start_in_memory(MachineConfig::default()).unwrap();
    for number in 1..=3 {
        machine.machine().schedule(Duration::from_secs(1), move |_| panic!("on purpose, {number}"));
    }
    machine.machine().schedule(Duration::from_secs(2), |machine| {
        machine.perform(&Action::new("quit")).unwrap();
    });
    let error = machine.wait().await.unwrap_err().to_string();
    assert_eq!(error, "a scheduled call panicked: on purpose, 1 (and 2 more)");
    assert_eq!(machine.stats().panics, 3);
    assert_eq!(machine.wait().await.unwrap(), 0);
}

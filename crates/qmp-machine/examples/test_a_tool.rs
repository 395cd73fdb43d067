//! A test-suite for a tool, without a QEMU: `cargo test -p qmp-machine --example test_a_tool`.
//!
//! The tool is `watch`: `cargo run -p qmp-machine --example test_a_tool unix:/run/vm.sock`. Its tests cover a guest that
//! panics, a full disk, monitors that are slow, silent or die, and a replay of a QEMU; minutes take no time.

use std::{error::Error, time::Duration};

use qmp_client::{
    Address, FollowConfig, FollowItem,
    commands::{QueryStatus, SystemReset},
    follow_stream,
    qmp_events::Event,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: test_a_tool ADDRESS")?.parse()?;
    watch(address, FollowConfig::default(), |line| println!("{line}")).await;
    Ok(())
}

/// Reports what an operator has to know about a VM, and resets it after a panic, for as long as the follower lives.
async fn watch(address: Address, config: FollowConfig, mut report: impl FnMut(String)) {
    let (commander, mut items) = follow_stream(address, config);
    let commander = commander.with_timeout(Duration::from_secs(10));
    while let Some(item) = items.next().await {
        match item {
            FollowItem::Attached { .. } => match commander.run(&QueryStatus::new()).await {
                Ok(status) => report(format!("attached: {}", status.status)),
                Err(error) => report(format!("attached, and no status: {error}")),
            },
            FollowItem::Event(event) => match Event::try_from(&event) {
                Ok(Event::GuestPanicked(_)) => match commander.run(&SystemReset::new()).await {
                    Ok(_) => report("panicked, and was reset".to_owned()),
                    Err(error) => report(format!("panicked: {error}")),
                },
                Ok(Event::BlockIoError(error)) if error.nospace == Some(true) => {
                    report(format!("no space for {}", error.node_name.unwrap_or(error.device)));
                }
                Ok(Event::Shutdown(_)) => report("shut down".to_owned()),
                _ => {}
            },
            FollowItem::Detached { reason, .. } => report(format!("detached: {reason}")),
            FollowItem::Failed { error, .. } => report(error.to_string()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, pin::Pin, sync::Arc};

    use qmp_client::{ByteStream, ConnectError, Dial, DialFuture};
    use qmp_machine::{
        Action, Listener, Machine, MachineConfig, MemoryMachine, PanicAction,
        fault::{Fault, FaultKind, Faults, Messages},
        replay::{Recording, Replay},
    };
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    #[derive(Debug)]
    struct Vm {
        machine: MemoryMachine,
        faults: Faults,
    }

    /// Connects the tool to the machine in memory.
    impl Dial for Vm {
        fn dial<'a>(&'a self, address: &'a Address) -> DialFuture<'a> {
            let refused = |_| ConnectError::Refused { address: address.clone() };
            let stream = self.machine.connect_with(&self.faults).map_err(refused);
            Box::pin(async { Ok(Box::pin(stream?) as Pin<Box<dyn ByteStream>>) })
        }
    }

    /// Starts the tool and a machine with `faults`; returns the machine and the tool's reports.
    fn start(faults: &[Fault]) -> (Machine, UnboundedReceiver<String>) {
        let mut settings = MachineConfig::default();
        settings.policy.panic = PanicAction::None;
        let machine = Machine::start_in_memory(settings).unwrap();
        let handle = machine.machine().clone();
        let mut config = FollowConfig::default();
        let faults = Faults { seed: 1, rules: faults.to_vec() };
        config.connect.dial = Some(Arc::new(Vm { machine, faults }));
        let (sender, reports) = unbounded_channel();
        tokio::spawn(watch("unix:/vm".parse().unwrap(), config, move |line| _ = sender.send(line)));
        (handle, reports)
    }

    /// Waits for reports that contain these texts.
    async fn expect(reports: &mut UnboundedReceiver<String>, texts: &[&str]) {
        for text in texts {
            let report = reports.recv().await.unwrap();
            assert!(report.contains(text), "{report}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn panicked_guest_is_reset() {
        let (machine, mut reports) = start(&[]);
        expect(&mut reports, &["attached: running"]).await;
        machine.perform(&Action::new("x-guest-panic")).unwrap();
        expect(&mut reports, &["panicked, and was reset"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn full_disk_is_reported() {
        let (machine, mut reports) = start(&[]);
        expect(&mut reports, &["attached: running"]).await;
        let fault = Action::new("x-host-block-fault").with("node-name", "disk0-node");
        machine.perform(&fault.with("operation", "write").with("error", "ENOSPC")).unwrap();
        machine.perform(&Action::new("x-guest-write").with("id", "disk0")).unwrap();
        expect(&mut reports, &["no space for disk0-node"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn slow_silent_and_dying_monitors_are_survived() {
        let slow = FaultKind::Delay { by: Duration::from_secs(60), jitter: Duration::ZERO };
        let (machine, mut reports) = start(&[
            // The first query is that of the follower, the second that of the tool.
            Fault::new(slow).of_reply_to("query-status").after(1).on_connection(1),
            Fault::new(FaultKind::Close { bytes: Some(9) }).of(Messages::Event("*".into())).on_connection(1),
            Fault::new(FaultKind::NeverGreet).on_connection(2),
        ]);
        expect(&mut reports, &["attached, and no status: no reply within 10s"]).await;
        machine.perform(&Action::new("stop")).unwrap();
        let dying = "detached: the VM closed the connection in the middle of a message";
        expect(&mut reports, &[dying, "greet", "attached: paused"]).await;
    }

    #[tokio::test]
    async fn replay_of_a_qemu_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let capture = include_str!("../../qmp-real-qemu/captures/qemu-7.2/panic-pause.qmp");
        let recording = Recording::read(capture.as_bytes(), None).unwrap();
        let _replay = Replay::new(recording).speed(0.0).start(Listener::unix(&path).unwrap()).unwrap();
        let (mut config, mut reports) = (FollowConfig::default(), Vec::new());
        config.retry.attempts_max = NonZeroU32::new(1);
        let address = Address::Unix { path, listen: false };
        watch(address, config, |line| reports.push(line.split(':').next().unwrap().to_owned())).await;
        // The capture has no replies to the tool's commands.
        assert_eq!(reports[..4], ["attached, and no status", "panicked", "shut down", "detached"]);
        assert_eq!(reports.len(), 5, "after it, the socket is closed or removed: {reports:?}");
    }
}

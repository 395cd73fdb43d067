//! Properties of any sequence of actions: the machine never panics, and sends only messages that a QEMU of its
//! release could send.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use qmp_events::{Release, validate};
use qmp_machine::{Action, Guest, Machine, MachineConfig};
use qmp_server::RUN_STATES;
use support::{Client, action};

/// The actions: commands of the monitor, of the guest and of the host, valid and invalid.
const ACTIONS: &[&str] = &[
    "stop",
    "cont",
    "system_reset",
    "system_powerdown",
    "system_wakeup",
    "set-action reboot=shutdown shutdown=pause",
    "set-action reboot=reset panic=pause watchdog=pause",
    "set-action panic=none watchdog=inject-nmi",
    "x-guest-panic",
    "x-guest-watchdog",
    "x-guest-reset",
    "x-guest-suspend",
    "x-guest-wakeup",
    "x-guest-shutdown",
    "x-guest-hibernate",
    "x-guest-crashload",
    "x-guest-internal-error",
    "x-guest-breakpoint",
    "device_del id=net0",
    "device_del id=disk0",
    "device_del id=tablet0",
    "device_add driver=usb-tablet id=tablet0",
    "device_add driver=virtio-net-pci id=net0",
    "x-guest-release-device id=net0",
    "x-guest-refuse-unplug id=net0",
    "blockdev-open-tray id=cd0",
    "blockdev-close-tray id=cd0",
    "eject id=cd0",
    "x-guest-eject id=cd0",
    "x-guest-read id=disk0",
    "x-guest-write id=disk0",
    "x-host-block-fault node-name=disk0-node operation=write error=ENOSPC times=2",
    "x-host-block-fault node-name=disk0-node operation=read times=1",
    "x-host-block-repair node-name=disk0-node",
    "x-host-corrupt-image node-name=disk0-node fatal=true",
    "block-set-write-threshold node-name=disk0-node write-threshold=1",
    "blockdev-add driver=null-co node-name=t size=1048576",
    "blockdev-del node-name=t",
    "blockdev-mirror job-id=j device=disk0-node target=t sync=full",
    "block-stream job-id=j device=disk0-node",
    "blockdev-backup job-id=k device=t target=disk0-node sync=full auto-finalize=false auto-dismiss=false",
    "block-job-pause device=j",
    "block-job-resume device=j",
    "block-job-complete device=j",
    "block-job-cancel device=j",
    "job-finalize id=k",
    "job-dismiss id=k",
    "job-cancel id=k",
    "x-host-fail-job id=j",
    "balloon value=268435456",
    "x-guest-balloon actual=1",
    "x-guest-open-port id=agent0",
    "x-guest-close-port id=agent0",
    "query-rx-filter",
    "x-guest-change-rx-filter id=net0",
    "x-guest-set-clock offset=2493072000",
    "x-host-vnc-connect",
    "x-host-vnc-initialize client=1",
    "x-host-vnc-disconnect client=1",
    "x-host-spice-connect",
    "x-host-spice-initialize client=2",
    r#"migrate-set-capabilities capabilities=[{"capability":"events","state":true}]"#,
    "migrate uri=tcp:other:1",
    "migrate_cancel",
    "x-host-migration-fault",
    "dump-guest-memory paging=false protocol=file:/d detach=true",
    "x-host-memory-failure action=reset",
    "query-jobs",
    "query-block-jobs",
    "query-block",
    "query-migrate",
    "query-chardev",
    "nope",
    "stop x=1",
    "device_del",
];

fn any_release() -> impl Strategy<Value = Release> {
    let releases = [(11, 1, 3), (10, 0, 0), (7, 2, 22), (5, 2, 0), (2, 6, 0), (0, 14, 0)];
    let release = |(major, minor, micro)| Release::stable(major, minor, micro);
    prop::sample::select(releases.map(release).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// No sequence of actions makes the machine panic; every reply is a return or an error; every event is valid
    /// for the release; the run state is one of QEMU's, and `running` matches it.
    #[test]
    fn messages_are_valid_for_the_release(
        release in any_release(),
        attentive in any::<bool>(),
        steps in prop::collection::vec((prop::sample::select(ACTIONS.to_vec()), 0..2000_u64), 1..40),
    ) {
        let guest = if attentive { Guest::Attentive } else { Guest::Absent };
        let running = Machine::start(MachineConfig::default().with_release(release).with_guest(guest)).unwrap();
        let mut client = Client::new(running.connect().unwrap());
        let mut messages = Vec::new();
        for (line, milliseconds) in steps {
            messages.extend(client.ask(&action(line)));
            running.advance(Duration::from_millis(milliseconds)).unwrap();
            messages.extend(client.lines_now());
            if running.machine().exit_status().is_some() {
                break;
            }
            let status = client.ask(&Action::new("query-status")).pop().expect("a reply");
            let state = status["return"]["status"].as_str().unwrap_or_default().to_owned();
            prop_assert!(RUN_STATES.iter().any(|known| known.as_str() == state), "{state}");
            prop_assert_eq!(&status["return"]["running"], state == "running");
        }
        let text = release.to_string();
        for message in messages {
            let Some(name) = message["event"].as_str() else {
                prop_assert!(message.get("return").is_some() != message.get("error").is_some(), "{message}");
                continue;
            };
            let data = message.get("data").map(ToString::to_string);
            let violations = validate(name, data.as_deref(), text.parse().unwrap());
            prop_assert!(violations.is_empty(), "{text}: {message}: {violations:?}");
        }
    }

    /// The same actions at the same times give the same bytes.
    #[test]
    fn same_actions_give_same_bytes(
        seed in any::<u64>(),
        steps in prop::collection::vec((prop::sample::select(ACTIONS.to_vec()), 0..2000_u64), 1..20),
    ) {
        let session = || {
            let running = Machine::start(MachineConfig::default().with_seed(seed)).unwrap();
            let mut client = Client::new(running.connect().unwrap());
            let mut messages = Vec::new();
            for (line, milliseconds) in &steps {
                messages.extend(client.ask(&action(line)));
                running.advance(Duration::from_millis(*milliseconds)).unwrap();
                messages.extend(client.lines_now());
            }
            messages
        };
        prop_assert_eq!(session(), session());
    }
}

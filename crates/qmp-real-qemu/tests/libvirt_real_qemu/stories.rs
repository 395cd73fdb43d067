//! Every start and end of a domain that can be caused here: the records, and why.

use qmp_testing::{DomainXml, Libvirt, poll_until};
use qmp_wire::{Body, Record};
use rustix::process::{Signal, kill_process};

use crate::raw::RawMonitor;
use crate::watched_hub::{WatchedHub, why, words};

/// The watchdog, the panic device and a disk for snapshots.
const DEVICES: &str = "<watchdog model='ib700' action='pause'/><panic model='isa'/>\
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='HOME/disk.qcow2'/>\
    <target dev='vda' bus='virtio'/></disk>";

/// What happens to a domain, and what the hub records.
struct Story {
    name: &'static str,
    /// Texts of the domain's description, and those in their place.
    changes: &'static [(&'static str, &'static str)],
    steps: &'static [Step],
    /// What the records begin with, without findings.
    records: &'static [&'static str],
    /// For each finding of why: its kind and cause, and a part of its summary.
    why: &'static [(&'static str, &'static str)],
    /// Whether libvirt has the domain still.
    is_kept: bool,
}

/// A step of a story.
#[derive(Clone, Copy)]
enum Step {
    Virsh(&'static [&'static str]),
    /// A write to a port, as the guest does it, and its event.
    Port(&'static str, &'static str),
    /// SIGKILL to QEMU.
    Kill,
    /// The record that begins so is waited for.
    Until(&'static str),
    /// The finding of why that begins so is waited for.
    Explained(&'static str),
}

use Step::{Explained, Kill, Port, Until, Virsh};

const START: Step = Virsh(&["start", "vm1"]);
const DESTROY: Step = Virsh(&["destroy", "vm1"]);
const BOOTED: &str = "attached started booted: running booted";
const DESTROYED: [&str; 2] = ["SHUTDOWN host-signal", "detached PeerClosed: libvirt: destroyed"];
const WHY_DESTROYED: (&str, &str) = ("why-ended host-signal", "destroyed through libvirt");

const STORIES: &[Story] = &[
    Story {
        name: "start, destroy",
        changes: &[],
        steps: &[START, Until("RESUME"), DESTROY],
        records: &[BOOTED, "RESUME", DESTROYED[0], DESTROYED[1]],
        why: &[WHY_DESTROYED],
        is_kept: true,
    },
    Story {
        name: "paused start, resume, suspend, destroy",
        changes: &[],
        steps: &[
            Virsh(&["start", "vm1", "--paused"]),
            Until("attached"),
            Virsh(&["resume", "vm1"]),
            Virsh(&["suspend", "vm1"]),
            Explained("why-paused"),
            DESTROY,
        ],
        records: &["attached started booted: paused user", "RESUME", "STOP", DESTROYED[0], DESTROYED[1]],
        why: &[("why-paused host-stop", "paused through libvirt"), WHY_DESTROYED],
        is_kept: true,
    },
    Story {
        name: "save, restore",
        changes: &[],
        steps: &[
            START,
            Until("RESUME"),
            Virsh(&["save", "vm1", "HOME/saved"]),
            Until("detached"),
            Virsh(&["restore", "HOME/saved"]),
            Until("attached"),
            DESTROY,
        ],
        records: &[
            BOOTED,
            "RESUME",
            "STOP",
            "MIGRATION setup",
            "MIGRATION active",
            "MIGRATION completed",
            "detached PeerClosed: libvirt: saved",
            "attached started restored",
            "MIGRATION setup",
            "MIGRATION active",
            "MIGRATION completed",
            "RESUME",
            DESTROYED[0],
            DESTROYED[1],
        ],
        why: &[
            ("why-paused save-vm", "so that libvirt could save its state"),
            ("why-ended save-vm", "saved through libvirt"),
            WHY_DESTROYED,
        ],
        is_kept: true,
    },
    Story {
        name: "suspend, save, restore, resume",
        changes: &[],
        steps: &[
            START,
            Until("RESUME"),
            Virsh(&["suspend", "vm1"]),
            Explained("why-paused"),
            Virsh(&["save", "vm1", "HOME/saved"]),
            Until("detached"),
            Virsh(&["restore", "HOME/saved"]),
            Until("attached"),
            Virsh(&["resume", "vm1"]),
            Until("RESUME"),
            DESTROY,
        ],
        records: &[
            BOOTED,
            "RESUME",
            "STOP",
            "MIGRATION setup",
            "MIGRATION active",
            "MIGRATION completed",
            "detached PeerClosed: libvirt: saved",
            "attached started restored: paused",
            "MIGRATION setup",
            "MIGRATION active",
            "MIGRATION completed",
            "RESUME",
            DESTROYED[0],
            DESTROYED[1],
        ],
        why: &[
            ("why-paused host-stop", "paused through libvirt"),
            ("why-ended save-vm", "saved through libvirt"),
            WHY_DESTROYED,
        ],
        is_kept: true,
    },
    Story {
        name: "guest powers off",
        changes: &[],
        steps: &[START, Until("RESUME"), Port("o/w 0x604 0x2000", "SHUTDOWN")],
        records: &[
            BOOTED,
            "RESUME",
            "SHUTDOWN guest-shutdown",
            "STOP",
            "SHUTDOWN host-signal",
            "detached PeerClosed: libvirt: shutdown",
        ],
        why: &[
            ("why-paused guest-shutdown", "The guest"),
            ("why-ended guest-shutdown", "The guest shut itself down"),
        ],
        is_kept: true,
    },
    Story {
        name: "guest powers off, and is started again",
        changes: &[("<on_poweroff>destroy", "<on_poweroff>restart")],
        steps: &[START, Until("RESUME"), Port("o/w 0x604 0x2000", "SHUTDOWN"), Until("RESUME"), DESTROY],
        records: &[
            BOOTED,
            "RESUME",
            "SHUTDOWN guest-shutdown",
            "STOP",
            "RESET host-qmp-system-reset",
            "RESUME",
            DESTROYED[0],
            DESTROYED[1],
        ],
        why: &[
            ("why-paused guest-shutdown", "The guest"),
            ("why-reset guest-shutdown", "The guest"),
            WHY_DESTROYED,
        ],
        is_kept: true,
    },
    Story {
        name: "S3, wakeup",
        changes: &[("<features>", "<pm><suspend-to-mem enabled='yes'/></pm><features>")],
        steps: &[
            START,
            Until("RESUME"),
            Port("o/w 0x604 0x2400", "SUSPEND"),
            Until("SUSPEND"),
            Virsh(&["dompmwakeup", "vm1"]),
            Until("WAKEUP"),
            DESTROY,
        ],
        records: &[BOOTED, "RESUME", "SUSPEND", "WAKEUP", DESTROYED[0], DESTROYED[1]],
        why: &[("why-suspended guest-suspend", "The guest"), WHY_DESTROYED],
        is_kept: true,
    },
    Story {
        name: "watchdog",
        changes: &[],
        steps: &[START, Until("RESUME"), Port("o/b 0x443 0x0f", "WATCHDOG"), Until("STOP"), DESTROY],
        records: &[BOOTED, "RESUME", "WATCHDOG pause", "STOP", DESTROYED[0], DESTROYED[1]],
        why: &[("why-paused watchdog", "expired"), ("why-ended watchdog", "was destroyed through libvirt")],
        is_kept: true,
    },
    Story {
        name: "panic, on_crash=destroy",
        changes: &[],
        steps: &[START, Until("RESUME"), Port("o/b 0x505 1", "GUEST_PANICKED")],
        records: &[BOOTED, "RESUME", "GUEST_PANICKED pause", "STOP", "detached PeerClosed: libvirt: crashed"],
        why: &[
            ("why-paused guest-panic", "panicked"),
            ("why-ended guest-panic", "libvirt is set to end it then"),
        ],
        is_kept: true,
    },
    Story {
        name: "panic, on_crash=preserve",
        changes: &[("<on_crash>destroy", "<on_crash>preserve")],
        steps: &[START, Until("RESUME"), Port("o/b 0x505 1", "GUEST_PANICKED"), Until("STOP"), DESTROY],
        records: &[BOOTED, "RESUME", "GUEST_PANICKED pause", "STOP", DESTROYED[0], DESTROYED[1]],
        why: &[
            ("why-paused guest-panic", "panicked"),
            ("why-ended guest-panic", "was destroyed through libvirt"),
        ],
        is_kept: true,
    },
    Story {
        name: "kill -9",
        changes: &[],
        steps: &[START, Until("RESUME"), Kill],
        records: &[BOOTED, "RESUME", "detached PeerClosed: libvirt: failed"],
        why: &[("why-ended killed", "SIGKILL")],
        is_kept: true,
    },
    Story {
        name: "transient",
        changes: &[],
        steps: &[Virsh(&["undefine", "vm1"]), Virsh(&["create", "HOME/vm1.xml"]), Until("RESUME"), DESTROY],
        records: &[BOOTED, "RESUME", DESTROYED[0], DESTROYED[1]],
        why: &[WHY_DESTROYED],
        is_kept: false,
    },
    Story {
        name: "undefine while it runs",
        changes: &[],
        steps: &[START, Until("RESUME"), Virsh(&["undefine", "vm1"]), DESTROY],
        records: &[BOOTED, "RESUME", DESTROYED[0], DESTROYED[1]],
        why: &[WHY_DESTROYED],
        is_kept: false,
    },
    Story {
        name: "undefine after its run",
        changes: &[],
        steps: &[START, Until("RESUME"), DESTROY, Until("detached"), Virsh(&["undefine", "vm1"])],
        records: &[BOOTED, "RESUME", DESTROYED[0], DESTROYED[1]],
        why: &[WHY_DESTROYED],
        is_kept: false,
    },
    Story {
        name: "rename",
        changes: &[],
        steps: &[START, Until("RESUME"), DESTROY, Until("detached"), Virsh(&["domrename", "vm1", "vm2"])],
        records: &[BOOTED, "RESUME", DESTROYED[0], DESTROYED[1]],
        why: &[WHY_DESTROYED],
        is_kept: false,
    },
    Story {
        name: "snapshot-revert",
        changes: &[],
        steps: &[
            START,
            Until("RESUME"),
            Virsh(&["snapshot-create-as", "vm1", "snapshot1"]),
            Virsh(&["snapshot-revert", "vm1", "snapshot1"]),
            Until("attached"),
            DESTROY,
        ],
        records: &[
            BOOTED,
            "RESUME",
            "STOP",
            "MIGRATION setup",
            "MIGRATION completed",
            "RESUME",
            "detached PeerClosed: libvirt: from-snapshot",
            "attached started from-snapshot",
            "RESUME",
            DESTROYED[0],
            DESTROYED[1],
        ],
        why: &[
            ("why-paused save-vm", "so that libvirt could"),
            ("why-ended restore-vm", "reverted to a snapshot"),
            WHY_DESTROYED,
        ],
        is_kept: true,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_and_end_has_its_records_and_its_why() {
    let Some(libvirt) = Libvirt::start_empty() else { return };
    libvirt.program("qemu-img", &["create", "-q", "-f", "qcow2", "HOME/disk.qcow2", "8M"]);
    let mut hub = WatchedHub::start(&libvirt).await;
    let mut failures = Vec::new();
    for story in STORIES {
        let (records, why) = tell(&libvirt, &mut hub, story).await;
        let is_so = |((kind, part), found): (&(&str, &str), &String)| {
            found.starts_with(&format!("{kind}:")) && found.contains(part)
        };
        let is_explained = why.len() == story.why.len() && story.why.iter().zip(&why).all(is_so);
        let begins = |(found, begin): (&String, &&str)| found.starts_with(begin);
        let is_recorded =
            records.len() == story.records.len() && records.iter().zip(story.records).all(begins);
        if !is_recorded || !is_explained {
            failures.push(format!("{}:\n{records:#?}\n{why:#?}", story.name));
        }
        tidy(&libvirt, &hub, story.is_kept).await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    hub.hub.stop().await.expect("stops");
    assert_eq!(libvirt.calls_after_end(), [""; 0]);
}

/// Lets a story happen. Returns its records and its explanations, up to that of its last end.
async fn tell(libvirt: &Libvirt, hub: &mut WatchedHub, story: &Story) -> (Vec<String>, Vec<String>) {
    let domain = DomainXml { has_raw_monitor: true, devices: DEVICES, changes: story.changes };
    libvirt.define(&domain);
    let mut all: Vec<Record<'static>> = Vec::new();
    for step in story.steps {
        match *step {
            Virsh(command) => drop(libvirt.virsh(command)),
            Port(write, event) => RawMonitor::connect(libvirt).write_port(write, event),
            Kill => kill_process(libvirt.qemu(), Signal::KILL).expect("permitted"),
            Until(begin) => {
                all.extend(hub.until(|one| words(one).is_some_and(|one| one.starts_with(begin))).await);
            }
            Explained(begin) => {
                all.extend(hub.until(|one| why(one).is_some_and(|one| one.starts_with(begin))).await);
            }
        }
    }
    let ends = story.why.iter().filter(|(kind, _)| kind.starts_with("why-ended")).count();
    loop {
        let found = all.iter().filter_map(why).filter(|why| why.starts_with("why-ended")).count();
        if found >= ends {
            break;
        }
        all.extend(hub.until(|one| why(one).is_some_and(|why| why.starts_with("why-ended"))).await);
    }
    let is_migration =
        |record: &Record<'_>| matches!(&record.body, Body::Finding { finding, .. } if finding == "migration");
    assert!(!all.iter().any(is_migration), "{}: no domain is migrated: {all:?}", story.name);
    (all.iter().filter_map(words).collect(), all.iter().filter_map(why).collect())
}

/// Waits until the hub has the VM, or has it no longer; then removes the domain.
async fn tidy(libvirt: &Libvirt, hub: &WatchedHub, is_kept: bool) {
    poll_until("the VM", async || (hub.vms().is_empty() != is_kept).then_some(())).await;
    for domain in libvirt.virsh(&["list", "--all", "--name"]).split_whitespace() {
        libvirt.virsh(&["undefine", domain, "--snapshots-metadata"]);
    }
    poll_until("no VM", async || hub.vms().is_empty().then_some(())).await;
}

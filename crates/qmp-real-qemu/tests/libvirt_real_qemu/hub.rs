//! Events of a domain through libvirt and the hub, beside those on a raw second monitor.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use qmp_real_qemu::{GuestFiles, KERNEL_COMMAND_LINE, Linux};
use qmp_testing::{DomainXml, Libvirt};
use qmp_wire::{Body, DetachReason};
use serde_json::json;

use crate::raw::RawMonitor;
use crate::watched_hub::{WatchedHub, events, is_attached, is_detached, why};

/// Devices with events.
const DEVICES: &str = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='hdc' bus='ide'/>\
    <readonly/></disk><graphics type='vnc' socket='HOME/vnc.sock'/>\
    <video><model type='vga'/></video><watchdog model='ib700' action='none'/><panic model='isa'/>\
    <input type='tablet' bus='usb'/>";

/// A domain with [`DEVICES`], whose panics end nothing.
const DOMAIN: DomainXml = DomainXml {
    has_raw_monitor: true,
    devices: DEVICES,
    changes: &[("<on_crash>destroy", "<on_crash>preserve")],
};

/// A domain with Linux, which may sleep. `COMMAND_LINE` is the one of its kernel.
const LINUX: DomainXml = DomainXml {
    has_raw_monitor: true,
    devices: "<serial type='file'><source path='HOME/console'/><target port='0'/></serial>\
        <serial type='unix'><source mode='bind' path='HOME/guest.sock'/><target port='1'/></serial>",
    changes: &[
        ("<memory unit='MiB'>32", "<memory unit='MiB'>384"),
        (
            "hvm</type>",
            "hvm</type><kernel>HOME/vmlinuz</kernel><initrd>HOME/initramfs</initrd>\
             <cmdline>COMMAND_LINE</cmdline>",
        ),
        ("<features>", "<pm><suspend-to-mem enabled='yes'/></pm><features>"),
    ],
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_run_equal_those_of_a_raw_monitor() {
    let Some(libvirt) = Libvirt::start(&DOMAIN) else { return };
    let mut hub = WatchedHub::start(&libvirt).await;
    libvirt.virsh(&["start", "vm1", "--paused"]);
    hub.until(is_attached).await;
    let mut raw = RawMonitor::connect(&libvirt);
    // Before the firmware uses it.
    devices(&mut raw);
    libvirt.virsh(&["resume", "vm1"]);
    control(&libvirt, &mut raw);
    jobs(&mut raw);
    show(&libvirt, &mut raw);
    guest(&mut raw);
    unplug(&libvirt, &mut raw);
    dump(&libvirt, &mut raw);
    libvirt.virsh(&["suspend", "vm1"]);
    libvirt.virsh(&["destroy", "vm1"]);
    let records = hub.until(is_detached).await;
    let raw = raw.end();
    assert!(raw.len() >= 46, "{} events: {raw:?}", raw.len());
    assert_eq!(events(&records), raw);
    let Body::Detached { reason, detail, .. } = &records[records.len() - 1].body else { panic!() };
    assert_eq!((reason, detail.as_deref()), (&DetachReason::PeerClosed, Some("libvirt: destroyed")));

    let ended = hub.until(|record| why(record).is_some_and(|why| why.starts_with("why-ended"))).await;
    let ended = why(&ended[ended.len() - 1]).expect("a finding");
    assert!(ended.contains("destroyed through libvirt"), "{ended}");
    hub.hub.stop().await.expect("stops");
    assert_eq!(libvirt.calls_after_end(), [""; 0]);
}

/// A guest that sleeps, is woken from outside, and the next time wakes itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleep_of_a_guest_equals_that_of_a_raw_monitor() {
    let Some(files) = GuestFiles::at_hand() else { return };
    let Some(libvirt) = Libvirt::start_empty() else { return };
    for (name, file) in [("vmlinuz", &files.vmlinuz), ("initramfs", &files.initramfs)] {
        libvirt.copy(file, name);
    }
    let domain = LINUX.text(&libvirt.path("")).replace("COMMAND_LINE", KERNEL_COMMAND_LINE);
    libvirt.write("vm1.xml", &domain);
    libvirt.virsh(&["define", "HOME/vm1.xml"]);
    let mut hub = WatchedHub::start(&libvirt).await;
    libvirt.virsh(&["start", "vm1", "--paused"]);
    hub.until(is_attached).await;
    let mut raw = RawMonitor::connect(&libvirt);
    libvirt.virsh(&["resume", "vm1"]);
    let mut linux = Linux::meet(&libvirt.path("guest.sock"), libvirt.path("console"));
    let sleep = "echo mem >/sys/power/state";
    linux.begins(sleep);
    raw.until("SUSPEND");
    raw.execute("system_wakeup", &json!({}));
    raw.until("WAKEUP");
    linux.ends(sleep);
    let sleep = "echo +3 >/sys/class/rtc/rtc0/wakealarm; echo mem >/sys/power/state";
    linux.begins(sleep);
    raw.until("SUSPEND");
    raw.until("WAKEUP");
    linux.ends(sleep);
    libvirt.virsh(&["destroy", "vm1"]);
    let records = hub.until(is_detached).await;
    let raw = raw.end();
    let count = |name: &str| raw.iter().filter(|event| event.0 == name).count();
    assert_eq!((count("SUSPEND"), count("WAKEUP")), (2, 2), "{raw:?}");
    assert_eq!(events(&records), raw);
    hub.hub.stop().await.expect("stops");
}

/// Stops, resets and the power button.
fn control(libvirt: &Libvirt, raw: &mut RawMonitor) {
    for (command, event) in [
        ("stop", "STOP"),
        ("cont", "RESUME"),
        ("system_reset", "RESET"),
        ("stop", "STOP"),
        ("cont", "RESUME"),
        ("system_powerdown", "POWERDOWN"),
    ] {
        raw.execute(command, &json!({}));
        raw.until(event);
    }
    // libvirt's QEMU may not start a program for that.
    let socket = libvirt.path("migrated.sock");
    let destination = UnixListener::bind(&socket).expect("binds");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("permitted");
    let discards = std::thread::spawn(move || {
        let (mut migrated, _) = destination.accept().expect("QEMU connects");
        std::io::copy(&mut migrated, &mut std::io::sink())
    });
    raw.execute("migrate", &json!({"uri": format!("unix:{}", socket.display())}));
    for _ in ["setup", "active", "completed"] {
        raw.until("MIGRATION");
    }
    discards.join().expect("no panic").expect("reads");
    raw.until("STOP");
    raw.execute("cont", &json!({}));
    raw.until("RESUME");
}

/// The tray of a drive.
fn devices(raw: &mut RawMonitor) {
    let drives = raw.execute("query-block", &json!({}));
    let drive =
        drives.as_array().expect("drives").iter().find_map(|drive| drive["qdev"].as_str()).expect("a drive");
    for command in ["blockdev-open-tray", "blockdev-close-tray"] {
        raw.execute(command, &json!({"id": drive}));
        raw.until("DEVICE_TRAY_MOVED");
    }
}

/// A job that mirrors, one that is cancelled.
fn jobs(raw: &mut RawMonitor) {
    for node in ["node1", "node2", "node3"] {
        let null = json!({"driver": "null-co", "node-name": node, "size": 1 << 20, "read-zeroes": true});
        raw.execute("blockdev-add", &null);
    }
    let mirror =
        |job: &str, target: &str| json!({"job-id": job, "device": "node1", "target": target, "sync": "full"});
    raw.execute("blockdev-mirror", &mirror("job1", "node2"));
    raw.until("BLOCK_JOB_READY");
    raw.execute("block-job-complete", &json!({"device": "job1"}));
    raw.until("BLOCK_JOB_COMPLETED");
    raw.execute(
        "blockdev-add",
        &json!({"driver": "null-co", "node-name": "node4", "size": 1 << 20, "read-zeroes": true}),
    );
    let stays = json!({"job-id": "job2", "device": "node4", "target": "node3", "sync": "full"});
    raw.execute("blockdev-mirror", &stays);
    raw.until("BLOCK_JOB_READY");
    raw.execute("block-job-cancel", &json!({"device": "job2"}));
    raw.until("BLOCK_JOB_COMPLETED");
}

/// A client of the screen.
fn show(libvirt: &Libvirt, raw: &mut RawMonitor) {
    let mut client = UnixStream::connect(libvirt.path("vnc.sock")).expect("QEMU listens");
    raw.until("VNC_CONNECTED");
    let mut greeting = [0; 12];
    client.read_exact(&mut greeting).expect("QEMU greets");
    client.write_all(&greeting).expect("writes");
    // One security type: none. Then the result, and a shared screen.
    client.read_exact(&mut [0; 2]).expect("QEMU replies");
    client.write_all(&[1]).expect("writes");
    client.read_exact(&mut [0; 4]).expect("QEMU replies");
    client.write_all(&[1]).expect("writes");
    raw.until("VNC_INITIALIZED");
    drop(client);
    raw.until("VNC_DISCONNECTED");
}

/// A device that goes without the help of a guest.
fn unplug(libvirt: &Libvirt, raw: &mut RawMonitor) {
    libvirt.write("tablet.xml", "<input type='tablet' bus='usb'/>");
    libvirt.virsh(&["detach-device", "vm1", "HOME/tablet.xml", "--live"]);
    raw.until("DEVICE_DELETED");
}

/// A dump of the memory, which only libvirt may demand: libvirtd 9.0.0 crashes on the event of a dump that it did not start.
fn dump(libvirt: &Libvirt, raw: &mut RawMonitor) {
    libvirt.virsh(&["dump", "vm1", "HOME/dump", "--memory-only"]);
    for event in ["STOP", "DUMP_COMPLETED", "RESUME"] {
        raw.until(event);
    }
}

/// What a guest does by its ports: its clock, its watchdog, its panic.
fn guest(raw: &mut RawMonitor) {
    raw.execute("stop", &json!({}));
    raw.until("STOP");
    // The firmware does not write to the same ports meanwhile, and need not go on after it.
    for port in ["o/b 0x70 0x07", "o/b 0x71 0x03"] {
        raw.human(port);
    }
    raw.until("RTC_CHANGE");
    raw.execute("cont", &json!({}));
    raw.until("RESUME");
    for (port, event) in [("o/b 0x443 0x0f", "WATCHDOG"), ("o/b 0x505 2", "GUEST_CRASHLOADED")] {
        raw.human(port);
        raw.until(event);
    }
    raw.execute("set-action", &json!({"panic": "none"}));
    raw.human("o/b 0x505 1");
    raw.until("GUEST_PANICKED");
}

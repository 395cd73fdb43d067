//! Disks and trays, as a driver sees them.

use qmp_real_qemu::Scenario;

/// A virtio disk on which every write fails.
const BAD_DISK: &str = concat!(
    r#"-blockdev {"driver":"blkdebug","node-name":"bad","image":{"driver":"null-co","size":1048576},"#,
    r#""inject-error":[{"event":"none","iotype":"write","errno":28}]} "#,
    "-device virtio-blk-pci,drive=bad,id=disk0,werror=stop"
);

/// The request waits, and each `cont` tries it again: it is never lost, and never done.
#[test]
fn write_that_stops() {
    let scenario = Scenario::new(
        "block-io-error-virtio",
        "The guest writes to a virtio disk without room (`dd`); `cont` lets it try again.",
    )
    .shows(&["BLOCK_IO_ERROR"])
    .options(BAD_DISK);
    let Some((mut vm, mut linux)) = scenario.start_linux(&["virtio_pci", "virtio_blk"]) else { return };
    linux.begins("dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct");
    let error = "BLOCK_IO_ERROR action=stop operation=write nospace=true node-name=bad";
    vm.lines(&[error, "STOP"]);
    vm.reaches("io-error");
    for _ in 0..3 {
        vm.send("cont");
        vm.in_any_order(&["RESUME", "reply", error, "STOP"]);
    }
    vm.finds("why-paused cause=io-error");
    vm.end();
}

/// The guest's own command to the drive, which Linux gives at the last close when it is told to.
#[test]
fn tray() {
    let scenario = Scenario::new(
        "device-tray-moved-guest",
        "The guest ejects the medium of its CD drive, and pulls the tray in again.",
    )
    .shows(&["DEVICE_TRAY_MOVED"])
    .options("-blockdev null-co,node-name=disc,size=4194304,read-only=on -device ide-cd,drive=disc,id=cd0");
    let Some((mut vm, mut linux)) = scenario.start_linux(&["ata_piix", "sr_mod"]) else { return };
    linux.runs("until [ -e /dev/sr0 ]; do usleep 50000; done");
    linux.runs("echo 1 >/proc/sys/dev/cdrom/autoeject");
    linux.runs("head -c 2048 /dev/sr0 >/dev/null");
    vm.next("DEVICE_TRAY_MOVED id=cd0 tray-open=true");
    linux.runs("echo 0 >/proc/sys/dev/cdrom/autoeject");
    linux.runs("head -c 2048 /dev/sr0 >/dev/null");
    vm.next("DEVICE_TRAY_MOVED id=cd0 tray-open=false");
    vm.end();
}

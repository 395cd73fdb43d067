//! Disks that fail, are corrupted, or grow beyond a threshold; trays; exports.

use qmp_real_qemu::{Boot, Scenario};

pub(crate) const READ: Boot = Boot::new().read_disk();
/// Reads the second sector of the second cylinder of the first hard disk.
///
/// `xor ax, ax; mov es, ax; mov bx, 0x8000; mov cx, 0x102; mov dx, 0x80; mov ax, 0x201; int 0x13`
const READ_FAR_AWAY: Boot = Boot::new()
    .then(&[0x31, 0xc0, 0x8e, 0xc0, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x01, 0xba, 0x80, 0x00, 0xb8, 0x01, 0x02])
    .then(&[0xcd, 0x13]);
const WRITE: Boot = Boot::new().write_disk();

/// A disk on which every request of one kind fails with one error number of Linux.
pub(crate) fn bad_disk(kind: &str, errno: u8, policy: &str) -> String {
    format!(
        "-blockdev {{\"driver\":\"blkdebug\",\"node-name\":\"bad\",\"image\":{{\"driver\":\"null-co\",\"size\":1048576,\"read-zeroes\":true}},\"inject-error\":[{{\"event\":\"none\",\"iotype\":\"{kind}\",\"errno\":{errno}}}]}} -device ide-hd,drive=bad,id=disk0{policy}"
    )
}

#[test]
fn read_error_stops() {
    let scenario = Scenario::new(
        "io-error-stop",
        "The guest reads its disk, which fails; the VM stops, and each `cont` tries again.",
    )
    .shows(&["BLOCK_IO_ERROR"])
    .options(&bad_disk("read", 5, ",rerror=stop,werror=stop"))
    .boots(READ);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    let error = "BLOCK_IO_ERROR action=stop operation=read nospace=false reason=\"Input/output error\" \
                 node-name=bad device=\"\"";
    vm.lines(&[error, "STOP"]);
    assert_eq!(vm.quiet(), "io-error");
    vm.send("cont");
    vm.in_any_order(&["RESUME", "reply", error, "STOP"]);
    vm.finds("why-paused cause=io-error node-name=bad operation=read");
    vm.end();
}

#[test]
fn read_error_is_reported_or_ignored() {
    let cases = [
        (
            "io-error-report",
            ",rerror=report,werror=report",
            "BLOCK_IO_ERROR action=report operation=read !nospace",
        ),
        (
            "io-error-ignore",
            ",rerror=ignore,werror=ignore",
            "BLOCK_IO_ERROR action=ignore operation=read !nospace",
        ),
        // Writes stop when there is no room, unless told otherwise; so `nospace` is there.
        ("io-error-default", "", "BLOCK_IO_ERROR action=report operation=read nospace=false"),
    ];
    for (name, policy, expected) in cases {
        let scenario = Scenario::new(name, "The guest reads its disk, which fails.")
            .options(&bad_disk("read", 5, policy))
            .boots(READ);
        let Some(mut vm) = scenario.start() else { return };
        vm.cont();
        vm.until(expected);
        vm.end();
    }
}

#[test]
fn no_space_stops() {
    let scenario = Scenario::new(
        "io-error-enospc",
        "The guest writes its disk, for which there is no room on the host.",
    )
    .options(&bad_disk("write", 28, ""))
    .boots(WRITE);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&[
        "BLOCK_IO_ERROR action=stop operation=write nospace=true reason=\"No space left on device\"",
        "STOP",
    ]);
    assert_eq!(vm.quiet(), "io-error");
    vm.finds("why-paused cause=io-error nospace=true operation=write");
    vm.end();
}

/// The place of a big-endian number of eight bytes in a qcow2 header, read from `image`.
fn number_at(image: &[u8], place: usize) -> usize {
    let bytes = image[place..place + 8].try_into().expect("eight bytes");
    usize::try_from(u64::from_be_bytes(bytes) & 0x00ff_ffff_ffff_fe00).expect("a place in the file")
}

/// Source: the qcow2 format: the L1 table's place stands at byte 40, the refcount table's at byte 48.
const L1_TABLE: usize = 40;
const REFCOUNT_TABLE: usize = 48;

/// A qcow2 image of one cluster with data, changed.
fn damaged(scenario: Scenario, damage: impl Fn(&mut [u8])) -> Scenario {
    let scenario =
        scenario.file("data.raw", &vec![7; 1 << 20]).image("convert -f raw -O qcow2 data.raw disk.qcow2");
    let Ok(mut image) = std::fs::read(scenario.home().join("disk.qcow2")) else { return scenario };
    damage(&mut image);
    scenario.file("disk.qcow2", &image)
}

#[test]
fn write_would_destroy_metadata() {
    let scenario = Scenario::new(
        "image-corrupted",
        "The reference counts of a qcow2 image are wrong; the guest writes, and QEMU is about to take for new what is in use.",
    )
    .shows(&["BLOCK_IMAGE_CORRUPTED"])
    .options("-blockdev qcow2,node-name=disk,file.driver=file,file.filename=disk.qcow2 -device ide-hd,drive=disk,id=disk0")
    .boots(WRITE);
    let scenario = damaged(scenario, |image| {
        let block = number_at(image, number_at(image, REFCOUNT_TABLE));
        image[block..block + 0x1000].fill(0);
        // The image has no allocated cluster, so that the write has to allocate.
        let l1 = number_at(image, L1_TABLE);
        image[l1..l1 + 8].fill(0);
    });
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("BLOCK_IMAGE_CORRUPTED device=\"\" node-name=disk fatal=true");
    vm.next("BLOCK_IO_ERROR operation=write node-name=disk");
    vm.end();
}

#[test]
fn table_points_nowhere() {
    let scenario = Scenario::new(
        "image-corrupted-table",
        "An entry of a qcow2 image's tables is not aligned; the guest reads.",
    )
    .options("-blockdev qcow2,node-name=disk,file.driver=file,file.filename=disk.qcow2 -device ide-hd,drive=disk,id=disk0")
    .boots(READ_FAR_AWAY);
    let scenario = damaged(scenario, |image| {
        let l2 = number_at(image, number_at(image, L1_TABLE));
        // Not that of the first cluster, which QEMU itself reads to guess the disk's geometry.
        for entry in 1..16 {
            image[l2 + 8 * entry + 6] |= 0x02;
        }
    });
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("BLOCK_IMAGE_CORRUPTED node-name=disk fatal=true !offset");
    vm.next("BLOCK_IO_ERROR operation=read node-name=disk");
    // QEMU has closed the image.
    vm.human("qemu-io disk \"read 0 512\"");
    assert_eq!(vm.quiet(), "running");
    vm.end();
}

#[test]
fn write_beyond_a_threshold() {
    let scenario =
        Scenario::new("write-threshold", "A node is written beyond what `block-set-write-threshold` says.")
            .shows(&["BLOCK_WRITE_THRESHOLD"])
            .options("-blockdev null-co,node-name=disk,size=1048576");
    let Some(mut vm) = scenario.start() else { return };
    vm.execute("block-set-write-threshold node-name=disk write-threshold=4096");
    vm.human("qemu-io disk \"write 8192 512\"");
    vm.next("BLOCK_WRITE_THRESHOLD node-name=disk amount-exceeded=4608 write-threshold=4096");
    vm.human("qemu-io disk \"write 8192 512\"");
    assert_eq!(vm.quiet(), "prelaunch");
    vm.execute("block-set-write-threshold node-name=disk write-threshold=4096");
    vm.human("qemu-io disk \"write 8192 512\"");
    vm.next("BLOCK_WRITE_THRESHOLD node-name=disk");
    vm.end();
}

#[test]
fn tray() {
    let scenario = Scenario::new("tray", "The commands `blockdev-open-tray` and `blockdev-close-tray`.")
        .shows(&["DEVICE_TRAY_MOVED"])
        .options(
            "-blockdev null-co,node-name=medium,size=1048576,read-only=on -device ide-cd,id=cd0,drive=medium",
        );
    let Some(mut vm) = scenario.start() else { return };
    vm.send("blockdev-open-tray id=cd0");
    vm.lines(&["DEVICE_TRAY_MOVED device=\"\" id=cd0 tray-open=true", "reply"]);
    vm.execute("blockdev-open-tray id=cd0");
    assert_eq!(vm.quiet(), "prelaunch");
    vm.send("blockdev-close-tray id=cd0");
    vm.lines(&["DEVICE_TRAY_MOVED device=\"\" id=cd0 tray-open=false", "reply"]);
    vm.execute("eject id=cd0");
    vm.next("DEVICE_TRAY_MOVED id=cd0 tray-open=true");
    vm.end();
}

#[test]
fn change_of_the_medium() {
    let scenario = Scenario::new("change-medium", "The command `blockdev-change-medium`.")
        .options("-drive if=none,id=old,file=a.img,format=raw,readonly=on -device ide-cd,id=cd0,drive=old")
        .file("a.img", &[0; 4096])
        .file("b.img", &[0; 4096]);
    let Some(mut vm) = scenario.start() else { return };
    vm.send("blockdev-change-medium id=cd0 filename=b.img format=raw");
    vm.lines(&[
        "DEVICE_TRAY_MOVED device=old id=cd0 tray-open=true",
        "DEVICE_TRAY_MOVED device=old id=cd0 tray-open=false",
        "reply",
    ]);
    vm.end();
}

#[test]
fn export() {
    let scenario = Scenario::new("export", "An NBD export is deleted by `block-export-del`.")
        .shows(&["BLOCK_EXPORT_DELETED"])
        .options("-blockdev null-co,node-name=disk,size=1048576");
    let Some(mut vm) = scenario.start() else { return };
    vm.execute(r#"nbd-server-start addr={"type":"unix","data":{"path":"nbd.sock"}}"#);
    vm.execute("block-export-add type=nbd id=export0 node-name=disk");
    vm.execute("block-export-del id=export0");
    vm.next("BLOCK_EXPORT_DELETED id=export0");
    vm.end();
}

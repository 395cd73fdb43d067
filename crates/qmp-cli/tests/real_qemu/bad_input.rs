//! Errors of users: each has a message that says how to fix it, and no data is lost.

use std::{
    io::Write,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use qmp_testing::wait_for;
use tempfile::TempDir;

use crate::{
    hub::HubHome,
    qemu::{Qemu, RawMonitor},
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A monitor that another client holds sends no greeting: the message says so.
#[test]
fn monitor_in_use_is_reported() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
    let _holder = RawMonitor::connect(&qemu.socket("vm1"));
    let output = home.run(&["exec", &qemu.address("vm1"), "stop"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let stderr = stderr(&output);
    assert!(stderr.contains("greeting") && stderr.contains("-qmp"), "{stderr}");
}

/// A socket with another protocol: its first line is shown.
#[test]
fn other_protocol_is_reported() {
    let folder = TempDir::new().unwrap();
    let home = HubHome::new(&folder);
    let path = folder.path().join("ssh.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    });
    let output = home.run(&["exec", &format!("unix:{}", path.display()), "stop"]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let stderr = stderr(&output);
    assert!(stderr.contains("SSH-2.0") && stderr.contains("QMP"), "{stderr}");
}

/// A file that is not a journal is not changed.
#[test]
fn file_that_is_not_a_journal_is_not_changed() {
    let folder = TempDir::new().unwrap();
    let home = HubHome::new(&folder);
    let text = "dear diary, today nothing happened; this is not a database at all\n".repeat(100);
    std::fs::write(home.journal(), &text).unwrap();
    for arguments in [["log", "--json"].as_slice(), &["serve", "--attach", "vm1=unix:/nonexistent.sock"]] {
        let output = home.run(arguments);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {}", stderr(&output));
        let stderr = stderr(&output);
        assert!(stderr.contains("journal"), "{arguments:?}: {stderr}");
        assert_eq!(std::fs::read_to_string(home.journal()).unwrap(), text, "{arguments:?}");
    }
}

/// A fault of the configuration is reported with its line.
#[test]
fn fault_of_the_configuration_is_reported_with_its_line() {
    let folder = TempDir::new().unwrap();
    let home = HubHome::new(&folder);
    let config = folder.path().join("hub.toml");
    std::fs::write(&config, "[[vm]]\nname = \"vm1\"\nadress = \"unix:/tmp/vm1.sock\"\n").unwrap();
    let output = home.run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let stderr = stderr(&output);
    assert!(stderr.contains("adress") && stderr.contains("address") && stderr.contains('3'), "{stderr}");
}

/// A file system of three megabytes; unmounted on drop.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts the file system; prints a note and returns `None` if this user may not mount.
    fn mount(folder: &TempDir) -> Option<Self> {
        let folder = folder.path().join("small");
        std::fs::create_dir(&folder).expect("a folder is made");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&folder).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("skipped: mounting a small file system takes root");
            return None;
        }
        Some(Self { folder })
    }

    /// Uses up the remaining space.
    fn fill(&self) -> PathBuf {
        let filler = self.folder.join("filler");
        let mut file = std::fs::File::create(&filler).expect("a file is made");
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// While the disk is full the VM runs, the hub reports the error, and no event is lost: the events are committed when there
/// is space again.
#[test]
fn events_during_a_full_disk_are_committed_later() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1", "drive"], &[]) else { return };
    let Some(disk) = SmallDisk::mount(&folder) else { return };
    let home = HubHome::with_journal(&folder, &disk.folder.join("journal.db"));
    let (hub, log) = home.serve_with_log("vm1", &qemu.address("vm1"));
    let filler = disk.fill();

    let mut drive = RawMonitor::connect(&qemu.socket("drive"));
    let events = |monitor: &mut RawMonitor| {
        for _ in 0..50 {
            monitor.execute(r#"{"execute": "stop"}"#);
            monitor.execute(r#"{"execute": "cont"}"#);
        }
    };
    events(&mut drive);
    // SQLite may have free space in its files: continue until the hub reports a full disk.
    let report = loop {
        match log.try_next() {
            Some(line) if line.contains("full") => break line,
            Some(_) => {}
            None => events(&mut drive),
        }
    };
    assert!(report.contains("journal"), "{report}");
    events(&mut drive);
    remove(&filler);
    drive.execute(r#"{"execute": "stop"}"#);
    drive.execute(r#"{"execute": "system_wakeup"}"#);
    drive.send(r#"{"execute": "quit"}"#);
    wait_for("the end of the epoch", || (home.last_title()? == "detached").then_some(()));
    hub.stop();

    let titles = home.titles();
    assert_eq!(
        titles.iter().filter(|title| *title == "detached").count(),
        1,
        "one epoch, so no event is missing"
    );
    let (stops, resumes) =
        ["STOP", "RESUME"].map(|event| titles.iter().filter(|title| *title == event).count()).into();
    assert_eq!(stops, resumes + 1, "each stop and cont is recorded");
}

fn remove(file: &Path) {
    std::fs::remove_file(file).expect("the file exists");
}

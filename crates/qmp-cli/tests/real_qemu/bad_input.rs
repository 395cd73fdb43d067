//! What goes wrong at a user's desk: each a message that says what to do, and nothing lost.

use std::{
    io::Write,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use tempfile::TempDir;

use crate::{
    hub::Place,
    qemu::{Qemu, RawMonitor, wait_for},
};

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A monitor that somebody else holds gives no greeting: the message names that.
#[test]
fn taken_monitor() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let place = Place::new(&folder);
    let _holder = RawMonitor::connect(&qemu.socket("vm1"));
    let output = place.run(&["exec", &qemu.address("vm1"), "stop"]);
    assert_eq!(output.status.code(), Some(1), "{}", complaint(&output));
    let said = complaint(&output);
    assert!(said.contains("greeting") && said.contains("-qmp"), "{said}");
}

/// A socket that speaks another protocol: what it said is shown.
#[test]
fn not_a_qmp_server() {
    let folder = TempDir::new().unwrap();
    let place = Place::new(&folder);
    let path = folder.path().join("ssh.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    });
    let output = place.run(&["exec", &format!("unix:{}", path.display()), "stop"]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", complaint(&output));
    let said = complaint(&output);
    assert!(said.contains("SSH-2.0") && said.contains("QMP"), "{said}");
}

/// A journal that is another file stays as it is.
#[test]
fn journal_is_another_file() {
    let folder = TempDir::new().unwrap();
    let place = Place::new(&folder);
    let text = "dear diary, today nothing happened; this is not a database at all\n".repeat(100);
    std::fs::write(place.journal(), &text).unwrap();
    for arguments in [["log", "--json"].as_slice(), &["serve", "--attach", "vm1=unix:/nonexistent.sock"]] {
        let output = place.run(arguments);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {}", complaint(&output));
        let said = complaint(&output);
        assert!(said.contains("journal"), "{arguments:?}: {said}");
        assert_eq!(std::fs::read_to_string(place.journal()).unwrap(), text, "{arguments:?}");
    }
}

/// A mistake in the configuration is named with its line.
#[test]
fn configuration_mistake() {
    let folder = TempDir::new().unwrap();
    let place = Place::new(&folder);
    let config = folder.path().join("hub.toml");
    std::fs::write(&config, "[[vm]]\nname = \"vm1\"\nadress = \"unix:/tmp/vm1.sock\"\n").unwrap();
    let output = place.run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
    let said = complaint(&output);
    assert!(said.contains("adress") && said.contains("address") && said.contains('3'), "{said}");
}

/// A file system of three megabytes; unmounted when dropped.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// `None`, after saying so, where this user may not mount.
    fn mount(folder: &TempDir) -> Option<Self> {
        let folder = folder.path().join("small");
        std::fs::create_dir(&folder).expect("a folder is made");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&folder).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: mounting a small file system takes root");
            return None;
        }
        Some(Self { folder })
    }

    /// Takes all the room that is left.
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

/// While the disk is full the VM goes on, the hub says what is wrong, and nothing is lost: it is committed when there
/// is room again.
#[test]
fn full_disk() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1", "drive"], &[]) else { return };
    let Some(disk) = SmallDisk::mount(&folder) else { return };
    let place = Place::with_journal(&folder, &disk.folder.join("journal.db"));
    let (hub, said) = place.serve_and_hear("vm1", &qemu.address("vm1"));
    let filler = disk.fill();

    let mut drive = RawMonitor::connect(&qemu.socket("drive"));
    let events = |monitor: &mut RawMonitor| {
        for _ in 0..50 {
            monitor.execute(r#"{"execute": "stop"}"#);
            monitor.execute(r#"{"execute": "cont"}"#);
        }
    };
    events(&mut drive);
    // Before it is full for SQLite, room in its files may be left: go on until it says so.
    let complaint = loop {
        match said.try_next() {
            Some(line) if line.contains("full") => break line,
            Some(_) => {}
            None => events(&mut drive),
        }
    };
    assert!(complaint.contains("journal"), "{complaint}");
    events(&mut drive);
    remove(&filler);
    drive.execute(r#"{"execute": "stop"}"#);
    drive.execute(r#"{"execute": "system_wakeup"}"#);
    drive.send(r#"{"execute": "quit"}"#);
    wait_for("the end of the epoch", || (place.last_title()? == "detached").then_some(()));
    hub.stop();

    let story = place.story();
    assert_eq!(story.iter().filter(|title| *title == "detached").count(), 1, "one epoch: nothing is missing");
    let (stops, resumes) =
        ["STOP", "RESUME"].map(|event| story.iter().filter(|title| *title == event).count()).into();
    assert_eq!(stops, resumes + 1, "every stop and cont is there");
}

fn remove(file: &Path) {
    std::fs::remove_file(file).expect("it is there");
}

//! Records as files: what an export writes and adds later, what other programs read, and what an import restores.

#[path = "../support/mod.rs"]
mod support;

mod export;
mod import;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qmp_archive::{Archived, OffsetMerge, find};
use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_wire::{Body, DetachReason, Epoch, Seq, Timestamp, UnixMicros};
use support::run;

/// 2026-01-02T00:00:00Z
pub(crate) const BEGIN: UnixMicros = UnixMicros(1_767_312_000_000_000);

pub(crate) const DAY: i64 = 86_400_000_000;

/// Writes `count` records of three VMs and all kinds, `step` microseconds apart, after those that the journal has.
pub(crate) fn write_journal(path: &Path, begin: UnixMicros, count: i64, step: i64) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let mut batch = Batch::new();
    let names = ["web1", "web2", "db"];
    for index in 0..count {
        let vm = names[usize::try_from(index % 3).expect("positive")];
        let received = UnixMicros(begin.0 + index * step);
        batch.push(&Draft { vm, received, body: body(index / 3, received) });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
}

pub(crate) fn body(index: i64, received: UnixMicros) -> Body<'static> {
    match index % 50 {
        0 => Body::Attached { snapshot: "{\"query-status\": {\"status\":\r\n \"running\"}}".into() },
        7 => Body::Finding {
            finding: "storm".into(),
            summary: "much, \"very\" much".into(),
            causes: vec![(Epoch(1), Seq(2)), (Epoch(1), Seq(3))],
            data: Some("{\"count\": 1e3}".into()),
        },
        8 => Body::Finding { finding: "note".into(), summary: "".into(), causes: Vec::new(), data: None },
        9 => Body::Event {
            name: "ODD".into(),
            sent_name: Some("\"ODD\\ud800\"".into()),
            // Microseconds of it do not fit in 64 bits.
            timestamp: Timestamp::from_wire(i64::MAX, 7).expect("in range"),
            data: Some("null".into()),
        },
        49 => Body::Detached {
            reason: DetachReason::PeerClosed,
            detail: Some("=1+1".into()),
            certain_until: Some(received),
        },
        index => Body::Event {
            name: ["STOP", "RESUME", "BLOCK_IO_ERROR"][usize::try_from(index % 3).expect("positive")].into(),
            sent_name: None,
            timestamp: Timestamp::from_wire(received.0 / 1_000_000, index).expect("in range"),
            data: (index % 2 == 0).then(|| format!("{{\"device\": \"d{index}\", \"nospace\": true}}").into()),
        },
    }
}

/// The records of a folder, in the order of their offsets, as JSON Lines.
pub(crate) fn read_parquet(folder: &Path) -> String {
    let mut lines = Vec::new();
    for found in find(folder).expect("files") {
        let Archived::Parts(parts) = found else { panic!("a file of lines") };
        let mut merge = OffsetMerge::new(parts);
        while let Some(record) = merge.next_record().expect("reads") {
            record.write_json(&mut lines);
            lines.push(b'\n');
        }
    }
    String::from_utf8(lines).expect("text")
}

pub(crate) fn log(home: &Path) -> String {
    let journal = home.join("journal.db");
    let log = run(home, &["log", "--json", "--journal", text(&journal)]);
    assert_eq!(log.code, Some(0), "{log:?}");
    log.stdout
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// All parts of a folder.
pub(crate) fn parts(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => open.push(entry),
                false if entry.extension().is_some_and(|end| end == "parquet") => {
                    found.push(text(entry.strip_prefix(folder).expect("within")).to_owned());
                }
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// An export of the journal in `home` into `folder`.
pub(crate) fn export(home: &Path, folder: &Path, more: &[&str]) -> support::RunResult {
    let journal = home.join("journal.db");
    let fixed = ["export", "--parquet", text(folder), "--journal", text(&journal), "--local-host", "node1"];
    run(home, &[&fixed, more].concat())
}

/// A small file system; unmounted on drop.
pub(crate) struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Mounts the file system; prints a note and returns `None` if this user may not mount.
    pub(crate) fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&folder).expect("a folder is made");
        let options = ["-t", "tmpfs", "-o", &format!("size={size}"), "qmp-export-test"];
        let status = Command::new("mount").args(options).arg(&folder).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("skipped: mounting a small file system takes root");
            return None;
        }
        Some(Self(folder))
    }

    pub(crate) fn grow(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status();
        assert!(status.expect("mount runs").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

//! Copies of a journal while it is being written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use qmp_journal::{
    Backup, BackupError, BackupSummary, Batch, Draft, Journal, JournalOptions, Query, Reader, Retention,
};
use qmp_wire::{Body, Offset, Record, UnixMicros};

/// A copy made during a storm is a prefix of the journal, byte for byte, and a journal itself.
#[test]
fn copy_made_during_storm_is_a_prefix_of_the_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let options = JournalOptions { segment_records: 1_000, ..JournalOptions::default() };
    let journal = Journal::open(&path, options).expect("opens");
    append(&journal, 5_000);
    let is_over = AtomicBool::new(false);
    let copies: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                append(&journal, 300);
            }
        });
        let copies = (0..4)
            .map(|number| {
                let to = directory.path().join(format!("copy{number}.db"));
                let before = journal.head();
                let copied = Backup::open(&path).expect("opens").write(&to, false).expect("copies");
                assert!(copied.head >= before && copied.first == Offset(1), "{copied:?} {before:?}");
                (to, copied)
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        copies
    });
    assert!(copies[0].1.head < copies[3].1.head && copies[3].1.head < journal.head(), "the storm continued");
    let whole = records(&path);
    for (to, copied) in copies {
        let copy = records(&to);
        assert_eq!(copy[..], whole[..copy.len()], "{}", to.display());
        assert_eq!(copied.head, Offset(copy.len() as u64));
        assert_eq!(std::fs::metadata(&to).expect("is there").len(), copied.bytes);
    }
    // A hub continues with a copy as with the journal.
    let restored = Journal::open(&directory.path().join("copy0.db"), options).expect("opens");
    let head = restored.head();
    append(&restored, 1);
    assert_eq!(restored.head(), Offset(head.0 + 1));
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .expect("reads")
        .map(|entry| entry.expect("reads").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.contains(".part"))
        .collect();
    assert_eq!(left, [""; 0], "no draft is left");
}

/// The copy of a journal that was pruned has the same first record; it is smaller if much was removed.
#[test]
fn copy_of_pruned_journal_is_compact() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, to) = (directory.path().join("journal.db"), directory.path().join("copy.db"));
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, 20_000);
    let order = journal.retain(Retention { max_age: Some(std::time::Duration::ZERO), max_bytes: None });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(journal.wait_for_pruning(order)).expect("is open");
    let copied = Backup::open(&path).expect("opens").write(&to, false).expect("copies");
    assert_eq!((copied.first, copied.head), (Offset(20_001), Offset(20_000)), "the head is kept");
    assert!(copied.bytes < 200_000, "{} bytes", copied.bytes);
    append(&journal, 1);
    let copied = Backup::open(&path).expect("opens").write(&to, true).expect("replaces");
    assert_eq!((copied.first, copied.head), (Offset(20_001), Offset(20_001)));
}

#[test]
fn copy_refuses_to_replace_files_and_journals_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let at = |name: &str| directory.path().join(name);
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, 3);
    let copy = |to: &Path, replace| Backup::open(&path).expect("opens").write(to, replace);
    std::fs::write(at("file"), "mine").expect("writes");
    std::fs::create_dir(at("folder")).expect("makes");
    std::fs::write(at("used.db-wal"), "log").expect("writes");
    std::os::unix::fs::symlink(&path, at("link")).expect("links");
    let here = directory.path().display().to_string();
    //  to             replace   error
    let cases = [
        ("file", false, "HERE/file exists: name another file, or replace it with --force"),
        ("folder", true, "HERE/folder exists: name another file, or replace it with --force"),
        (
            "journal.db",
            true,
            "HERE/journal.db is a journal in use (HERE/journal.db-wal belongs to it): name another file",
        ),
        ("link", true, "HERE/link is a journal in use (it is the one to be copied): name another file"),
        (
            "used.db",
            false,
            "HERE/used.db is a journal in use (HERE/used.db-wal belongs to it): name another file",
        ),
        (
            "no/such/copy",
            false,
            "cannot write HERE/no/such/copy.PID.part: No such file or directory (os error 2)",
        ),
    ];
    for (to, replace, expected) in cases {
        let error = copy(&at(to), replace).expect_err(to).to_string();
        let pid = std::process::id().to_string();
        assert_eq!(error.replace(&here, "HERE").replace(&pid, "PID"), expected, "{to}");
    }
    assert_eq!(std::fs::read_to_string(at("file")).expect("reads"), "mine");
    let BackupSummary { head, .. } = copy(&at("file"), true).expect("replaces with --force");
    assert_eq!((head, records(&at("file")).len()), (Offset(3), 3));
}

/// A copy of a damaged journal fails.
#[test]
fn copy_of_damaged_journal_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, to) = (directory.path().join("journal.db"), directory.path().join("copy.db"));
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, 1_000);
    journal.close().expect("closes");
    let file = rusqlite::Connection::open(&path).expect("opens");
    file.execute("DELETE FROM record WHERE offset = 500", []).expect("damages");
    drop(file);
    let error = Backup::open(&path).expect("opens").write(&to, false).expect_err("a hole");
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert_eq!(error.to_string(), "the copy is damaged, and was discarded: records 500 to 500 are missing");
    assert!(!to.exists());
}

fn append(journal: &Journal, records: usize) {
    let mut batch = Batch::new();
    for number in 0..records {
        let data = Some(format!("{{\"number\":  {number}}}").into());
        let body = Body::Event {
            name: format!("EVENT_{}", number % 7).into(),
            sent_name: None,
            timestamp: None,
            data,
        };
        let vm = if number % 3 == 0 { "web1" } else { "db1" };
        batch.push(&Draft { vm, received: UnixMicros(1), body });
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
}

fn records(path: &Path) -> Vec<Record<'static>> {
    let mut cursor = Reader::open(path).expect("opens").cursor(Query::default(), Offset(0));
    let mut records = Vec::new();
    loop {
        let batch = cursor.next_batch(10_000).expect("reads");
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

//! Committed records that are missing in the file, and files that the hub did not leave.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use qmp_journal::{Batch, Draft, Journal, JournalError, JournalOptions, Query, Reader};
use qmp_wire::{Body, DetachReason, Offset, Record, UnixMicros};
use rusqlite::Connection;

/// A journal whose write-ahead log is zeroed, cut or removed after a kill.
#[test]
fn lost_log_leaves_a_gap_and_no_identity_is_assigned_twice() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &[attached("web1", 1), event("web1", 2), attached("db1", 3), event("db1", 4)]);
    journal.close().expect("closes");
    // The log of this hub is lost: the ends of the epochs that it found open, and two epochs of each VM.
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &[attached("web1", 5), attached("web1", 6), attached("db1", 7), event("db1", 8)]);
    append(&journal, &[attached("late", 9)]);
    let seen = read(&journal.reader());
    let log = fs::read(with_ending(&path, "-wal")).expect("reads");
    type Damage = fn(&Path, &[u8]);
    let damages: [(&str, Damage); 4] = [
        ("removed", |_, _| {}),
        ("zeroed", |log, bytes| fs::write(log, vec![0; bytes.len()]).expect("writes")),
        ("cut to a header", |log, bytes| fs::write(log, &bytes[..32]).expect("writes")),
        ("empty", |log, _| fs::write(log, b"").expect("writes")),
    ];
    for (name, damage) in damages {
        let left = home.path().join(name).join("journal.db");
        fs::create_dir(left.parent().expect("a directory")).expect("made");
        for ending in ["", ".lock"] {
            fs::copy(with_ending(&path, ending), with_ending(&left, ending)).expect("copies");
        }
        damage(&with_ending(&left, "-wal"), &log);
        let journal = Journal::open(&left, JournalOptions::default()).expect("opens");
        append(
            &journal,
            &[attached("web1", 20), attached("db1", 21), attached("late", 22), attached("new", 23)],
        );
        let found = read(&journal.reader());
        let gap = &found[4];
        let Body::Detached { reason, detail, certain_until } = &gap.body else { panic!("{name}: {gap:?}") };
        assert_eq!(*reason, DetachReason::RecordsLost, "{name}");
        let lost = format!("records 5 to {} were committed and are gone from the journal", seen.len());
        assert!(detail.as_deref().is_some_and(|detail| detail.starts_with(&lost)), "{name}: {detail:?}");
        assert_eq!(*certain_until, Some(UnixMicros(2)), "{name}");
        for record in &found[4..] {
            let identity = |record: &Record<'_>| (record.vm.to_string(), record.epoch, record.seq);
            assert!(record.offset > seen.last().expect("some").offset, "{name}: {record:?}");
            assert!(seen.iter().all(|seen| identity(seen) != identity(record)), "{name}: {record:?}");
        }
        // A loss is reported once, and is remembered without the lock file.
        journal.close().expect("closes");
        fs::remove_file(with_ending(&left, ".lock")).expect("removes");
        let journal = Journal::open(&left, JournalOptions::default()).expect("opens");
        append(&journal, &[attached("late2", 30), attached("web2", 31)]);
        assert!(read(&journal.reader()).last().is_some_and(|last| last.epoch.0 > 3), "{name}");
        journal.close().expect("closes");
        let connection = Connection::open(&left).expect("opens");
        let spans: Vec<(i64, i64)> = connection
            .prepare("SELECT first, last FROM lost")
            .and_then(|mut spans| spans.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .expect("reads");
        assert_eq!(spans, [(5, seen.len() as i64)], "{name}");
        let open: u32 = connection
            .query_row("SELECT count(*) FROM gaps WHERE \"to\" IS NULL AND vm = 'web1'", [], |row| row.get(0))
            .expect("reads");
        assert_eq!(open, 1, "{name}: only the last gap is open");
    }
}

/// No loss: a clean end, a kill, a removed lock file, and the lock file of another journal.
#[test]
fn journal_that_has_every_record_lost_none() {
    let home = tempfile::tempdir().expect("a directory");
    let (path, other) = (home.path().join("journal.db"), home.path().join("other.db"));
    for (path, records) in [(&path, 3), (&other, 300)] {
        let journal = Journal::open(path, JournalOptions::default()).expect("opens");
        let events: Vec<_> = (0..records).map(|at| event("web1", at)).collect();
        append(&journal, &events);
        if records == 3 {
            // A copy with the log is the state after a kill.
            for ending in ["", "-wal", ".lock"] {
                let to = with_ending(&home.path().join("killed.db"), ending);
                fs::copy(with_ending(path, ending), to).expect("copies");
            }
        }
        journal.close().expect("closes");
    }
    let heads = |path: &Path| {
        let journal = Journal::open(path, JournalOptions::default()).expect("opens");
        let lost: u32 = Connection::open(path)
            .and_then(|connection| connection.query_row("SELECT count(*) FROM lost", [], |row| row.get(0)))
            .expect("reads");
        (journal.head(), lost)
    };
    assert_eq!(heads(&path), (Offset(3), 0), "a clean end");
    assert_eq!(heads(&home.path().join("killed.db")), (Offset(3), 0), "a kill");
    fs::copy(with_ending(&other, ".lock"), with_ending(&path, ".lock")).expect("copies");
    assert_eq!(heads(&path), (Offset(3), 0), "the lock file of another journal");
    fs::remove_file(with_ending(&path, ".lock")).expect("removes");
    assert_eq!(heads(&path), (Offset(3), 0), "no lock file");
}

#[test]
fn journal_with_two_hard_links_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (path, hard) = (home.path().join("journal.db"), home.path().join("hard.db"));
    let first = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&first, &[event("web1", 1)]);
    fs::hard_link(&path, &hard).expect("made");
    let error = Journal::open(&hard, JournalOptions::default()).expect_err("is refused");
    assert!(matches!(error, JournalError::HardLinked { links: 2, .. }), "{error}");
    assert!(error.to_string().contains("has 2 names (hard links)"), "{error}");
    // The hub that writes the journal is not affected.
    append(&first, &[event("web1", 2)]);
    assert_eq!(first.head(), Offset(2));
    first.close().expect("closes");
    fs::remove_file(&hard).expect("removes");
    drop(Journal::open(&path, JournalOptions::default()).expect("opens"));
}

/// The same file at a path in another directory, as a bind mount shows it, has another lock file.
#[test]
fn locked_journal_is_refused_without_its_lock_file() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    drop(Journal::open(&path, JournalOptions::default()).expect("opens"));
    let held = fs::File::open(&path).expect("opens");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locks");
    let error = Journal::open(&path, JournalOptions::default()).expect_err("is refused");
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(held);
    drop(Journal::open(&path, JournalOptions::default()).expect("opens"));
}

/// Another user created links at the places of the hub's files, to a file that the hub may write.
#[test]
fn links_are_not_followed() {
    for ending in [".lock", ".new", "-wal", "-shm"] {
        for hard in [false, true] {
            let home = tempfile::tempdir().expect("a directory");
            let (path, victim) = (home.path().join("journal.db"), home.path().join("victim"));
            fs::write(&victim, "precious").expect("writes");
            let link = with_ending(&path, ending);
            if ending.starts_with('-') {
                drop(Journal::open(&path, JournalOptions::default()).expect("opens"));
                if hard {
                    // SQLite handles this itself: the log is replaced, and a file that is not a log is not read as one.
                    continue;
                }
            }
            if hard { fs::hard_link(&victim, &link) } else { symlink(&victim, &link) }.expect("made");
            let opened = Journal::open(&path, JournalOptions::default());
            // An old draft is removed, its target is not.
            assert_eq!(opened.is_ok(), ending == ".new", "{ending} {hard}: {opened:?}");
            if ending == ".lock" {
                let error = opened.expect_err("is refused").to_string();
                assert!(
                    error.ends_with("is a link or no ordinary file, and is not written to: remove it"),
                    "{error}"
                );
            }
            assert_eq!(fs::read_to_string(&victim).expect("reads"), "precious", "{ending} {hard}");
        }
    }
}

fn attached(vm: &'static str, received: i64) -> Draft<'static> {
    Draft { vm, received: UnixMicros(received), body: Body::Attached { snapshot: "{}".into() } }
}

fn event(vm: &'static str, received: i64) -> Draft<'static> {
    let body = Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
    Draft { vm, received: UnixMicros(received), body }
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
}

fn read(reader: &Reader) -> Vec<Record<'static>> {
    reader.cursor(Query::default(), Offset(0)).next_batch(1_000).expect("reads")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

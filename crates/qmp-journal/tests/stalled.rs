//! A disk that refuses writes: no task waits, and all queued drafts are committed in order once it accepts them.

use std::fs;
use std::path::Path;
use std::process::Command;

use qmp_journal::{
    Appender, Batch, Draft, Health, Journal, JournalError, JournalOptions, Overrun, Query, Ticket,
};
use qmp_wire::{Body, Offset, Record, UnixMicros};
use rusqlite::Connection;

#[test]
fn queued_drafts_are_committed_when_a_foreign_lock_is_released() {
    runtime().block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let options = JournalOptions { queue_max_bytes: 20_000, ..JournalOptions::default() };
        let journal = Journal::open(&path, options).expect("opens");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let appender = journal.appender();
        let (kept, last) = append_until_overrun(&appender);
        let mut health = journal.health();
        let stalled = health
            .wait_for(|health| matches!(health, Health::Stalled { .. }))
            .await
            .expect("the writer is alive")
            .clone();
        let text = stalled.to_string();
        assert!(text.starts_with("nothing can be written since 2"), "{text}");
        assert!(text.contains("another program holds a lock: end its transaction"), "{text}");
        assert_eq!(journal.head(), Offset(0), "nothing is published that is not committed");
        assert_eq!(appender.append(&mut one(kept)), Err(Overrun), "room is counted until the commit");
        other.execute_batch("ROLLBACK").expect("ends");
        appender.room().await.expect("comes back");
        appender.committed(last).await.expect("is committed");
        health.wait_for(|health| *health == Health::Writing).await.expect("the writer is alive");
        let next = appender.append(&mut one(kept)).expect("there is room");
        assert_eq!(appender.committed(next).await, Ok(Offset(kept + 1)));
        check(&journal, kept + 1);
    });
}

#[test]
fn queued_drafts_are_committed_when_a_full_disk_gets_room() {
    let Some(disk) = TinyDisk::mount(2 << 20) else { return };
    runtime().block_on(async {
        let path = disk.directory.path().join("journal.db");
        let options = JournalOptions { queue_max_bytes: 1 << 20, ..JournalOptions::default() };
        let journal = Journal::open(&path, options).expect("opens");
        let appender = journal.appender();
        let mut health = journal.health();
        let ballast = disk.directory.path().join("ballast");
        fs::write(&ballast, vec![0; 1 << 20]).expect("fits");
        let (mut appended, mut last) = (0, None);
        loop {
            match appender.append(&mut one(appended)) {
                Ok(ticket) => (appended, last) = (appended + 1, Some(ticket)),
                Err(Overrun) if *health.borrow_and_update() != Health::Writing => break,
                // The queue is full because the disk is slow, or because the disk is about to be full.
                Err(Overrun) => tokio::select! {
                    room = appender.room() => room.expect("the journal is open"),
                    change = health.changed() => change.expect("the journal is open"),
                },
            }
        }
        let stalled = health
            .wait_for(|health| *health != Health::Writing)
            .await
            .expect("the writer is alive")
            .to_string();
        assert!(stalled.contains("the disk is full: free some space"), "{stalled}");
        let published = journal.head();
        fs::remove_file(&ballast).expect("makes room");
        let head = appender.committed(last.expect("something was appended")).await.expect("is committed");
        assert_eq!(head, Offset(appended));
        assert!(published < head);
        check(&journal, appended);
        journal.close().expect("closes");
    });
}

#[test]
fn close_returns_the_number_of_unwritten_records() {
    runtime().block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let appender = journal.appender();
        let ticket = appender.append(&mut one(0)).expect("there is room");
        let waiting = tokio::spawn({
            let appender = appender.clone();
            async move { appender.committed(ticket).await }
        });
        let error = journal.close().expect_err("nothing can be written");
        assert!(matches!(error, JournalError::Unwritten { records: 1, .. }), "{error}");
        assert!(waiting.await.expect("ends").is_err(), "no task waits for ever");
        assert_eq!(appender.append(&mut one(0)), Err(Overrun));
        assert!(appender.room().await.is_err());
    });
}

#[test]
fn moved_file_is_not_written_until_it_is_back() {
    runtime().block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, moved) = (directory.path().join("journal.db"), directory.path().join("moved.db"));
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let appender = journal.appender();
        let first = appender.append(&mut one(0)).expect("there is room");
        appender.committed(first).await.expect("is committed");
        fs::rename(&path, &moved).expect("moves");
        let second = appender.append(&mut one(1)).expect("there is room");
        let mut health = journal.health();
        let text = health
            .wait_for(|health| *health != Health::Writing)
            .await
            .expect("the writer is alive")
            .to_string();
        assert!(text.contains("the file is missing: move it back, or restart the hub"), "{text}");
        fs::rename(&moved, &path).expect("moves");
        assert_eq!(appender.committed(second).await, Ok(Offset(2)));
        check(&journal, 2);
    });
}

/// A batch that is larger than the queue is accepted when the queue is empty.
#[test]
fn batch_larger_than_the_queue_is_accepted_if_it_is_empty() {
    runtime().block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions { queue_max_bytes: 1_000, ..JournalOptions::default() };
        let journal = Journal::open(&directory.path().join("journal.db"), options).expect("opens");
        let data = format!("\"{}\"", "x".repeat(1 << 20));
        let body = Body::Event {
            name: "BIG".into(),
            sent_name: None,
            timestamp: None,
            data: Some(data.as_str().into()),
        };
        let mut batch = Batch::new();
        batch.push(&Draft { vm: "web1", received: UnixMicros(0), body: body.clone() });
        let appender = journal.appender();
        let ticket = appender.append(&mut batch).expect("is accepted");
        appender.committed(ticket).await.expect("is committed");
        let found = journal.reader().cursor(Query::default(), Offset(0)).next_batch(10).expect("reads");
        assert_eq!(found[0].body, body);
    });
}

/// A cursor wakes for new records: at once in the process that writes, soon in another.
#[tokio::test(flavor = "multi_thread")]
async fn cursor_wakes_for_new_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let appender = journal.appender();
    let foreign = qmp_journal::Reader::open(&path).expect("opens");
    for reader in [journal.reader(), foreign] {
        let mut cursor = reader.cursor(Query::default(), journal.head());
        let follower = tokio::spawn(async move {
            let mut found = Vec::new();
            while found.len() < 20 {
                cursor.wait().await.expect("there is a record");
                found.extend(cursor.next_batch(7).expect("reads"));
            }
            found
        });
        let before = journal.head().0;
        for number in before..before + 20 {
            let ticket = appender.append(&mut one(number)).expect("there is room");
            appender.committed(ticket).await.expect("is committed");
        }
        let found = follower.await.expect("ends");
        assert!(found.iter().zip(before..).all(|(record, number)| is_number(record, number)), "{found:?}");
    }
    let mut cursor = journal.reader().cursor(Query::default(), journal.head());
    journal.close().expect("closes");
    assert!(matches!(cursor.wait().await, Err(JournalError::Ended(_))));
}

fn append_until_overrun(appender: &Appender) -> (u64, Ticket) {
    let (mut kept, mut last) = (0, None);
    while let Ok(ticket) = appender.append(&mut one(kept)) {
        (kept, last) = (kept + 1, Some(ticket));
        assert!(kept < 10_000, "the queue has a bound");
    }
    (kept, last.expect("something was appended"))
}

fn one(number: u64) -> Batch {
    let data = format!("{{\"number\": {number}}}");
    let body =
        Body::Event { name: "NUMBER".into(), sent_name: None, timestamp: None, data: Some(data.into()) };
    let mut batch = Batch::new();
    batch.push(&Draft { vm: "web1", received: UnixMicros(0), body });
    batch
}

fn check(journal: &Journal, records: u64) {
    let found = journal.reader().cursor(Query::default(), Offset(0)).next_batch(usize::MAX).expect("reads");
    assert_eq!(found.len() as u64, records);
    assert!(found.iter().zip(0..).all(|(record, number)| is_number(record, number)));
}

fn is_number(record: &Record<'_>, number: u64) -> bool {
    let data = format!("{{\"number\": {number}}}");
    record.offset == Some(Offset(number + 1))
        && matches!(&record.body, Body::Event { data: Some(found), .. } if **found == *data)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime")
}

/// A file system of a few megabytes.
struct TinyDisk {
    directory: tempfile::TempDir,
}

impl TinyDisk {
    /// Mounts it; `None`, with the reason printed, where file systems cannot be mounted.
    fn mount(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "qmp-journal-test"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                println!("skipped: cannot mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: cannot mount: {error}");
                None
            }
        }
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        unmount(self.directory.path());
    }
}

fn unmount(path: &Path) {
    let done = Command::new("umount").arg("--lazy").arg(path).status().expect("umount is installed");
    assert!(done.success(), "unmounts");
}

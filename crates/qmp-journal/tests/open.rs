//! Opening: each file that is no journal is refused with a remedy, and left unchanged; a journal can be read in every
//! state in which a hub may leave it, also with `sqlite3`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use qmp_journal::{Batch, Draft, Journal, JournalError, JournalOptions, Query, Reader};
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};
use rusqlite::Connection;

/// Makes a copy of this test open a journal as another user and print the results.
const CHILD_PATH: &str = "QMP_JOURNAL_OPEN_PATH";
/// The user `nobody` of Debian, who owns nothing.
const NOBODY: u32 = 65534;

/// A hub that was killed while it started a command leaves its lock to the child for a moment.
#[test]
fn opening_waits_for_the_lock_of_a_hub_that_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    Journal::open(&path, JournalOptions::default()).expect("opens").close().expect("closes");
    let mut ended = Command::new("true").spawn().expect("runs");
    ended.wait().expect("ends");
    for (pid, is_waited_for) in [(ended.id(), true), (std::process::id(), false)] {
        let lock_path = with_ending(&path, ".lock");
        fs::write(&lock_path, format!("{pid}\n")).expect("writes");
        let left = fs::File::open(&lock_path).expect("opens");
        left.try_lock().expect("it is free");
        let opening = {
            let path = path.clone();
            std::thread::spawn(move || Journal::open(&path, JournalOptions::default()).map(drop))
        };
        if is_waited_for {
            // Neither refused nor opened while the lock is held, for a tenth of the waiting time.
            std::thread::sleep(std::time::Duration::from_millis(200));
            assert!(!opening.is_finished());
            drop(left);
            opening.join().expect("no panic").expect("opens");
        } else {
            let error = opening.join().expect("no panic").expect_err("it is held");
            assert!(matches!(error, JournalError::Locked { .. }), "{error}");
        }
    }
}

#[test]
fn opening_a_file_that_is_no_journal_is_refused() {
    type Make = fn(&Path);
    let cases: [(&str, Make, &str); 9] = [
        ("directory", |path| fs::create_dir(path).expect("made"), "is a directory: name a file in it"),
        ("empty file", |path| fs::write(path, "").expect("made"), "is empty and no journal: remove it"),
        (
            "short text",
            |path| fs::write(path, "hello\n").expect("made"),
            "is no journal, not even an SQLite file",
        ),
        (
            "long text",
            |path| fs::write(path, "all work and no play\n".repeat(1000)).expect("made"),
            "is no journal, not even an SQLite file",
        ),
        ("socket", |path| drop(std::os::unix::net::UnixListener::bind(path).expect("made")), "is no journal"),
        (
            "other application",
            |path| sqlite(path, "PRAGMA application_id = 7"),
            "of another application (application_id 7)",
        ),
        ("no application", |path| sqlite(path, ""), "of another application (application_id 0)"),
        (
            "no format",
            |path| {
                drop(Journal::open(path, JournalOptions::default()).expect("made"));
                sqlite(path, "PRAGMA user_version = 0");
            },
            "is damaged: it has journal format 0, which does not exist: keep a copy, and put a backup in its place",
        ),
        (
            "later format",
            |path| {
                drop(Journal::open(path, JournalOptions::default()).expect("made"));
                sqlite(path, "PRAGMA user_version = 4");
            },
            "was made by a newer qmp-events (journal format 4; this one knows up to 3): use that one, or name another file",
        ),
    ];
    for (name, make, message) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        make(&path);
        let (before, beside) = (fs::read(&path).ok(), names_in(directory.path()));
        for error in [
            Journal::open(&path, JournalOptions::default()).expect_err(name),
            Reader::open(&path).expect_err(name),
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with(&path.display().to_string()) && text.contains(message),
                "{name}: {text}"
            );
        }
        assert_eq!(fs::read(&path).ok(), before, "{name}: nothing is overwritten");
        let mut left = names_in(directory.path());
        // SQLite leaves these after reading a journal: they have no content of the test.
        left.retain(|name| !["-wal", "-shm"].iter().any(|ending| name.ends_with(ending)));
        assert_eq!(left, beside, "{name}: no file is left");
    }
}

#[test]
fn opening_beside_a_stray_log_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    fs::write(directory.path().join("journal.db-wal"), "frames").expect("made");
    let error = Journal::open(&path, JournalOptions::default()).expect_err("a stray log");
    assert!(matches!(error, JournalError::StrayWal { .. }), "{error}");
    assert!(error.to_string().contains("put the journal back beside it, or remove it"), "{error}");
    assert_eq!(names_in(directory.path()), ["journal.db-wal"]);
}

#[test]
fn reading_missing_journal_is_an_error_and_creates_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = Reader::open(&directory.path().join("journal.db")).expect_err("nothing there");
    assert!(error.to_string().starts_with("there is no journal at "), "{error}");
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn opening_creates_private_directories_and_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state/qmp-events/journal.db");
    drop(Journal::open(&path, JournalOptions::default()).expect("opens"));
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path) & 0o037, 0);
    assert_eq!(mode(path.parent().expect("has one")) & 0o027, 0);
    assert_eq!(names_in(path.parent().expect("has one")), ["journal.db", "journal.db.lock"]);
}

#[test]
fn second_hub_is_refused_until_the_first_closes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let first = Journal::open(&path, JournalOptions::default()).expect("opens");
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("made");
    for name in [&path, &link] {
        let error = Journal::open(name, JournalOptions::default()).expect_err("is in use");
        let text = error.to_string();
        assert!(text.contains(&format!("another hub (process {})", std::process::id())), "{text}");
    }
    first.close().expect("closes");
    drop(Journal::open(&link, JournalOptions::default()).expect("is free"));
}

/// The states of the files beside the journal: with a hub, after a hub, and after a killed hub.
#[test]
fn journal_is_readable_with_after_and_without_a_hub() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &example());
    assert_eq!(count(&path), 5, "beside a hub");
    // A copy while the hub runs is the state after a kill.
    let killed = directory.path().join("killed.db");
    for ending in ["", "-wal"] {
        fs::copy(with_ending(&path, ending), with_ending(&killed, ending)).expect("copies");
    }
    journal.close().expect("closes");
    assert_eq!(names_in(directory.path()), ["journal.db", "journal.db.lock", "killed.db", "killed.db-wal"]);
    assert_eq!(count(&path), 5, "without a hub");
    assert_eq!(count(&killed), 5, "after a killed hub");
}

/// Opening as another user, who may read but write neither the file nor its directory.
#[test]
fn missing_permissions_are_reported() {
    if let Some(path) = std::env::var_os(CHILD_PATH) {
        return as_nobody(Path::new(&path));
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can start a process as another user");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    let path = directory.path().join("100% ü journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &example());
    // The other user may have no access to the directory of the test binary.
    let program = directory.path().join("test");
    fs::copy(std::env::current_exe().expect("this test"), &program).expect("copies");
    let as_nobody = |mode: u32| {
        for ending in ["", "-wal", "-shm"] {
            // The latter two exist only while the journal is open.
            let _ = fs::set_permissions(with_ending(&path, ending), fs::Permissions::from_mode(mode));
        }
        run_as_nobody(&program, &path)
    };
    let beside_hub = as_nobody(0o644);
    assert!(beside_hub.contains("read 5 records"), "{beside_hub}");
    journal.close().expect("closes");
    let without_hub = as_nobody(0o644);
    assert!(without_hub.contains("read 5 records"), "{without_hub}");
    assert!(without_hub.contains("write: no permission for "), "{without_hub}");
    fs::remove_file(with_ending(&path, ".lock")).expect("is there");
    let unreadable = as_nobody(0o600);
    assert!(unreadable.contains("read: no permission for "), "{unreadable}");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("sets");
    let file_only = as_nobody(0o444);
    assert!(file_only.contains("read 5 records"), "{file_only}");
    assert!(
        file_only.contains("journal.db cannot be written: give this user write permission"),
        "{file_only}"
    );
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    let absent = run_as_nobody(&program, &directory.path().join("deeper/than/this.db"));
    assert!(absent.contains("write: no permission for "), "{absent}");
    assert_eq!(count(&path), 5, "untouched");
}

fn run_as_nobody(program: &Path, path: &Path) -> String {
    let output = Command::new(program)
        .args(["missing_permissions_are_reported", "--exact", "--nocapture"])
        .env(CHILD_PATH, path)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("starts");
    String::from_utf8(output.stdout).expect("text")
}

fn as_nobody(path: &Path) {
    match Reader::open(path).and_then(|reader| reader.cursor(Query::default(), Offset(0)).next_batch(100)) {
        Ok(records) => println!("read {} records", records.len()),
        Err(error) => println!("read: {error}"),
    }
    match Journal::open(path, JournalOptions::default()) {
        Ok(_) => println!("written"),
        Err(error) => println!("write: {error}"),
    }
}

/// The content of the views, as `sqlite3` shows it.
#[test]
fn views_show_records_events_epochs_gaps_and_vms() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &example());
    append(&journal, &[attached("web1", 9_000_001), event("web1", 9_000_002, "STOP", None, None)]);
    append(&journal, &[event("db1", -1, "X", Timestamp::from_wire(i64::MAX, 1).expect("in range"), None)]);
    let connection = Connection::open(&path).expect("opens");
    let show = |sql: &str| table(&connection, sql);
    insta::assert_snapshot!(show("SELECT * FROM records"), @r#"
    offset|vm|epoch|seq|received|kind|event|event_time|data|sent_name|host
    1|web1|1|0|1970-01-01T00:00:00.001000Z|attached|||{}||
    2|web1|1|1|1970-01-01T00:00:00.001001Z|event|STOP|1970-01-01T00:00:00.000999Z|||
    3|web1|1|2|1970-01-01T00:00:00.001002Z|event|RESET||{"guest": true,  "reason":"guest-reset"}||
    4|web1|1|3|1970-01-01T00:00:02.000000Z|finding|||{"finding":"sequel-missing","summary":"no STOP","causes":[[1,2]]}||
    5|web1|1|4|1970-01-01T00:00:03.000000Z|detached|||{"reason":"peer closed","detail":"EOF","certain_until":"1970-01-01T00:00:02.500000Z"}||
    6|web1|2|0|1970-01-01T00:00:09.000001Z|attached|||{}||
    7|web1|2|1|1970-01-01T00:00:09.000002Z|event|STOP||||
    8|db1|0|0|1969-12-31T23:59:59.999999Z|event|X|9223372036854775807.000001|||
    "#);
    insta::assert_snapshot!(show("SELECT * FROM events"), @r#"
    offset|vm|epoch|seq|received|event|event_time|data|sent_name|host
    2|web1|1|1|1970-01-01T00:00:00.001001Z|STOP|1970-01-01T00:00:00.000999Z|||
    3|web1|1|2|1970-01-01T00:00:00.001002Z|RESET||{"guest": true,  "reason":"guest-reset"}||
    7|web1|2|1|1970-01-01T00:00:09.000002Z|STOP||||
    8|db1|0|0|1969-12-31T23:59:59.999999Z|X|9223372036854775807.000001|||
    "#);
    insta::assert_snapshot!(show("SELECT * FROM epochs"), @r#"
    vm|epoch|opened|closed|reason|detail|records|first_offset|last_offset|certain_until|host
    web1|1|1970-01-01T00:00:00.001000Z|1970-01-01T00:00:03.000000Z|peer closed|EOF|5|1|5|1970-01-01T00:00:02.500000Z|
    web1|2|1970-01-01T00:00:09.000001Z||||2|6|||
    "#);
    insta::assert_snapshot!(show("SELECT * FROM gaps"), @r#"
    vm|from|to|reason|detail|epoch_before|epoch_after|host
    web1|1970-01-01T00:00:02.500000Z|1970-01-01T00:00:09.000001Z|peer closed|EOF|1|2|
    "#);
    insta::assert_snapshot!(show("SELECT * FROM vms"), @r#"
    vm|epoch|state|since|host
    web1|2|attached|1970-01-01T00:00:09.000001Z|
    "#);
    let checked: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(checked, "ok");
}

/// A journal of format 1 keeps every record, and can be appended to.
#[test]
fn journal_of_format_1_is_migrated_without_loss() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, new) = (directory.path().join("journal.db"), directory.path().join("new.db"));
    let options = JournalOptions { segment_records: 3, ..JournalOptions::default() };
    let journal = Journal::open(&new, options).expect("opens");
    append(&journal, &example());
    append(&journal, &[attached("db1", 5_000_000), event("db1", 5_000_001, "STOP", None, Some("{}"))]);
    journal.close().expect("closes");
    let connection = Connection::open(&path).expect("opens");
    connection.execute_batch(include_str!("../src/migrations/1.sql")).expect("makes it");
    connection.execute("ATTACH ?1 AS new", [new.to_str().expect("text")]).expect("attaches");
    connection
        .execute_batch(
            "DELETE FROM name; PRAGMA application_id = 1364021349; PRAGMA user_version = 1; \
             INSERT INTO name SELECT * FROM new.name; INSERT INTO record SELECT * FROM new.record; \
             INSERT INTO epoch SELECT * FROM new.epoch; INSERT INTO posting SELECT * FROM new.posting; \
             INSERT INTO tally SELECT * FROM new.tally; INSERT INTO vm SELECT * FROM new.vm; \
             INSERT INTO segment SELECT last, first, received_min, received_max FROM new.segment",
        )
        .expect("copies");
    drop(connection);
    let read = |path: &Path| {
        let reader = Reader::open(path).expect("opens");
        reader.cursor(Query::default(), Offset(0)).next_batch(100).expect("reads")
    };
    let before = read(&new);
    let journal = Journal::open(&path, options).expect("opens");
    append(&journal, &[attached("web1", 9_000_000)]);
    journal.close().expect("closes");
    let after = read(&path);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last().map(|record| (&*record.vm, record.epoch)), Some(("web1", Epoch(2))));
}

/// The SQL questions in the manual run, and return rows.
#[test]
fn sql_questions_of_the_manual_return_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    append(&journal, &example());
    let in_time = 1_767_323_045_000_000;
    let shutdown = Some("{\"guest\": true, \"reason\": \"guest-shutdown\"}");
    append(&journal, &[event("web1", in_time, "SHUTDOWN", None, shutdown)]);
    let manual = include_str!("../../../docs/journal.md");
    let (_, questions) = manual.split_once("```sql\n").expect("questions");
    let (questions, _) = questions.split_once("```").expect("an end");
    let connection = Connection::open(&path).expect("opens");
    let questions: Vec<&str> = questions.split(';').filter(|question| !question.trim().is_empty()).collect();
    assert!(questions.len() > 4, "{questions:?}");
    for question in questions {
        assert!(table(&connection, question).lines().count() > 1, "no answer to {question}");
        answered_by_installed_sqlite(&path, question);
    }
}

/// The host's SQLite, if installed, may be older than that of this program.
fn answered_by_installed_sqlite(path: &Path, question: &str) {
    // A comment would be taken for an option.
    let is_comment = |line: &&str| line.trim_start().starts_with("--");
    let statement: Vec<&str> = question.lines().filter(|line| !is_comment(line)).collect();
    let Ok(output) = std::process::Command::new("sqlite3").arg(path).arg(statement.join("\n")).output()
    else {
        return;
    };
    let (answer, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !answer.is_empty(), "{question}: {error}");
    if question.contains("julianday") || question.contains("unixepoch") {
        let is_null = |row: &str| row.ends_with('|');
        assert!(!answer.lines().any(is_null), "an answer that is NULL to {question}: {answer}");
    }
}

/// A reader returns no record after the published head, at which followers begin.
#[test]
fn reader_never_passes_the_published_head() {
    /// Each in a commit of its own.
    const RECORDS: u64 = 1_000;
    let directory = tempfile::tempdir().expect("a directory");
    let journal =
        Journal::open(&directory.path().join("journal.db"), JournalOptions::default()).expect("opens");
    append(&journal, &[attached("web1", 1)]);
    let appender = journal.appender();
    let writing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 1..RECORDS {
                let mut batch = Batch::new();
                batch.push(&event("web1", 2, "STOP", None, None));
                let ticket = appender.append(&mut batch).expect("there is room");
                appender.committed(ticket).await.expect("is committed");
            }
        });
    });
    let mut cursor = journal.reader().cursor(Query::default(), Offset(0));
    let mut read = 0;
    while read < RECORDS {
        let records = cursor.next_batch(100).expect("reads");
        let head = journal.head();
        if let Some(last) = records.last() {
            read = last.offset.expect("it is in a journal").0;
            assert!(read <= head.0, "{read} was read, and the head is {}", head.0);
        }
    }
    writing.join().expect("writes");
}

fn example() -> Vec<Draft<'static>> {
    let stop = event("web1", 1_001, "STOP", Timestamp::from_wire(0, 999).expect("in range"), None);
    let reset = event("web1", 1_002, "RESET", None, Some("{\"guest\": true,  \"reason\":\"guest-reset\"}"));
    let finding = Body::Finding {
        finding: "sequel-missing".into(),
        summary: "no STOP".into(),
        causes: vec![(Epoch(1), Seq(2))],
        data: None,
    };
    let (detail, certain_until) = (Some("EOF".into()), Some(UnixMicros(2_500_000)));
    let detached = Body::Detached { reason: DetachReason::PeerClosed, detail, certain_until };
    vec![
        attached("web1", 1_000),
        stop,
        reset,
        Draft { vm: "web1", received: UnixMicros(2_000_000), body: finding },
        Draft { vm: "web1", received: UnixMicros(3_000_000), body: detached },
    ]
}

fn attached(vm: &'static str, received: i64) -> Draft<'static> {
    Draft { vm, received: UnixMicros(received), body: Body::Attached { snapshot: "{}".into() } }
}

fn event(
    vm: &'static str,
    received: i64,
    name: &'static str,
    timestamp: Option<Timestamp>,
    data: Option<&'static str>,
) -> Draft<'static> {
    let body = Body::Event { name: name.into(), sent_name: None, timestamp, data: data.map(Into::into) };
    Draft { vm, received: UnixMicros(received), body }
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    for draft in drafts {
        batch.push(draft);
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
}

fn count(path: &Path) -> usize {
    let reader = Reader::open(path).expect("opens");
    let records: Vec<Record<'_>> = reader.cursor(Query::default(), Offset(0)).next_batch(100).expect("reads");
    records.len()
}

fn sqlite(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("opens");
    connection.execute_batch(&format!("CREATE TABLE IF NOT EXISTS t (x); {sql}")).expect("runs");
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("reads");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// The rows as `sqlite3 -header` prints them.
fn table(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(sql).expect("prepares");
    let mut lines = vec![statement.column_names().collect::<Vec<_>>().join("|")];
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("runs");
    while let Some(row) = rows.next().expect("steps") {
        let cell = |index| match row.get_ref(index).expect("a column") {
            rusqlite::types::ValueRef::Null => String::new(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Real(number) => number.to_string(),
            other => other.as_str().expect("text").to_owned(),
        };
        lines.push((0..columns).map(cell).collect::<Vec<_>>().join("|"));
    }
    lines.join("\n")
}

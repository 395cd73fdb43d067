//! The filling, a step at a time, while retention removes segments.

use qmp_wire::{Body, UnixMicros};
use tempfile::TempDir;

use super::*;
use crate::bounds;
use crate::digest::{Change, ChangeKind, Class, Track};
use crate::prune;
use crate::summary::ChangeOf;
use crate::{Batch, Draft, Journal, JournalOptions};

/// Words that name the version which derived them.
#[derive(Clone, Copy, Debug)]
struct Release(u32);

impl Digest for Release {
    fn version(&self) -> u32 {
        self.0
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        if let Body::Event { name, .. } = body {
            let word = format!("{name} of release {}", self.0).into();
            changes.push(Change { at: received, kind: ChangeKind::Set { track: Track::new(0), word } });
        }
        Class::default()
    }
}

/// In place of the words of conditions that cannot be read.
const DAMAGED: &str = "damaged";

static FIRST: Release = Release(1);
static SECOND: Release = Release(2);

/// What happens to a journal of the first release.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// A hub of the second release begins.
    Begin,
    /// It does a piece of the work.
    Step,
    /// It does all of it.
    Finish,
    /// Retention removes the records up to this one.
    Remove(u64),
    /// What holds after this segment is damaged.
    Damage(u64),
    /// A hub of the first release begins again.
    BeginAgain,
}

/// A journal whose summaries are all of the first release.
struct WrittenJournal {
    _home: TempDir,
    connection: Connection,
    fill: Fill,
}

impl WrittenJournal {
    /// The record at `stop` is the only one of a VM that is quiet otherwise; all others are of a busy one.
    fn new((segments, segment_records): (u64, u64), stop: u64) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let options = JournalOptions { segment_records, digest: &FIRST, ..JournalOptions::default() };
        let journal = Journal::open(&path, options).expect("opens");
        let mut batch = Batch::new();
        for offset in 1..=segments * segment_records {
            let (vm, name) = if offset == stop { ("quiet", "STOP") } else { ("busy", "RESUME") };
            let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
            batch.push(&Draft { vm, received: UnixMicros(0), body });
        }
        let appender = journal.appender();
        let ticket = appender.append(&mut batch).expect("room");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(appender.committed(ticket)).expect("is committed");
        journal.close().expect("closes");
        let connection = Connection::open(&path).expect("opens");
        let fill = Fill::new(&connection, &FIRST).expect("reads");
        let mut written = Self { _home: home, connection, fill };
        written.act(Action::Finish);
        written
    }

    fn act(&mut self, action: Action) {
        let Self { connection, fill, .. } = self;
        match action {
            Action::Begin => *fill = Fill::new(connection, &SECOND).expect("reads"),
            Action::BeginAgain => *fill = Fill::new(connection, &FIRST).expect("reads"),
            Action::Damage(segment) => {
                let sql = "UPDATE summary SET standing = x'01ff' WHERE segment = ?1 AND standing IS NOT NULL";
                assert_eq!(connection.execute(sql, [number(segment)]), Ok(1));
            }
            Action::Step => drop(fill.step(connection).expect("fills")),
            Action::Finish => while fill.step(connection).expect("fills") {},
            Action::Remove(upto) => {
                let first = bounds::first(connection).expect("reads");
                prune::remove(connection, first, upto, |_| true).expect("removes");
            }
        }
    }

    /// The words of the quiet VM that hold after segments, and after all of them.
    fn held(&self) -> (Vec<(u64, String)>, String) {
        let quiet = "SELECT id FROM name WHERE role = 'vm' AND name = 'quiet'";
        let quiet: u32 = self.connection.query_row(quiet, [], |row| row.get(0)).expect("reads");
        let word = |standing: &[u8]| {
            let mut word = String::new();
            let mut take = |change: ChangeOf<'_>| word.extend(change.change.kind.word());
            let read = read_changes(standing, 0, |vm| vm == quiet, &mut take);
            read.map_or_else(|| DAMAGED.to_owned(), |()| word)
        };
        let sql = "SELECT segment, standing FROM summary WHERE standing IS NOT NULL ORDER BY segment";
        let mut select = self.connection.prepare(sql).expect("a statement");
        let rows =
            select.query_map([], |row| Ok((row.get(0).map(unsigned)?, word(row.get_ref(1)?.as_blob()?))));
        (rows.and_then(Iterator::collect).expect("reads"), word(&self.fill.standing.write()))
    }
}

/// What holds after a segment is complete, and of the release that made its summary. Of records that retention has removed
/// before that release read them, it is what the other one knew. Damaged conditions are written again from those before them,
/// if these can be read.
#[test]
fn conditions_are_complete_and_of_one_release() {
    use Action::{Begin, BeginAgain, Damage, Finish, Remove, Step};
    const NONE: &str = "";
    const FIRST: &str = "STOP of release 1";
    const SECOND: &str = "STOP of release 2";
    const CHUNK: u64 = FILL_CHUNK_RECORDS;
    type Case =
        (&'static str, (u64, u64), u64, &'static [Action], &'static [(u64, &'static str)], &'static str);
    // name, segments and their records, offset of the STOP, actions, words after segments, word at the end
    let cases: [Case; 10] = [
        ("nothing removed", (140, 1), 20, &[Begin, Finish], &[(64, SECOND), (128, SECOND)], SECOND),
        (
            "removed before",
            (140, 1),
            20,
            &[Remove(10), Begin, Finish],
            &[(10, NONE), (74, SECOND), (138, SECOND)],
            SECOND,
        ),
        (
            "removed before it was read",
            (140, 1),
            5,
            &[Begin, Step, Remove(10), Finish],
            &[(10, FIRST), (74, FIRST), (138, FIRST)],
            FIRST,
        ),
        (
            "removed while it was read",
            (2, 2 * CHUNK),
            CHUNK + 1,
            &[Begin, Step, Remove(2 * CHUNK), Finish],
            &[(2 * CHUNK, FIRST)],
            FIRST,
        ),
        ("removed in part", (2, 4), 1, &[Remove(2), Begin, Finish], &[], FIRST),
        (
            "removed in part, and then the rest",
            (2, 4),
            1,
            &[Remove(2), Begin, Finish, Remove(4)],
            &[(4, FIRST)],
            FIRST,
        ),
        ("damaged", (140, 1), 20, &[Damage(64), BeginAgain, Finish], &[(64, FIRST), (128, FIRST)], FIRST),
        (
            "damaged last",
            (140, 1),
            70,
            &[Damage(128), BeginAgain, Finish],
            &[(64, NONE), (128, FIRST)],
            FIRST,
        ),
        (
            "damaged after those that were removed",
            (140, 1),
            5,
            &[Remove(10), Damage(64), BeginAgain, Finish],
            &[(10, FIRST), (64, FIRST), (128, FIRST)],
            FIRST,
        ),
        (
            "damaged, and the records are removed",
            (140, 1),
            5,
            &[Remove(10), Damage(10), Damage(64), BeginAgain, Finish],
            &[(10, DAMAGED), (64, DAMAGED), (128, FIRST)],
            FIRST,
        ),
    ];
    for (name, segments, stop, actions, after_segments, at_end) in cases {
        let mut written = WrittenJournal::new(segments, stop);
        actions.iter().for_each(|action| written.act(*action));
        let (found_after, found_at_end) = written.held();
        let found_after: Vec<(u64, &str)> = found_after.iter().map(|(last, word)| (*last, &**word)).collect();
        assert_eq!((found_after.as_slice(), &*found_at_end), (after_segments, at_end), "{name}");
    }
}

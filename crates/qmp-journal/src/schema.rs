//! The format of the file: tables, views, version, and migrations from earlier formats.
//!
//! `application_id` identifies a file as a journal, `user_version` is the number of its format. A file of a later
//! format is refused; a file of an earlier format is migrated step by step in one transaction when a hub opens it.
//! Views are no part of the format: each opening for writing recreates them if they differ, so that a correction of a
//! view needs no new format.

use qmp_wire::HOST_NAME_MAX_BYTES;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{bounds, checkpoints, feeds, sent_names};

/// Identifies an SQLite file as a journal: the bytes `QMPe`, in `PRAGMA application_id`.
pub const APPLICATION_ID: i64 = 0x514d_5065;

/// The format that this version writes, in `PRAGMA user_version`.
pub const FORMAT_VERSION: u32 = 3;

const TABLES: &str = include_str!("schema.sql");
const VIEWS: &str = include_str!("views.sql");
/// The journal's own name: 128 random bits, created once. The table is not part of the format, so that an earlier file
/// gets one, too, and programs that do not know the table still read the file. A copy of the file has the same name.
const IDENTITY: &str = "CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL); \
    INSERT INTO identity (id) SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM identity)";
/// The names of [`VIEWS`], as SQL: other views belong to other programs.
const VIEW_NAMES: &str = "('records', 'events', 'epochs', 'gaps', 'vms')";

/// A step from one format to the next.
pub(super) struct Migration {
    /// The format after the step; the format before is one less.
    pub(super) to: u32,
    /// The statements of the step.
    pub(super) sql: &'static str,
}

/// All steps, in order. Format 1 is the first.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { to: 2, sql: include_str!("migrations/2.sql") },
    Migration { to: 3, sql: include_str!("migrations/3.sql") },
];

/// The identification of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) application_id: i64,
    pub(super) format: i64,
}

/// Reads the identification.
///
/// # Errors
///
/// `SQLITE_NOTADB` if the file is no SQLite file; any other error of reading it.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    connection.query_row(
        "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok(Identity { application_id: row.get(0)?, format: row.get(1)? }),
    )
}

/// The journal's own name, which every file has that was opened for writing.
pub(super) fn name(connection: &Connection) -> rusqlite::Result<Box<str>> {
    connection.query_row("SELECT id FROM identity", [], |row| row.get(0))
}

/// Makes an empty file a journal.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
    transaction.commit()
}

/// Migrates a file of format `from` to the format of the last step, and creates the views.
///
/// The migration is atomic: after an error the file is unchanged. The caller has checked that there is a step from each
/// format on.
pub(super) fn migrate(connection: &mut Connection, from: u32, steps: &[Migration]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in steps.iter().filter(|step| step.to > from) {
        drop_views(&transaction)?;
        transaction.execute_batch(step.sql)?;
        transaction.pragma_update(None, "user_version", step.to)?;
    }
    sent_names::create(&transaction)?;
    checkpoints::create(&transaction)?;
    feeds::create(&transaction)?;
    bounds::create_kept(&transaction)?;
    make_views(&transaction)?;
    // The check comes first, so that opening a journal that has a name writes nothing.
    if transaction.prepare("SELECT id FROM identity LIMIT 1").and_then(|mut id| id.exists([])) != Ok(true) {
        transaction.execute_batch(IDENTITY)?;
    }
    transaction.commit()
}

/// Recreates the views if they differ from those of this program.
fn make_views(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let expected = views_text();
    let found: String = transaction.query_row(
        &format!(
            "SELECT coalesce(group_concat(sql, char(10)), '') FROM (SELECT sql FROM sqlite_schema \
             WHERE type = 'view' AND name IN {VIEW_NAMES} ORDER BY rowid)"
        ),
        [],
        |row| row.get(0),
    )?;
    if found != statements(&expected).join("\n") {
        drop_views(transaction)?;
        transaction.execute_batch(&expected)?;
    }
    Ok(())
}

/// The statements of a text, as SQLite keeps them in its schema.
fn statements(text: &str) -> Vec<&str> {
    let starts = text.find("CREATE").unwrap_or(text.len());
    text[starts..].split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

fn drop_views(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = format!("SELECT name FROM sqlite_schema WHERE type = 'view' AND name IN {VIEW_NAMES}");
    let mut found = transaction.prepare(&sql)?;
    let names: Vec<String> = found.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        transaction.execute_batch(&format!("DROP VIEW {name}"))?;
    }
    Ok(())
}

/// The views, with each call of these functions expanded, which SQLite does not have.
fn views_text() -> String {
    type Function = fn(&str) -> String;
    let functions: [(&str, Function); 3] = [("UTC(", utc), ("HOST(", host), ("VM(", vm)];
    functions.into_iter().fold(VIEWS.into(), |text, (name, expand)| expanded(&text, name, expand))
}

/// Replaces each call of `function` in `text`.
fn expanded(text: &str, function: &str, expand: fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len() * 4);
    let mut rest = text;
    while let Some(start) = rest.find(function) {
        out.push_str(&rest[..start]);
        let column_and_rest = &rest[start + function.len()..];
        // `coalesce(a, b)` has its own pair of parentheses.
        let end = closing(column_and_rest);
        out.push_str(&expand(&column_and_rest[..end]));
        rest = &column_and_rest[end + 1..];
    }
    out.push_str(rest);
    out
}

/// The index of the parenthesis that closes the one opened before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 0_usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return index,
            b')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Microseconds as `2026-01-02T03:04:05.678901Z`; text, and a number beyond the calendar, as in the column.
fn utc(column: &str) -> String {
    let fraction = format!("(({column} % 1000000 + 1000000) % 1000000)");
    format!(
        "CASE typeof({column}) WHEN 'integer' THEN \
         coalesce(strftime('%Y-%m-%dT%H:%M:%S', ({column} - {fraction}) / 1000000, 'unixepoch') \
         || printf('.%06dZ', {fraction}), {column}) ELSE {column} END"
    )
}

/// The host of a qualified name; NULL for a VM of this host.
fn host(column: &str) -> String {
    format!("CASE WHEN {} THEN substr({column}, 1, instr({column}, '/') - 1) END", is_qualified(column))
}

/// The name of a VM on its host.
fn vm(column: &str) -> String {
    format!(
        "CASE WHEN {} THEN substr({column}, instr({column}, '/') + 1) ELSE {column} END",
        is_qualified(column)
    )
}

/// The condition of [`QualifiedName::parse`](qmp_wire::QualifiedName::parse).
fn is_qualified(column: &str) -> String {
    let after_host = HOST_NAME_MAX_BYTES + 1;
    format!(
        "{column} GLOB '[A-Za-z0-9]*/?*' AND instr({column}, '/') <= {after_host} \
         AND substr({column}, 1, instr({column}, '/') - 1) NOT GLOB '*[^A-Za-z0-9._~-]*'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Migration] = &[
        Migration { to: 2, sql: "ALTER TABLE record ADD COLUMN host TEXT; DROP TABLE posting" },
        Migration { to: 3, sql: "UPDATE record SET host = 'here'" },
    ];

    /// A file of format 1 with one record.
    fn earlier() -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("migrations/1.sql")).expect("makes it");
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("is set");
        connection.pragma_update(None, "user_version", 1).expect("is set");
        migrate(&mut connection, 1, &[]).expect("makes the views");
        let insert = "INSERT INTO name (id, role, name) VALUES (5, 'vm', 'web1'), (6, 'event', 'STOP'); \
                      INSERT INTO record VALUES (1, 5, 1, 0, 1, 0, 6, NULL, NULL)";
        connection.execute_batch(insert).expect("inserts");
        connection
    }

    fn text(connection: &Connection, sql: &str) -> String {
        connection.query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    #[test]
    fn earlier_file_is_migrated_step_by_step() {
        for from in [1, 2] {
            let mut connection = earlier();
            if from == 2 {
                migrate(&mut connection, 1, &STEPS[..1]).expect("the first step alone");
            }
            migrate(&mut connection, from, STEPS).expect("migrates");
            assert_eq!(identity(&connection), Ok(Identity { application_id: APPLICATION_ID, format: 3 }));
            assert_eq!(text(&connection, "SELECT host FROM record"), "here", "from {from}");
            assert_eq!(text(&connection, "SELECT vm || event FROM events"), "web1STOP", "from {from}");
        }
    }

    /// The views divide the names of VMs as the program does.
    #[test]
    fn view_has_the_host_and_the_name_of_a_vm() {
        let connection = earlier();
        let (long, longest) = ("h".repeat(254) + "/a", "h".repeat(253) + "/a");
        let names =
            ["web1", "node1/web1", "n~2/a/b", "a b/c", "/a", "a/", "~/a", "é/a", "a-b._/ü", &long, &longest];
        for name in names {
            connection.execute("UPDATE name SET name = ?1 WHERE id = 5", [name]).expect("is renamed");
            let (host, vm) = qmp_wire::QualifiedName::divide(name);
            let expected = format!("{} {vm}", host.unwrap_or("none"));
            for view in ["events", "records"] {
                let sql = format!("SELECT coalesce(host, 'none') || ' ' || vm FROM {view}");
                assert_eq!(text(&connection, &sql), expected, "{view}");
            }
        }
    }

    #[test]
    fn failed_migration_step_changes_nothing() {
        let mut connection = earlier();
        let schema = "SELECT group_concat(sql) FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
        let before = text(&connection, schema);
        let steps = [
            Migration { to: 2, sql: STEPS[0].sql },
            Migration { to: 3, sql: "UPDATE record SET nowhere = 1" },
        ];
        migrate(&mut connection, 1, &steps).expect_err("the second step fails");
        assert_eq!(identity(&connection), Ok(Identity { application_id: APPLICATION_ID, format: 1 }));
        assert_eq!(text(&connection, schema), before);
    }

    #[test]
    fn journal_gets_its_identity_once() {
        let mut connection = earlier();
        let identity = "SELECT id FROM identity";
        let id = text(&connection, identity);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        migrate(&mut connection, 1, &[]).expect("opens");
        assert_eq!(text(&connection, identity), id);
        assert_ne!(text(&earlier(), identity), id, "another journal has another name");
        connection.execute_batch("DROP TABLE identity").expect("as an earlier program left it");
        migrate(&mut connection, 1, &[]).expect("opens");
        assert_eq!(text(&connection, identity).len(), 32);
    }

    #[test]
    fn views_are_recreated_only_if_they_differ() {
        let mut connection = earlier();
        let version = "SELECT schema_version || '' FROM pragma_schema_version";
        let before = text(&connection, version);
        migrate(&mut connection, 1, &[]).expect("opens");
        assert_eq!(text(&connection, version), before, "nothing was written");
        connection.execute_batch("DROP VIEW events; CREATE VIEW mine AS SELECT 1 AS x").expect("changes");
        migrate(&mut connection, 1, &[]).expect("opens");
        assert_eq!(text(&connection, "SELECT event FROM events"), "STOP");
        assert_eq!(text(&connection, "SELECT '' || x FROM mine"), "1", "another program's view stays");
    }

    /// A migrated journal of format 1 has the tables of a new journal, and keeps its records.
    #[test]
    fn migrated_file_has_the_tables_of_a_new_one() {
        let mut migrated = earlier();
        let records = text(&migrated, "SELECT group_concat(offset || vm || epoch || seq) FROM record");
        migrate(&mut migrated, 1, MIGRATIONS).expect("migrates");
        let mut new = Connection::open_in_memory().expect("opens");
        create(&mut new).expect("makes it");
        migrate(&mut new, FORMAT_VERSION, &[]).expect("makes the views");
        for table in ["record", "name", "epoch", "segment", "posting", "tally", "vm", "lost", "summary"] {
            let columns = format!(
                "SELECT group_concat(name || type || \"notnull\" || pk) FROM pragma_table_info('{table}')"
            );
            assert_eq!(text(&migrated, &columns), text(&new, &columns), "{table}");
        }
        assert_eq!(text(&migrated, "SELECT group_concat(offset || vm || epoch || seq) FROM record"), records);
        assert_eq!(identity(&migrated).map(|found| found.format), Ok(FORMAT_VERSION.into()));
    }

    /// The steps lead from the first format to the current one without a gap.
    #[test]
    fn every_format_has_its_step() {
        let to: Vec<u32> = MIGRATIONS.iter().map(|step| step.to).collect();
        assert_eq!(to, (1..FORMAT_VERSION).map(|before| before + 1).collect::<Vec<_>>());
    }
}

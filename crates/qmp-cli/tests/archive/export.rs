//! What an export writes, what it adds later, and what is left of one that was killed or had no space.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use qmp_testing::wait_for;
use qmp_wire::UnixMicros;

use crate::support::{self, World, directory, qmp, run};
use crate::{BEGIN, DAY, SmallDisk, export, log, parts, read_parquet, text, write_journal};

#[test]
fn parquet_export_adds_what_is_new() {
    let home = directory();
    let folder = home.path().join("archive");
    write_journal(&home.path().join("journal.db"), BEGIN, 900, DAY / 600);
    let first = export(home.path(), &folder, &["--until", "2026-01-03T00:00:00Z"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.stderr, format!("{}: 600 records in 1 file\n", folder.display()));
    assert_eq!(parts(&folder), ["day=2026-01-02/host=node1/part-1-600.parquet"]);
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    let again = export(home.path(), &folder, &[]);
    assert_eq!(again.stderr, format!("{}: nothing new after offset 900\n", folder.display()));
    write_journal(&home.path().join("journal.db"), UnixMicros(BEGIN.0 + DAY + DAY / 2), 10, 1);
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    let parts = parts(&folder);
    assert_eq!(parts.len(), 3, "{parts:?}");
    assert_eq!(read_parquet(&folder), log(home.path()));

    let refused = export(home.path(), &folder, &["--vm", "web*"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("was made with no filter, and this export has --vm web*"), "{refused:?}");
    fs::remove_file(home.path().join("journal.db")).expect("removes");
    write_journal(&home.path().join("journal.db"), BEGIN, 9, 1);
    let refused = export(home.path(), &folder, &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("has records of the journal"), "{refused:?}");
}

#[test]
fn export_through_the_hub_has_the_records_of_its_file() {
    let world = World::start();
    // A reply is released after the events before it are committed.
    assert_eq!(world.run(&["exec", "web1", "stop"]).code, Some(0));
    let folder = world.home.path().join("archive");
    let ran = world.run(&["export", "--parquet", text(&folder)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = world.run(&["export", "--jsonl", "-"]);
    assert_eq!((lines.code, &*lines.stderr), (Some(0), ""), "{lines:?}");
    assert_eq!(lines.stdout, log(world.home.path()));
    assert_eq!(read_parquet(&folder), lines.stdout);
}

#[test]
fn lines_are_those_of_the_log_and_replace_no_file() {
    let home = directory();
    write_journal(&home.path().join("journal.db"), BEGIN, 300, 1_000_000);
    let file = home.path().join("out");
    for (option, log_option) in [("--jsonl", "--json"), ("--csv", "--csv")] {
        let filters = ["--vm", "web*", "--event", "STOP", "--since", "2026-01-02T00:01:00Z"];
        let journal = home.path().join("journal.db");
        let fixed = ["--journal", text(&journal)];
        let logged = run(home.path(), &[&["log", log_option], &filters[..], &fixed].concat());
        let exporting = [&["export", option, text(&file)], &filters[..], &fixed].concat();
        let exported = run(home.path(), &exporting);
        assert_eq!(exported.code, Some(0), "{exported:?}");
        assert_eq!(fs::read_to_string(&file).expect("a file"), logged.stdout);
        let refused = run(home.path(), &exporting);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("out exists\nhint: --force replaces it"), "{refused:?}");
        assert_eq!(run(home.path(), &[&exporting[..], &["--force"]].concat()).code, Some(0));
        let stdout = run(home.path(), &[&["export", option, "-"], &filters[..], &fixed].concat());
        assert_eq!(stdout.stdout, logged.stdout);
        fs::remove_file(&file).expect("removes");
    }
    let left = fs::read_dir(home.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));
}

#[test]
fn killed_export_leaves_only_whole_parts() {
    let home = directory();
    let folder = home.path().join("archive");
    write_journal(&home.path().join("journal.db"), BEGIN, 30_000, DAY / 3_000);
    let journal = home.path().join("journal.db");
    for kills in 0..3 {
        let arguments =
            ["export", "--parquet", text(&folder), "--journal", text(&journal), "--local-host", "node1"];
        let mut child = qmp(home.path(), arguments).stderr(Stdio::null()).spawn().expect("the program runs");
        let is_partial = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".part-");
        wait_for("a part", || {
            let entries = fs::read_dir(&folder).ok()?;
            let is_begun = entries.flatten().any(|entry| is_partial(&entry.file_name()));
            (is_begun || parts(&folder).len() > kills || child.try_wait().expect("runs").is_some())
                .then_some(())
        });
        child.kill().expect("kills");
        child.wait().expect("ends");
        if parts(&folder).is_empty() {
            continue;
        }
        // Each part can be read, and no record is in two.
        let read = read_parquet(&folder);
        let logged = log(home.path());
        assert!(read.lines().all(|line| logged.contains(line)));
    }
    let ran = export(home.path(), &folder, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(read_parquet(&folder), log(home.path()));
}

#[test]
fn export_to_a_full_disk_fails_and_is_continued() {
    let home = directory();
    let Some(disk) = SmallDisk::mount(home.path().join("small"), "64k") else { return };
    let folder = disk.0.join("archive");
    write_journal(&home.path().join("journal.db"), BEGIN, 30_000, DAY / 3_000);
    let full = export(home.path(), &folder, &[]);
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.contains("No space left on device"), "{full:?}");
    let file = disk.0.join("all.jsonl");
    let journal = home.path().join("journal.db");
    let lines = run(home.path(), &["export", "--jsonl", text(&file), "--journal", text(&journal)]);
    assert_eq!(lines.code, Some(1), "{lines:?}");
    assert!(lines.stderr.contains("No space left on device") && !file.exists(), "{lines:?}");
    disk.grow();
    let ran = export(home.path(), &folder, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(read_parquet(&folder), log(home.path()));
}

/// Compares the folder with the journal: the arguments are both paths.
const COMPARE: &str = r#"
import sqlite3, sys
import duckdb, pyarrow.dataset, pyarrow.compute as pc
journal, folder = sys.argv[1:]
sql = sqlite3.connect(journal)
expected = sql.execute("""
    SELECT vm.name, kind.name, coalesce(event.name, ''), count(*), sum(record.offset), sum(record.received), sum(record.seq)
    FROM record JOIN name vm ON vm.id = record.vm JOIN name kind ON kind.id = record.kind
    LEFT JOIN name event ON event.id = record.event GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""").fetchall()
data = sql.execute("""SELECT sum(length(data)), sum(data ->> '$.nospace') FROM record
    JOIN name kind ON kind.id = record.kind WHERE kind.name = 'event'""").fetchone()

duck = duckdb.connect()
duck.execute("SET TimeZone = 'UTC'")
files = folder + "/**/*.parquet"
found = duck.execute("""SELECT vm, kind, coalesce(event, ''), count(*), sum("offset")::BIGINT, sum(epoch_us(received))::BIGINT,
    sum(seq)::BIGINT FROM read_parquet(?) GROUP BY ALL ORDER BY ALL""", [files]).fetchall()
assert found == expected, ("DuckDB", found[:3], expected[:3])
found = duck.execute("""SELECT sum(length(data::VARCHAR)), sum((data ->> '$.nospace' = 'true')::INT) FROM read_parquet(?)
    WHERE kind = 'event'""", [files]).fetchone()
assert tuple(map(int, found)) == data, ("DuckDB", found, data)
types = dict(duck.execute("SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))", [files]).fetchall())
assert types["received"] == types["timestamp"] == "TIMESTAMP WITH TIME ZONE" and types["data"] == "JSON", types
assert duck.execute("SELECT DISTINCT host FROM read_parquet(?)", [files]).fetchall() == [("node1",)]
assert duck.execute("SELECT count(*) FROM read_parquet(?) WHERE day <> received::DATE", [files]).fetchone() == (0,)

table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table()
table = table.set_column(table.schema.get_field_index("event"), "event", pc.fill_null(table["event"], ""))
table = table.append_column("micros", table["received"].cast("int64"))
sums = [("offset", "count"), ("offset", "sum"), ("micros", "sum"), ("seq", "sum")]
rows = table.group_by(["vm", "kind", "event"]).aggregate(sums).to_pylist()
names = ["vm", "kind", "event", "offset_count", "offset_sum", "micros_sum", "seq_sum"]
found = sorted(tuple(row[name] for name in names) for row in rows)
assert found == expected, ("pyarrow", found[:3], expected[:3])
assert set(table["host"].to_pylist()) == {"node1"}, set(table["host"].to_pylist())
print("equal")
"#;

#[test]
fn duckdb_and_pyarrow_read_what_sqlite_has() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/parquet-readers");
    let found = Command::new(&script).output().ok().filter(|output| output.status.success());
    let Some(found) = found else {
        assert!(std::env::var_os("CI").is_none(), "{} failed", script.display());
        eprintln!("skipped: {} failed", script.display());
        return;
    };
    let home = directory();
    let (journal, folder) = (home.path().join("journal.db"), home.path().join("archive"));
    write_journal(&journal, BEGIN, 6_000, DAY / 2_000);
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    write_journal(&journal, UnixMicros(BEGIN.0 + 3 * DAY), 50, 1_000_000);
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    let python = String::from_utf8(found.stdout).expect("a path");
    let ran = Command::new(python.trim()).args(["-c", COMPARE, text(&journal), text(&folder)]).output();
    let ran = support::run_result(ran.expect("Python runs"));
    assert_eq!(ran.stdout, "equal\n", "{}", ran.stderr);
}

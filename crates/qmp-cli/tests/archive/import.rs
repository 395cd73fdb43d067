//! What an import restores, leaves out and refuses.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use qmp_wire::UnixMicros;

use crate::support::{RunResult, World, directory, qmp, run, run_with_input};
use crate::{BEGIN, DAY, SmallDisk, export, log, text, write_journal};

/// An import into the journal `to` of `home`.
fn import(home: &Path, to: &str, files: &[&Path]) -> RunResult {
    let to = home.join(to);
    let mut arguments = vec!["import", "--journal", text(&to)];
    arguments.extend(files.iter().map(|file| text(file)));
    run(home, &arguments)
}

/// The log of a journal without the offsets.
fn lines(home: &Path, journal: &str) -> Vec<String> {
    let journal = home.join(journal);
    let log = run(home, &["log", "--json", "--journal", text(&journal)]);
    assert_eq!(log.code, Some(0), "{log:?}");
    log.stdout.lines().map(|line| line.split_once(',').expect("members").1.to_owned()).collect()
}

fn verify(home: &Path, journal: &str) {
    let journal = home.join(journal);
    let found = run(home, &["journal", "verify", text(&journal)]);
    assert_eq!(found.code, Some(0), "{found:?}");
}

#[test]
fn exported_records_are_imported_as_they_were() {
    let home = directory();
    write_journal(&home.path().join("journal.db"), BEGIN, 2_990, DAY / 1_000);
    let (folder, file) = (home.path().join("archive"), home.path().join("all.jsonl"));
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    fs::write(&file, log(home.path())).expect("writes");
    for (name, from) in [("parquet.db", &folder), ("lines.db", &file)] {
        let imported = import(home.path(), name, &[from]);
        assert_eq!(imported.code, Some(0), "{imported:?}");
        assert!(imported.stderr.ends_with(&format!("{name}: 2990 records imported\n")), "{imported:?}");
        assert_eq!(lines(home.path(), name), lines(home.path(), "journal.db"), "{name}");
        verify(home.path(), name);
    }
    // What the journal has is left out, and what follows continues its epochs.
    write_journal(&home.path().join("journal.db"), UnixMicros(BEGIN.0 + 4 * DAY), 30, 1);
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    let again = import(home.path(), "parquet.db", &[&folder]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("2990 were there already"), "{again:?}");
    assert_eq!(lines(home.path(), "parquet.db"), lines(home.path(), "journal.db"));
    verify(home.path(), "parquet.db");
}

#[test]
fn records_of_several_hosts_are_kept_apart() {
    let home = directory();
    write_journal(&home.path().join("journal.db"), BEGIN, 300, DAY / 100);
    let folder = home.path().join("archive");
    // A share of the records: the VMs of other hosts may have holes.
    assert_eq!(export(home.path(), &folder, &["--vm", "web*", "--event", "STOP"]).code, Some(0));
    let all = home.path().join("all.db");
    for host in ["node1", "node2"] {
        let imported =
            run(home.path(), &["import", text(&folder), "--as-host", host, "--journal", text(&all)]);
        assert_eq!(imported.code, Some(0), "{imported:?}");
    }
    let lines = lines(home.path(), "all.db");
    let of_host = |host: &str| {
        let mark = format!("\"host\":\"{host}\",");
        lines
            .iter()
            .filter(|line| line.contains(&mark))
            .map(|line| line.replace(&mark, ""))
            .collect::<Vec<_>>()
    };
    assert!(!lines.is_empty() && of_host("node1").len() * 2 == lines.len(), "{lines:?}");
    assert_eq!(of_host("node1"), of_host("node2"));
    verify(home.path(), "all.db");
    // The way back: the host is that of the record.
    let second = home.path().join("second");
    let exported = run(home.path(), &["export", "--parquet", text(&second), "--journal", text(&all)]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let hosts: Vec<_> =
        crate::parts(&second).iter().map(|part| part.split('/').nth(1).unwrap().to_owned()).collect();
    assert!(
        hosts.contains(&"host=node1".to_owned()) && hosts.contains(&"host=node2".to_owned()),
        "{hosts:?}"
    );
    assert_eq!(import(home.path(), "copy.db", &[&second]).code, Some(0));
    assert_eq!(crate::import::lines(home.path(), "copy.db"), lines);
}

#[test]
fn other_records_with_the_same_identity_are_refused() {
    let home = directory();
    write_journal(&home.path().join("journal.db"), BEGIN, 60, 1_000_000);
    let (whole, changed) = (home.path().join("whole.jsonl"), home.path().join("changed.jsonl"));
    let text = log(home.path());
    fs::write(&whole, &text).expect("writes");
    fs::write(&changed, text.replace("\"STOP\"", "\"STOPPED\"")).expect("writes");
    assert_eq!(import(home.path(), "copy.db", &[&whole]).code, Some(0));
    let refused = import(home.path(), "copy.db", &[&changed]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let expected = format!("{} have an identity that", text.matches("\"STOP\"").count());
    assert!(
        refused.stderr.starts_with("qmp: nothing was imported") && refused.stderr.contains(&expected),
        "{refused:?}"
    );
    // Records of the journal's own host are imported whole.
    let hole = home.path().join("hole.jsonl");
    fs::write(
        &hole,
        text.lines()
            .filter(|line| !line.contains("\"seq\":3,"))
            .fold(String::new(), |all, line| all + line + "\n"),
    )
    .expect("writes");
    let refused = import(home.path(), "hole.db", &[&hole]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("records before it are missing") && refused.stderr.contains("--as-host"),
        "{refused:?}"
    );
}

#[test]
fn journal_of_a_hub_is_refused_and_stdin_is_read() {
    let world = World::start();
    let lines = world.run(&["log", "--json"]).stdout;
    let journal = world.home.path().join("journal.db");
    let held = run_with_input(world.home.path(), &["import", "-", "--journal", text(&journal)], &lines);
    assert_eq!(held.code, Some(1), "{held:?}");
    assert!(held.stderr.contains("is being written by another hub"), "{held:?}");
    let copy = world.home.path().join("copy.db");
    let imported = run_with_input(world.home.path(), &["import", "-", "--journal", text(&copy)], &lines);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert_eq!(world.run(&["log", "--json", "--journal", text(&copy)]).stdout, lines);
}

#[test]
fn hostile_files_are_refused_with_their_place() {
    let home = directory();
    write_journal(&home.path().join("journal.db"), BEGIN, 60, 1_000_000);
    let folder = home.path().join("archive");
    assert_eq!(export(home.path(), &folder, &[]).code, Some(0));
    let part = fs::read(folder.join(&crate::parts(&folder)[0])).expect("reads");
    let file = home.path().join("file");
    let cases: [(&str, Vec<u8>, i32, &str); 5] = [
        ("truncated", part[..part.len() - 20].to_vec(), 2, "not a Parquet file that can be read"),
        ("without an end", part[..part.len() / 2].to_vec(), 2, "not a Parquet file that can be read"),
        (
            "a line that is no record",
            b"{\"a\": 1}\n".to_vec(),
            1,
            "file: line 1: not a record: missing field",
        ),
        ("CSV", b"offset,vm\n".to_vec(), 2, "but CSV"),
        ("a journal", fs::read(home.path().join("journal.db")).expect("reads"), 2, "but a journal"),
    ];
    for (name, bytes, code, expected) in cases {
        fs::write(&file, bytes).expect("writes");
        let refused = import(home.path(), "new.db", &[&file]);
        assert_eq!(refused.code, Some(code), "{name}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{name}: {refused:?}");
    }
}

#[test]
fn line_of_100_megabytes_is_refused() {
    let home = directory();
    let journal = home.path().join("new.db");
    let mut child = qmp(home.path(), ["import", "-", "--journal", text(&journal)])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    let piece = vec![b'a'; 1 << 20];
    input.write_all(b"{\"vm\":\"").expect("writes");
    // The program closes the pipe once the line is too long.
    let is_closed = (0..100).any(|_| input.write_all(&piece).is_err());
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(is_closed && output.status.code() == Some(1), "{stderr}");
    assert!(stderr.contains("-: line 1 has more than 68157440 bytes"), "{stderr}");
}

#[test]
fn import_to_a_full_disk_fails_and_is_continued() {
    let home = directory();
    let Some(disk) = SmallDisk::mount(home.path().join("small"), "2m") else { return };
    write_journal(&home.path().join("journal.db"), BEGIN, 30_000, 1_000_000);
    let file = home.path().join("all.jsonl");
    fs::write(&file, log(home.path())).expect("writes");
    let full = import(&disk.0, "copy.db", &[&file]);
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.contains("full"), "{full:?}");
    disk.grow();
    let continued = import(&disk.0, "copy.db", &[&file]);
    assert_eq!(continued.code, Some(0), "{continued:?}");
    assert_eq!(lines(&disk.0, "copy.db"), lines(home.path(), "journal.db"));
}

//! Exports into one folder: one after another, killed ones, and refused ones.

use super::*;
use crate::find::{Archived, find};
use crate::merge::OffsetMerge;
use crate::samples::event;

fn open(path: &Path) -> ParquetFolder {
    ParquetFolder::open(path, "j", "here", "no filter").unwrap()
}

/// Exports the records after the position, up to the last.
fn export(path: &Path, records: &[Record<'static>]) -> FolderSummary {
    let mut folder = open(path);
    let position = folder.position();
    for record in records.iter().filter(|record| record.offset > Some(position)) {
        folder.push(record.clone()).unwrap();
    }
    folder.finish(records.last().and_then(|record| record.offset).unwrap_or_default()).unwrap()
}

/// The parts in the folder.
fn parts(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for day in entries(path).unwrap() {
        for host in entries(&day).unwrap() {
            found.extend(entries(&host).unwrap());
        }
    }
    found.iter().map(|part| part.strip_prefix(path).unwrap().display().to_string()).collect()
}

fn read(path: &Path) -> Vec<Record<'static>> {
    let mut records = Vec::new();
    for found in find(path).unwrap() {
        let Archived::Parts(parts) = found else { panic!("a file of lines") };
        let mut merge = OffsetMerge::new(parts);
        while let Some(record) = merge.next_record().unwrap() {
            records.push(record);
        }
    }
    records
}

fn records() -> Vec<Record<'static>> {
    let vms = ["web2", "web1", "node1/web1", "node1/db"];
    (1..=40)
        .zip(vms.iter().cycle().skip(1))
        .map(|(offset, vm)| event(offset, vm, offset as i64 / 15))
        .collect()
}

#[test]
fn second_export_adds_what_is_new() {
    let home = tempfile::tempdir().unwrap();
    let records = records();
    export(home.path(), &records[..20]);
    let first = parts(home.path());
    assert_eq!(
        first,
        [
            "day=1970-01-01/host=here/part-1-13.parquet",
            "day=1970-01-01/host=node1/part-2-14.parquet",
            "day=1970-01-02/host=here/part-16-20.parquet",
            "day=1970-01-02/host=node1/part-15-19.parquet",
        ]
    );
    assert_eq!(export(home.path(), &records[..20]), FolderSummary::default());
    assert_eq!(export(home.path(), &records).records, 20);
    let all = parts(home.path());
    assert!(first.iter().all(|part| all.contains(part)), "{all:?}");
    assert_eq!(read(home.path()), records);
}

#[test]
fn parts_of_killed_export_are_not_written_again() {
    let records = records();
    let whole = tempfile::tempdir().unwrap();
    export(whole.path(), &records[..30]);
    // Each set of parts that may have been there when the export was killed.
    let all = parts(whole.path());
    for set in 0..1_u32 << all.len() {
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path()));
        for (index, part) in all.iter().enumerate().filter(|(index, _)| set & 1 << index != 0) {
            let to = home.path().join(part);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(whole.path().join(part), to).unwrap();
            fs::write(home.path().join(format!(".part-{index}-9.partial")), "half").unwrap();
        }
        export(home.path(), &records);
        assert_eq!(read(home.path()), records, "{set:b}");
        assert!(
            entries(home.path())
                .unwrap()
                .iter()
                .all(|path| path.extension().is_none_or(|end| end != "partial"))
        );
    }
}

#[test]
fn folder_of_others_is_refused() {
    let home = tempfile::tempdir().unwrap();
    export(home.path(), &records());
    let refused = |journal, selection| {
        let refused = ParquetFolder::open(home.path(), journal, "here", selection);
        let text = refused.unwrap_err().to_string();
        text.replace(&home.path().display().to_string(), "DIR")
    };
    assert_eq!(refused("k", "no filter"), "DIR: has records of the journal j, and this is the journal k");
    assert_eq!(refused("j", "--vm a"), "DIR: was made with no filter, and this export has --vm a");
    let held = open(home.path());
    assert_eq!(refused("j", "no filter"), "DIR: another export writes this folder");
    drop(held);
    fs::write(home.path().join("_qmp-export.json"), "{").unwrap();
    assert!(refused("j", "no filter").starts_with("DIR: _qmp-export.json is damaged: EOF"));
    fs::remove_file(home.path().join("_qmp-export.json")).unwrap();
    fs::remove_file(home.path().join(LOCK)).unwrap();
    assert_eq!(refused("j", "no filter"), "DIR: not empty, and not made by an export");
}

#[test]
fn part_of_other_journal_after_the_position_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export(ours.path(), &records()[..10]);
    let mut folder = ParquetFolder::open(theirs.path(), "k", "here", "no filter").unwrap();
    folder.push(event(30, "web1", 9)).unwrap();
    folder.finish(Offset(30)).unwrap();
    fs::rename(theirs.path().join("day=1970-01-10"), ours.path().join("day=1970-01-10")).unwrap();
    let refused = ParquetFolder::open(ours.path(), "j", "here", "no filter");
    assert!(matches!(refused, Err(FolderError::OtherJournal { .. })), "{refused:?}");
}

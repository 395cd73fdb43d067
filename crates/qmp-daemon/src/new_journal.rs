//! The files of a journal that a start creates: they are removed if the start fails.

use std::fs;
use std::path::{Path, PathBuf};

/// The endings of the names of a journal's files.
const SUFFIXES: [&str; 5] = ["", "-wal", "-shm", ".lock", ".sinks"];

/// The files of a journal that did not exist before.
#[derive(Debug)]
pub(crate) struct NewJournal(Vec<PathBuf>);

impl NewJournal {
    /// Call it before the journal is opened.
    pub(crate) fn of(journal: &Path) -> Self {
        if fs::symlink_metadata(journal).is_ok() {
            return Self(Vec::new());
        }
        let beside = |suffix| {
            let mut path = journal.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        let files = SUFFIXES.map(beside).into_iter();
        Self(files.filter(|file| fs::symlink_metadata(file).is_err()).collect())
    }

    /// Removes the files. Call it only if this process opened the journal, which no other hub can have opened since.
    pub(crate) fn remove(self) {
        for file in self.0 {
            // A file that is left does no harm.
            let _ = fs::remove_file(file);
        }
    }
}

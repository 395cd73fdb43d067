//! Finds the files of records in paths that a user named.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::part::Part;
use super::part_error::PartError;

/// The endings of files of records in a folder.
const ENDINGS: [&str; 4] = ["parquet", "jsonl", "ndjson", "json"];

/// Bytes that tell a file's kind.
const MAGIC_BYTES: u64 = 16;

/// Files of records.
#[derive(Debug)]
pub enum Archived {
    /// A file of JSON Lines.
    Lines(PathBuf),
    /// Parquet files of one journal, or of none that they name.
    Parts(Vec<Part>),
}

/// Errors of finding files of records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The path cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A Parquet file cannot be read.
    #[error("{}: {source}", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// The error.
        source: PartError,
    },
    /// The file has another content.
    #[error("{}: neither JSON Lines nor Parquet, but {what}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
    },
    /// The folder has no file of records.
    #[error("{}: no file *.parquet or *.jsonl", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
}

/// Returns the files of records at `path`: the file, or those in the folder and the folders in it.
///
/// # Errors
///
/// Any [`FindError`].
pub fn find(path: &Path) -> Result<Vec<Archived>, FindError> {
    let mut files = Vec::new();
    if path.is_dir() {
        add_files(path, &mut files)?;
        if files.is_empty() {
            return Err(FindError::Nothing { path: path.to_owned() });
        }
    } else {
        files.push(path.to_owned());
    }
    let mut found = Vec::new();
    let mut parts: BTreeMap<Option<Box<str>>, Vec<Part>> = BTreeMap::new();
    for file in files {
        if is_parquet(&file)? {
            let part = Part::open(&file).map_err(|source| FindError::Part { path: file, source })?;
            parts.entry(part.journal().map(Into::into)).or_default().push(part);
        } else {
            found.push(Archived::Lines(file));
        }
    }
    found.extend(parts.into_values().map(Archived::Parts));
    Ok(found)
}

/// Adds the files of a folder, in the order of their names. Names that begin with a dot or an underscore are about the folder.
fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), FindError> {
    let io = |source| FindError::Io { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(io)?.collect::<io::Result<Vec<_>>>().map_err(io)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            add_files(&path, files)?;
        } else if ENDINGS.contains(&ending.as_ref()) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether the file is Parquet and not lines, by its first bytes.
fn is_parquet(path: &Path) -> Result<bool, FindError> {
    let mut magic = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC_BYTES).read_to_end(&mut magic));
    read.map_err(|source| FindError::Io { path: path.to_owned(), source })?;
    let other = |what| Err(FindError::Other { path: path.to_owned(), what });
    match magic.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Ok(true),
        [0x1f, 0x8b, ..] => other("gzip; import from its output: zcat FILE | qmp import -"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("zstd; import from its output: zstdcat FILE | qmp import -"),
        magic if magic.starts_with(b"SQLite format 3\0") => {
            other("a journal; import from its output: qmp log --journal FILE --json | qmp import -")
        }
        magic if magic.starts_with(b"offset,") => {
            other("CSV, which has not all members of a record; export JSON Lines or Parquet")
        }
        magic => match magic.trim_ascii_start().first() {
            None | Some(b'{') => Ok(false),
            Some(_) => other("something else"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_told_by_its_content_or_refused() {
        let home = tempfile::tempdir().unwrap();
        let cases: [(&[u8], &str); 8] = [
            (b"\n {\"vm\":", "lines"),
            (b"", "lines"),
            (b"PAR1", "not a Parquet file that can be read"),
            (b"\x1f\x8b\x08", "but gzip"),
            (b"\x28\xb5\x2f\xfd", "but zstd"),
            (b"SQLite format 3\0", "but a journal"),
            (b"offset,vm,epoch", "but CSV"),
            (b"\x7fELF", "but something else"),
        ];
        for (content, expected) in cases {
            let path = home.path().join("file");
            fs::write(&path, content).unwrap();
            let found = match find(&path) {
                Ok(found) => {
                    (if matches!(found[..], [Archived::Lines(_)]) { "lines" } else { "parts" }).to_owned()
                }
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{content:?}: {found}");
        }
    }

    #[test]
    fn folder_has_files_by_their_endings() {
        let home = tempfile::tempdir().unwrap();
        let empty = find(home.path()).unwrap_err();
        assert!(matches!(empty, FindError::Nothing { .. }), "{empty}");
        for name in ["b.jsonl", "a/c.json", "_qmp-export.json", ".x.jsonl", "notes.txt"] {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{").unwrap();
        }
        let found = find(home.path()).unwrap();
        let names = found.iter().map(|found| match found {
            Archived::Lines(path) => path.strip_prefix(home.path()).unwrap().display().to_string(),
            Archived::Parts(_) => "parts".to_owned(),
        });
        assert_eq!(names.collect::<Vec<_>>(), ["a/c.json", "b.jsonl"]);
    }
}

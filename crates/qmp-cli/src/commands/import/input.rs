//! The records of files, one after another.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use qmp_archive::{Archived, FindError, JsonLines, MergeError, OffsetMerge, find};
use qmp_wire::Record;

use crate::exit::Failure;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The name of the standard input.
const STDIN: &str = "-";

/// Records of files that a user named, in the order of the files; those of Parquet files of one journal by their offsets.
pub(super) struct Input {
    files: VecDeque<Archived>,
    /// The number of records in Parquet files, as the files say; `None` if there are lines, too.
    all: Option<u64>,
    open: Option<Open>,
}

enum Open {
    Lines(String, JsonLines<Box<dyn BufRead>>),
    Parts(OffsetMerge),
}

impl Input {
    /// Finds the files.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = VecDeque::new();
        for path in paths {
            match path.as_os_str() == STDIN {
                true => files.push_back(Archived::Lines(path.clone())),
                false => files.extend(find(path)?),
            }
        }
        let rows = |found: &Archived| match found {
            Archived::Parts(parts) => Some(parts.iter().map(qmp_archive::Part::rows).sum::<u64>()),
            Archived::Lines(_) => None,
        };
        let all = files.iter().map(rows).sum();
        Ok(Self { files, all, open: None })
    }

    /// The number of records, if the files say it.
    pub(super) fn all(&self) -> Option<u64> {
        self.all
    }

    /// Whether the records can be read only once.
    pub(super) fn has_stdin(&self) -> bool {
        self.files.iter().any(|file| matches!(file, Archived::Lines(path) if path.as_os_str() == STDIN))
    }

    /// The next record; `None` after the last.
    pub(super) fn next_record(&mut self) -> Result<Option<Record<'static>>, Failure> {
        loop {
            let record = match &mut self.open {
                Some(Open::Lines(name, lines)) => {
                    lines.next_record().map_err(|error| Failure::failed(format_args!("{name}: {error}")))?
                }
                Some(Open::Parts(merge)) => merge.next_record()?,
                None => None,
            };
            if record.is_some() {
                return Ok(record);
            }
            let Some(next) = self.files.pop_front() else { return Ok(None) };
            self.open = Some(match next {
                Archived::Parts(parts) => Open::Parts(OffsetMerge::new(parts)),
                Archived::Lines(path) => {
                    let lines = lines(&path).map_err(|error| {
                        Failure::failed(format_args!("cannot read {}: {error}", path.display()))
                    })?;
                    Open::Lines(path.display().to_string(), JsonLines::new(lines))
                }
            });
        }
    }
}

fn lines(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path.as_os_str() == STDIN {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)))
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match &error {
            FindError::Io { .. } => Self::failed(error),
            _ => Self::usage(error),
        }
    }
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Self {
        Self::failed(error)
    }
}

//! A folder of Parquet files that one export after another adds to.
//!
//! The records are collected in windows of bounded memory. Of each window, the records of a day and a host are one part. After the
//! parts of a window, the manifest has the offset up to which all selected records are in parts.
//!
//! An export that is killed within a window leaves parts after that offset. Each has all records of its day and host from the begin of
//! the window to its last offset, so the next export leaves those out and writes the others.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use qmp_wire::{Offset, QualifiedName, Record};
use rustix::fs::{FlockOperation, flock};

use super::cell::Origin;
use super::day::day;
use super::manifest::Manifest;
use super::memory::text_bytes;
use super::part::Part;
use super::part_error::PartError;
use super::part_name::{PartName, escaped, offsets};
use super::part_writer::write_part;
use super::whole_file::{WholeFile, sync_folder};

/// Memory of a window, in bytes. Some 300,000 records: two row groups and more where the records are of one day and host.
const WINDOW_MAX_BYTES: usize = 128 << 20;

/// Memory of a record beside its texts, in bytes: itself, and what the allocator adds for each text.
const RECORD_BYTES: usize = size_of::<Record<'static>>() + 96;

/// The lock of the folder: one export at a time.
const LOCK: &str = ".qmp-export.lock";

/// The names of parts until they are whole.
const PARTIAL: (&str, &str) = (".part-", ".partial");

/// Errors of a folder of parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder or a file of it cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// Another export writes the folder.
    #[error("{}: another export writes this folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has files and was not made by an export.
    #[error("{}: not empty, and not made by an export", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The file about the folder cannot be used.
    #[error("{}: {what}", path.display())]
    Manifest {
        /// The folder.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The folder has the records of another journal.
    #[error("{}: has records of the journal {theirs}, and this is the journal {ours}", path.display())]
    OtherJournal {
        /// The folder or the part.
        path: PathBuf,
        /// The journal of the folder.
        theirs: Box<str>,
        /// The journal that is exported.
        ours: Box<str>,
    },
    /// The folder was made with other filters.
    #[error("{}: was made with {theirs}, and this export has {ours}", path.display())]
    OtherSelection {
        /// The folder.
        path: PathBuf,
        /// The filters of the folder.
        theirs: Box<str>,
        /// The filters of this export.
        ours: Box<str>,
    },
    /// A part cannot be read or written.
    #[error("{}: {source}", path.display())]
    Part {
        /// The part.
        path: PathBuf,
        /// The error.
        source: PartError,
    },
}

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderSummary {
    /// The number of records that were written.
    pub records: u64,
    /// The number of parts.
    pub parts: u64,
}

/// A folder that this process adds to.
#[derive(Debug)]
pub struct ParquetFolder {
    path: PathBuf,
    /// The host of records without a host.
    local_host: Box<str>,
    manifest: Manifest,
    /// The last offsets of parts that a killed export left.
    left: HashMap<Group, Offset>,
    window: BTreeMap<Group, Vec<Record<'static>>>,
    window_bytes: usize,
    last: Offset,
    summary: FolderSummary,
    /// Unlocked when it is closed.
    _lock: File,
}

/// The records of a part: a day and a host, as their folders are named. No host is that of the journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Group {
    day: String,
    host: Option<String>,
}

impl ParquetFolder {
    /// Opens a folder for the records of `journal` that `selection` names, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// Any [`FolderError`].
    pub fn open(path: &Path, journal: &str, local_host: &str, selection: &str) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        let is_empty = fs::read_dir(path).map_err(io)?.next().is_none();
        let stored = Manifest::read(path).map_err(io)?;
        if stored.is_none() && !is_empty && !path.join(LOCK).exists() {
            return Err(FolderError::NotEmpty { path: path.to_owned() });
        }
        let lock = lock(path)?;
        let manifest = match Manifest::read(path).map_err(io)? {
            Some(Ok(manifest)) => manifest,
            Some(Err(what)) => return Err(FolderError::Manifest { path: path.to_owned(), what }),
            // Parts without a manifest would be of an unknown journal: it is there before the first of them.
            None => {
                let manifest = Manifest::new(journal, selection);
                manifest.write(path).map_err(io)?;
                manifest
            }
        };
        if *manifest.journal != *journal {
            let (theirs, ours) = (manifest.journal, journal.into());
            return Err(FolderError::OtherJournal { path: path.to_owned(), theirs, ours });
        }
        if *manifest.selection != *selection {
            let (theirs, ours) = (manifest.selection, selection.into());
            return Err(FolderError::OtherSelection { path: path.to_owned(), theirs, ours });
        }
        let mut folder = Self {
            path: path.to_owned(),
            local_host: local_host.into(),
            last: Offset(manifest.upto),
            manifest,
            left: HashMap::new(),
            window: BTreeMap::new(),
            window_bytes: 0,
            summary: FolderSummary::default(),
            _lock: lock,
        };
        folder.find_left()?;
        Ok(folder)
    }

    /// The offset up to which all selected records are in the folder.
    #[must_use]
    pub fn position(&self) -> Offset {
        Offset(self.manifest.upto)
    }

    /// Adds the next record of the journal, and writes the window if it is full.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`] and [`FolderError::Part`].
    pub fn push(&mut self, record: Record<'static>) -> Result<(), FolderError> {
        let group =
            Group { day: day(record.received), host: QualifiedName::divide(&record.vm).0.map(escaped) };
        let offset = record.offset.unwrap_or_default();
        if self.left.get(&group).is_none_or(|last| offset > *last) {
            self.window_bytes += RECORD_BYTES + text_bytes(&record);
            self.window.entry(group).or_default().push(record);
        }
        self.last = self.last.max(offset);
        if self.window_bytes >= WINDOW_MAX_BYTES { self.write_window(self.last) } else { Ok(()) }
    }

    /// Writes the rest. All selected records up to `upto` were added.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`] and [`FolderError::Part`].
    pub fn finish(mut self, upto: Offset) -> Result<FolderSummary, FolderError> {
        self.write_window(upto.max(self.last))?;
        Ok(self.summary)
    }

    fn write_window(&mut self, upto: Offset) -> Result<(), FolderError> {
        self.window_bytes = 0;
        for (group, mut records) in std::mem::take(&mut self.window) {
            self.summary.records += records.len() as u64;
            self.summary.parts += 1;
            self.write(group, &mut records)?;
        }
        if upto.0 > self.manifest.upto {
            self.manifest.upto = upto.0;
            self.manifest.write(&self.path).map_err(|source| self.io(&self.path, source))?;
        }
        Ok(())
    }

    /// Writes one part: beside, to the disk, and then under its name.
    fn write(&self, group: Group, records: &mut [Record<'static>]) -> Result<(), FolderError> {
        let offsets = || records.iter().filter_map(|record| record.offset);
        let (first, last) = (offsets().min().unwrap_or_default(), offsets().max().unwrap_or_default());
        let is_local = group.host.is_none();
        let of_record = records.first().and_then(|record| QualifiedName::divide(&record.vm).0).map(Box::from);
        let host = of_record.filter(|_| !is_local).unwrap_or_else(|| self.local_host.clone());
        let origin = Origin { journal: self.manifest.journal.clone(), host: host.clone(), is_local };
        let name = PartName { day: group.day, host, first, last };
        let path = self.path.join(name.path());
        let folder = path.parent().unwrap_or(&self.path);
        create_folders(&self.path, folder).map_err(|source| self.io(folder, source))?;
        let (begin, end) = PARTIAL;
        let beside = self.path.join(format!("{begin}{}-{}{end}", first.0, last.0));
        let file = WholeFile::create(beside).map_err(|source| self.io(&path, source))?;
        let part_error = |source| FolderError::Part { path: path.clone(), source };
        let file = write_part(file, &origin, records).map_err(part_error)?;
        file.replace(&path).map_err(|source| self.io(&path, source))
    }

    /// Removes files that are not whole, and finds the parts after the position.
    fn find_left(&mut self) -> Result<(), FolderError> {
        for entry in entries(&self.path)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(PARTIAL.0) && name.ends_with(PARTIAL.1) {
                fs::remove_file(&entry).map_err(|source| self.io(&entry, source))?;
            }
            let Some(day) = name.strip_prefix("day=") else { continue };
            for folder in entries(&entry)? {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let Some(host) = name.strip_prefix("host=") else { continue };
                for path in entries(&folder)? {
                    if let Some((_, last)) = offsets(&path).filter(|(_, last)| *last > self.position()) {
                        self.add_left(&path, (day, host), last)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_left(&mut self, path: &Path, (day, host): (&str, &str), last: Offset) -> Result<(), FolderError> {
        let part = Part::open(path);
        let part = part.map_err(|source| FolderError::Part { path: path.to_owned(), source })?;
        let ours = &self.manifest.journal;
        match part.journal() {
            Some(journal) if *journal == **ours => {}
            theirs => {
                let (theirs, ours) = (theirs.unwrap_or("unknown").into(), ours.clone());
                return Err(FolderError::OtherJournal { path: path.to_owned(), theirs, ours });
            }
        }
        let host = (!part.is_local()).then(|| host.to_owned());
        let left = self.left.entry(Group { day: day.to_owned(), host }).or_default();
        *left = last.max(*left);
        Ok(())
    }

    fn io(&self, path: &Path, source: io::Error) -> FolderError {
        FolderError::Io { path: path.to_owned(), source }
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let io = |source| FolderError::Io { path: path.to_owned(), source };
    let file = File::options().read(true).append(true).create(true).open(path.join(LOCK)).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse { path: path.to_owned() }),
        Err(error) => Err(io(error.into())),
    }
}

/// Creates the folders of a part in `root`, on the disk.
fn create_folders(root: &Path, folder: &Path) -> io::Result<()> {
    let mut missing: Vec<&Path> =
        folder.ancestors().take_while(|path| *path != root && !path.exists()).collect();
    while let Some(path) = missing.pop() {
        fs::create_dir(path)?;
        sync_folder(path)?;
    }
    Ok(())
}

/// The paths in a folder, in order; none if it is not a folder.
fn entries(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let read =
        || fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    match read() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(source) => Err(FolderError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;

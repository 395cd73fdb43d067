//! A file that has its name only once it is whole and on the disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// A file that is written beside its place and renamed at the end. Removed if it is dropped before.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    beside: PathBuf,
    is_placed: bool,
}

impl WholeFile {
    /// Creates the file `beside`, in the file system of its later place. A file that is there is replaced.
    ///
    /// # Errors
    ///
    /// Those of creating a file.
    pub fn create(beside: PathBuf) -> io::Result<Self> {
        // A file that a killed process left may be open elsewhere or be a link: it is not written.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).open(&beside)?;
        Ok(Self { file, beside, is_placed: false })
    }

    /// Writes the file to the disk, without its name.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Writes the file to the disk and gives it its name, in place of a file with that name.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.sync()?;
        self.place(path, |beside, path| fs::rename(beside, path))
    }

    /// As [`replace`](Self::replace), if no file has the name.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`], and those of the disk.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        self.sync()?;
        self.place(path, |beside, path| {
            match rustix::fs::renameat_with(CWD, beside, CWD, path, RenameFlags::NOREPLACE) {
                // The file system cannot rename without replacing.
                Err(Errno::INVAL | Errno::NOSYS) if !path.exists() => fs::rename(beside, path),
                Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
                renamed => Ok(renamed?),
            }
        })
    }

    fn place(mut self, path: &Path, name: fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
        name(&self.beside, path)?;
        self.is_placed = true;
        sync_folder(path)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Writes the names of the folder of `path` to the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

//! Opening the file: its kind, its writer's locks, and connections to it.
//!
//! A journal is created under another name and renamed into place complete, so that a file at its path always is a
//! journal: a file that is empty, of another kind or of another application is never touched. One hub at a time writes:
//! see [`super::lock`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::beside::{FILE_MODE, beside};
use super::error::{JournalError, io_error};
use super::limits::BUSY_TIMEOUT;
use super::lock::{self, WriterLock};
use super::schema::{self, APPLICATION_ID, FORMAT_VERSION, MIGRATIONS};

/// Permissions of a directory that is created for the journal.
const DIRECTORY_MODE: u32 = 0o750;

/// Bytes in a page of the file. The module documentation of the journal has the measurements.
const PAGE_BYTES: u32 = 8192;
/// Pages in the write-ahead log before they are copied into the file.
const WAL_CHECKPOINT_PAGES: u32 = 2000;

/// Characters to encode in the path of a URI.
const NOT_IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

/// Opens `path` for writing; creates the file if it is missing.
///
/// # Errors
///
/// Any [`JournalError`] but those of records; then nothing was changed.
pub(super) fn open_writer(path: &Path) -> Result<(Connection, WriterLock), JournalError> {
    let exists = exists(path)?;
    if exists {
        lock::refuse_hard_links(path)?;
        // Before the lock: no lock file may appear beside a file that is no journal.
        examine(path)?;
    } else {
        make_directory(path)?;
    }
    let mut writer_lock = WriterLock::acquire(path)?;
    if !exists && !self::exists(path)? {
        create(path)?;
    }
    writer_lock.acquire_journal(path)?;
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let identity = schema::identity(&connection).map_err(|error| storage(path, "read", error))?;
    let format = known_format(path, identity)?;
    if connection.is_readonly("main").map_err(|error| storage(path, "open", error))? {
        return Err(JournalError::ReadOnly { path: path.into() });
    }
    prepare_writer(&connection).map_err(|error| writable_or(path, "open", error))?;
    schema::migrate(&mut connection, format, MIGRATIONS).map_err(|error| writable_or(path, "open", error))?;
    Ok((connection, writer_lock))
}

/// Opens `path` for reading. Works beside a hub that writes it, without one, and where nothing may be written; in the
/// last case the connection treats the file as immutable, and the second value is `true`.
///
/// # Errors
///
/// Any [`JournalError`] but those of writing and of records.
pub(super) fn open_reader(path: &Path) -> Result<(Connection, bool), JournalError> {
    if !exists(path)? {
        return Err(JournalError::Missing { path: path.into() });
    }
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (connection, identity, immutable) = match schema::identity(&connection) {
        Ok(identity) => (connection, identity, false),
        Err(error) if cannot_share(&error) && !has_content(&wal_path(path)) => {
            let connection = open_immutable(path)?;
            let identity = schema::identity(&connection).map_err(|error| storage(path, "read", error))?;
            (connection, identity, true)
        }
        Err(error) => return Err(unreadable(path, error)),
    };
    let format = known_format(path, identity)?;
    if format < FORMAT_VERSION {
        let found = identity.format;
        return Err(JournalError::OlderFormat { path: path.into(), found, known: FORMAT_VERSION });
    }
    Ok((connection, immutable))
}

/// The write-ahead log that belongs to `path`.
fn wal_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

/// Whether the file exists; an error if its metadata already show that it is no journal.
fn exists(path: &Path) -> Result<bool, JournalError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(JournalError::Directory { path: path.into() }),
        Ok(found) if !found.is_file() => Err(JournalError::NotSqlite { path: path.into() }),
        Ok(found) if found.len() == 0 => Err(JournalError::Empty { path: path.into() }),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(path, "look at", error)),
    }
}

/// Refuses a file that is no journal of a known format, without writing anything.
fn examine(path: &Path) -> Result<(), JournalError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match schema::identity(&connection) {
        Ok(identity) => known_format(path, identity).map(drop),
        // A reader cannot recover the log that a killed hub left; the writer can, or reports the error itself.
        Err(error) if cannot_share(&error) => Ok(()),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn known_format(path: &Path, identity: schema::Identity) -> Result<u32, JournalError> {
    let path = path.to_owned();
    if identity.application_id != APPLICATION_ID {
        return Err(JournalError::OtherApplication { path, application_id: identity.application_id });
    }
    match u32::try_from(identity.format) {
        Ok(format) if (1..=FORMAT_VERSION).contains(&format) => Ok(format),
        _ if identity.format < 1 => Err(JournalError::NoFormat { path, found: identity.format }),
        _ => Err(JournalError::NewerFormat { path, found: identity.format, known: FORMAT_VERSION }),
    }
}

fn make_directory(path: &Path) -> Result<(), JournalError> {
    let wal = wal_path(path);
    if has_content(&wal) {
        return Err(JournalError::StrayWal { path: path.into(), wal });
    }
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .map_err(|error| io_error(directory, "make the directory", error))
}

/// Creates a journal under another name and renames it to `path`. The lock excludes other hubs.
fn create(path: &Path) -> Result<(), JournalError> {
    let draft = beside(path, ".new");
    // Files of a hub that was killed while it created a journal.
    for ending in ["", "-journal", "-wal", "-shm"] {
        let left = beside(&draft, ending);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&left, "remove", error));
            }
            _ => {}
        }
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&draft)
        .map_err(|error| io_error(&draft, "make", error))?;
    let made = (|| {
        let mut connection = Connection::open_with_flags(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        prepare_writer(&connection)?;
        schema::create(&mut connection)?;
        connection.close().map_err(|(_, error)| error)
    })();
    made.map_err(|error| storage(&draft, "make", error))?;
    fs::rename(&draft, path).map_err(|error| io_error(path, "make", error))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| io_error(directory, "write", error))
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, JournalError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| unreadable(path, error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| storage(path, "open", error))?;
    Ok(connection)
}

/// Opens a connection that neither locks nor looks for a write-ahead log.
fn open_immutable(path: &Path) -> Result<Connection, JournalError> {
    let absolute = std::path::absolute(path).map_err(|error| io_error(path, "look at", error))?;
    let path_of_uri = percent_encode(absolute.as_os_str().as_encoded_bytes(), &NOT_IN_PATH);
    let uri = format!("file:{path_of_uri}?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags).map_err(|error| unreadable(path, error))
}

/// Whether reading failed because the files beside the journal cannot be created.
fn cannot_share(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn unreadable(path: &Path, error: rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => JournalError::NotSqlite { path: path.into() },
        Some(ErrorCode::CannotOpen) => match File::open(path) {
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                JournalError::NoPermission { path: path.into(), source }
            }
            _ => storage(path, "open", error),
        },
        _ => storage(path, "open", error),
    }
}

fn writable_or(path: &Path, doing: &'static str, error: rusqlite::Error) -> JournalError {
    if cannot_share(&error) {
        JournalError::ReadOnly { path: path.into() }
    } else {
        storage(path, doing, error)
    }
}

fn storage(path: &Path, doing: &'static str, source: rusqlite::Error) -> JournalError {
    JournalError::Storage { doing, path: path.into(), source }
}

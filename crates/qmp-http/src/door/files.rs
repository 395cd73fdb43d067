//! Reading files that hold secrets.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The longest file of certificates or tokens, in bytes: a thousand tokens have 100 kB, and a bundle of all
/// authorities of a browser 250 kB.
const KEY_FILE_MAX_BYTES: u64 = 1 << 20;

/// Where the certificate of a door is; files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of which clients must have a certificate; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// Errors of the files that a door is guarded with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the {what} {}: {error}", path.display())]
    Read {
        /// What should stand in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is longer than any such file.
    #[error("the {what} {} has over {KEY_FILE_MAX_BYTES} bytes; is it the right file?", path.display())]
    TooLong {
        /// What should stand in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Everybody on this host can read or change it.
    #[error(
        "every user of this host may {may} the {what} {}; make it private: chmod o= {0}",
        path.display()
    )]
    Open {
        /// What should stand in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// `read` or `change`.
        may: &'static str,
    },
    /// It holds no such thing.
    #[error("{} holds no {what}; it should be PEM, beginning with -----BEGIN", path.display())]
    Missing {
        /// What should stand in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot serve.
    #[error("cannot serve with the certificate {} and the key {}: {error}", certificate.display(), key.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong with them.
        error: Box<str>,
    },
    /// A line of the token file is wrong.
    #[error("{}:{line}: {what}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        what: Box<str>,
    },
    /// There is no token in the file.
    #[error("there is no token in {}, so nobody could come in; add a line: NAME TOKEN [observe|operate]", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Everybody.
    Public,
    /// The owner, and the group.
    Private,
}

/// What a file holds.
pub(super) fn read(path: &Path, what: &'static str, secrecy: Secrecy) -> Result<Vec<u8>, KeyFileError> {
    let failed = |error| KeyFileError::Read { what, path: path.into(), error };
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(KEY_FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > KEY_FILE_MAX_BYTES {
        return Err(KeyFileError::TooLong { what, path: path.into() });
    }
    let mode = found.mode();
    let may = match secrecy {
        _ if mode & 0o002 != 0 => "change",
        Secrecy::Private if mode & 0o004 != 0 => "read",
        _ => return Ok(bytes),
    };
    Err(KeyFileError::Open { what, path: path.into(), may })
}

/// What tells one content of a file from the next: as long as it is the same, the file is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if the file is not there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let (device, inode, bytes) = (found.dev(), found.ino(), found.size());
        // The time of the last change of anything, so that a repaired mode counts, too.
        Some(Self { device, inode, bytes, changed: (found.ctime(), found.ctime_nsec()) })
    }
}

//! Reading files that hold secrets.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The longest file of certificates or tokens, in bytes: a thousand tokens have 100 kB, and a bundle of all
/// authorities of a browser 250 kB.
const KEY_FILE_MAX_BYTES: u64 = 1 << 20;

/// Files of an endpoint's certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by the chain to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that must have signed a client's certificate; `None` requests no client certificates.
    pub client_ca: Option<PathBuf>,
}

/// Errors of reading an endpoint's credential files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the {what} {}: {error}", path.display())]
    Read {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file is longer than any credential file.
    #[error("the {what} {} has over {KEY_FILE_MAX_BYTES} bytes; is it the right file?", path.display())]
    TooLong {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Every user of this host can read or change the file.
    #[error(
        "every user of this host may {may} the {what} {}; make it private: chmod o= {0}",
        path.display()
    )]
    Open {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// `read` or `change`.
        may: &'static str,
    },
    /// The file lacks the expected content.
    #[error("{} holds no {what}; it should be PEM, beginning with -----BEGIN", path.display())]
    Missing {
        /// The expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used together.
    #[error("cannot serve with the certificate {} and the key {}: {error}", certificate.display(), key.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The fault.
        error: Box<str>,
    },
    /// A line of the token file is wrong.
    #[error("{}:{line}: {what}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The fault, and how to fix it.
        what: Box<str>,
    },
    /// The file has no token.
    #[error("there is no token in {}, so no client could connect; add a line: NAME TOKEN [observe|operate]", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// Permissions that a file must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Other users may read it.
    Public,
    /// Only the owner and the group may read it.
    Private,
}

/// Reads the file at `path`, after checks of its length and permissions.
pub(super) fn read(path: &Path, what: &'static str, secrecy: Secrecy) -> Result<Vec<u8>, KeyFileError> {
    let failed = |error| KeyFileError::Read { what, path: path.into(), error };
    let file = qmp_host::open_regular(path).map_err(failed)?;
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

/// Identifies one version of a file: while the stamp is equal, the file is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if the file does not exist.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let (device, inode, bytes) = (found.dev(), found.ino(), found.size());
        // The change time, so that a change of the mode counts, too.
        Some(Self { device, inode, bytes, changed: (found.ctime(), found.ctime_nsec()) })
    }
}

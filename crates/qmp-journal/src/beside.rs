//! The files that lie beside a journal.

use std::path::{Path, PathBuf};

/// Permissions of a journal's files: other users must not read what guests do.
pub(super) const FILE_MODE: u32 = 0o640;

/// The path of the file beside `path` whose name has `ending` in addition.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

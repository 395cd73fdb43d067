//! The parts of which the names of VMs are made.

use std::path::Path;

/// What is known of the name of a VM that was found, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// What its owner calls it, as far as that can be told.
    pub(crate) name: String,
    /// The file's name without its last ending.
    pub(crate) stem: String,
    /// The name of the file's directory.
    pub(crate) directory: String,
}

impl Parts {
    /// Those of the name of a socket's file.
    pub(crate) fn of_path(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let stem = text(path.file_stem());
        Self { name: stem.clone(), stem, directory: text(path.parent().and_then(Path::file_name)) }
    }
}

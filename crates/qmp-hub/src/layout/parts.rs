//! The parts of which the names of VMs are made.

use std::path::Path;

/// Parts of a path or of a process from which the name of a discovered VM is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The VM's name for its owner, if it is known.
    pub(crate) name: String,
    /// The file's name without its extension.
    pub(crate) stem: String,
    /// The name of the file's directory.
    pub(crate) directory: String,
    /// The VM's UUID, if libvirt gave it.
    pub(crate) uuid: String,
    /// The name of the VM's host, if libvirt gave it.
    pub(crate) host: String,
}

impl Parts {
    /// The parts of the path of a socket.
    pub(crate) fn of_path(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let stem = text(path.file_stem());
        Self {
            name: stem.clone(),
            stem,
            directory: text(path.parent().and_then(Path::file_name)),
            ..Self::default()
        }
    }
}

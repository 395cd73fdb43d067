//! Default paths of the hub's socket and of the journal.

use std::path::{Path, PathBuf};

/// The socket of the hub that root starts.
const SYSTEM_HUB: &str = "/run/qmp-events/hub.sock";

/// The environment on which the paths depend; tests construct their own.
#[derive(Clone, Debug, Default)]
pub struct DefaultPaths {
    is_root: bool,
    runtime_dir: Option<PathBuf>,
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl DefaultPaths {
    /// The environment of this process.
    pub fn of_this_user() -> Self {
        // The XDG base directory specification: relative paths are ignored.
        let directory =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            is_root: rustix::process::geteuid().is_root(),
            runtime_dir: directory("XDG_RUNTIME_DIR"),
            state_home: directory("XDG_STATE_HOME"),
            home: directory("HOME"),
        }
    }

    /// The hub's socket: `/run/qmp-events/hub.sock` as root, else below `$XDG_RUNTIME_DIR`, else below the
    /// directory of the journal.
    pub fn hub(&self) -> PathBuf {
        let directory = match &self.runtime_dir {
            _ if self.is_root => return PathBuf::from(SYSTEM_HUB),
            Some(runtime) => runtime.join("qmp-events"),
            None => self.state(),
        };
        directory.join("hub.sock")
    }

    /// The socket of the system's hub, if it is not the hub of this user.
    pub fn system_hub(&self) -> Option<PathBuf> {
        (!self.is_root).then(|| PathBuf::from(SYSTEM_HUB))
    }

    /// The journal: `/var/lib/qmp-events/journal.db` as root, else below `$XDG_STATE_HOME` or `~/.local/state`.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal.db")
    }

    fn state(&self) -> PathBuf {
        if self.is_root {
            return PathBuf::from("/var/lib/qmp-events");
        }
        let home = || self.home.as_deref().unwrap_or(Path::new("/")).join(".local/state");
        self.state_home.clone().unwrap_or_else(home).join("qmp-events")
    }
}

/// The journal named by the environment variable `QMP_JOURNAL`.
pub fn journal_of_environment() -> Option<PathBuf> {
    std::env::var_os("QMP_JOURNAL").filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_base_directory_specification() {
        let user = DefaultPaths { home: Some("/home/u".into()), ..DefaultPaths::default() };
        let session = DefaultPaths { runtime_dir: Some("/run/user/7".into()), ..user.clone() };
        let moved = DefaultPaths { state_home: Some("/srv/state".into()), ..session.clone() };
        let root = DefaultPaths { is_root: true, ..moved.clone() };
        let cases = [
            (user, "/home/u/.local/state/qmp-events/hub.sock", "/home/u/.local/state/qmp-events/journal.db"),
            (session, "/run/user/7/qmp-events/hub.sock", "/home/u/.local/state/qmp-events/journal.db"),
            (moved, "/run/user/7/qmp-events/hub.sock", "/srv/state/qmp-events/journal.db"),
            (root, "/run/qmp-events/hub.sock", "/var/lib/qmp-events/journal.db"),
        ];
        for (paths, hub, journal) in cases {
            assert_eq!(paths.hub(), Path::new(hub), "{paths:?}");
            assert_eq!(paths.system_hub().is_none(), paths.is_root, "{paths:?}");
            assert_eq!(paths.journal(), Path::new(journal), "{paths:?}");
        }
    }
}

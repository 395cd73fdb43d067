//! A source: sockets at paths that match.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::vm_source::{DiscoveredVm, VmSource, at};
use super::watch::DirectoryWatch;
use crate::layout::{Layout, Parts, PathPattern, Walk};

/// How long changes are collected before the next scan: several sockets are often made together.
const GATHER: Duration = Duration::from_millis(20);

/// How long to pause after a scan, as a multiple of its duration: scans take at most a tenth of a core, whatever happens in
/// those directories.
const REST_FACTOR: u32 = 10;

/// The pause before a scan without a hint: for file systems without inotify events, such as those of other hosts.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// The same if a directory cannot be watched.
const LOOK_UNWATCHED: Duration = Duration::from_secs(2);

/// How often directories may turn out to be new while they are being watched.
const ROUNDS_MAX: usize = 16;

/// Sockets at the paths of some patterns.
#[derive(Debug)]
pub(super) struct Paths {
    patterns: Vec<PathPattern>,
    layout: Option<Layout>,
    /// `None` if the system has no inotify instance left.
    watch: Option<DirectoryWatch>,
    warned: bool,
    took: Duration,
}

impl Paths {
    pub(super) fn new(patterns: Vec<PathPattern>, layout: Option<Layout>) -> Self {
        let watch = DirectoryWatch::new().inspect_err(|error| {
            tracing::warn!(
                "directories cannot be watched ({error}); they are scanned every {LOOK_UNWATCHED:?}"
            );
        });
        let watch = watch.ok();
        Self { patterns, layout, warned: watch.is_none(), watch, took: Duration::ZERO }
    }

    fn walk(&self) -> Walk {
        let mut walk = Walk::new();
        self.patterns.iter().for_each(|pattern| pattern.walk(&mut walk));
        walk
    }

    /// Watches the directories of a walk. Returns whether another walk is needed to find changes since the first.
    fn watch(&mut self, directories: &[PathBuf]) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        let (added, watched) = watch.set(directories);
        if let Err(error) = watched
            && !self.warned
        {
            self.warned = true;
            tracing::warn!(
                "not every directory can be watched ({error}; see /proc/sys/fs/inotify); they are scanned every \
                 {LOOK_UNWATCHED:?}"
            );
        }
        added
    }

    fn found(&self, path: PathBuf, seen: &mut HashSet<PathBuf>) -> Option<DiscoveredVm> {
        // Two paths to one socket are one VM.
        let real = std::fs::canonicalize(&path).ok()?;
        let parts = match self.layout {
            Some(layout) => layout.name(&path)?,
            None => Parts::of_path(&path),
        };
        if !seen.insert(real) {
            return None;
        }
        let key = path.to_string_lossy().into();
        Some(DiscoveredVm { key, parts, monitors: vec![at(path)] })
    }
}

impl VmSource for Paths {
    fn look(&mut self) -> Vec<DiscoveredVm> {
        let began = Instant::now();
        let mut walk = self.walk();
        for _ in 0..ROUNDS_MAX {
            if !self.watch(&walk.directories) {
                break;
            }
            walk = self.walk();
        }
        self.took = began.elapsed();
        let mut seen = HashSet::new();
        walk.sockets.into_iter().filter_map(|path| self.found(path, &mut seen)).collect()
    }

    fn gone(&self) -> &'static str {
        "its socket is gone"
    }

    async fn changed(&mut self) {
        tokio::time::sleep(GATHER.max(self.took * REST_FACTOR)).await;
        let most = if self.warned { LOOK_UNWATCHED } else { LOOK_ANYWAY };
        let hint = async {
            if let Some(watch) = &mut self.watch
                && watch.hint().await.is_ok()
            {
                return;
            }
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(most, hint).await;
    }
}

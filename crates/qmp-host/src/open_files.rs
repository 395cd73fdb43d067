//! The process's limit of open files: each VM is a socket, and the usual limit is 1,024.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::budget::Budget;

/// Open files that are kept for everything besides the sockets of VMs and relays: journal, HTTP clients, the runtime.
/// Half of what is allowed, if that is less: the hub answers also where few are allowed.
const BESIDES_VMS_MAX: u64 = 512;

/// Open files of a relay without clients: its socket, and its lock.
const FILES_OF_A_SOCKET: usize = 2;

/// So many times what is needed is asked for: each VM's process may have a descriptor, too, and those are opened only while
/// less than half of what is allowed is in use.
const WITH_ROOM: u64 = 4;

/// Whether it was said already that the limit cannot be raised far enough. VMs come one by one; one warning will do.
#[derive(Debug)]
pub struct OpenFiles {
    /// Sockets to monitors.
    monitors: Arc<Budget>,
    warned: AtomicBool,
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self { monitors: Arc::new(Budget::new(usize::MAX)), warned: AtomicBool::default() }
    }
}

impl OpenFiles {
    /// The sockets to monitors that may be open.
    #[must_use]
    pub fn monitors(&self) -> &Arc<Budget> {
        &self.monitors
    }

    /// Raises the limit so that `sockets` fit, and well so, as far as this user may; warns if they do not fit, and lets no
    /// more monitors be connected than do beside so many relays.
    pub fn allow(&self, sockets: usize, relays: usize) {
        self.raise(sockets);
        let allowed = getrlimit(Resource::Nofile).current;
        self.monitors.set_max(allowed.map_or(usize::MAX, |allowed| fitting(allowed, relays)));
    }

    fn raise(&self, sockets: usize) {
        let needed = sockets as u64 + BESIDES_VMS_MAX;
        let wanted = needed * WITH_ROOM;
        let mut limit = getrlimit(Resource::Nofile);
        // None means no limit.
        if limit.current.is_none_or(|current| current >= wanted) {
            return;
        }
        let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if limit.current != Some(allowed) {
            limit.current = Some(allowed);
            if let Err(error) = setrlimit(Resource::Nofile, limit) {
                return self.warn(&format!("cannot raise the limit of open files to {allowed}: {error}"));
            }
        }
        if allowed < needed {
            self.warn(&format!(
                "{sockets} sockets of VMs and relays need {needed} open files, and {allowed} are allowed; raise the \
                 limit with `ulimit -n` or LimitNOFILE="
            ));
        }
    }

    fn warn(&self, what: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{what}");
        }
    }
}

/// How many sockets to monitors fit into so many open files, beside those of relays and what is kept for the rest.
fn fitting(allowed: u64, relays: usize) -> usize {
    let kept = BESIDES_VMS_MAX.min(allowed / 2);
    usize::try_from(allowed - kept).unwrap_or(usize::MAX).saturating_sub(FILES_OF_A_SOCKET * relays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_the_hub_itself() {
        //  allowed  relays  for monitors
        let cases = [(64, 0, 32), (64, 10, 12), (64, 100, 0), (1024, 0, 512), (4096, 48, 3488), (0, 0, 0)];
        for (allowed, relays, expected) in cases {
            assert_eq!(fitting(allowed, relays), expected, "{allowed} {relays}");
        }
    }
}

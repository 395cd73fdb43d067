//! The process's limit of open files: each VM needs a socket, and the usual limit is 1,024.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::budget::Budget;

/// Open files reserved for everything except the sockets of VMs and relays: journal, HTTP clients, the runtime. At
/// most half of the limit, so that the hub replies also where the limit is low.
const BESIDES_VMS_MAX: u64 = 512;

/// Open files of a relay without clients: its socket, and its lock.
const FILES_OF_A_SOCKET: usize = 2;

/// Factor of the requested limit: each VM's process may have a descriptor, too, which is opened only while less
/// than half of the limit is in use.
const WITH_ROOM: u64 = 4;

/// The limit of open files, with a flag for its warning. VMs are added one by one; one warning suffices.
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
    /// Returns the budget of open sockets to monitors.
    #[must_use]
    pub fn monitors(&self) -> &Arc<Budget> {
        &self.monitors
    }

    /// Raises the limit for `sockets` with a reserve, as far as this user may; if they do not fit, warns and limits
    /// the monitors to the number that fits beside `relays`.
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

/// Returns the number of sockets to monitors that fit into a limit, beside those of relays and the reserve.
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

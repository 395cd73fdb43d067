//! The process's limit of open files: each VM needs a socket, and the usual limit is 1,024.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::budget::Budget;

/// Open files reserved for everything except the sockets of VMs and relays: journal, HTTP clients, the runtime. At
/// most half of the limit, so that the hub replies also where the limit is low.
const BESIDES_VMS_MAX: u64 = 512;

/// Open files that connections of clients leave for the journal, the runtime, and readers of the journal, each of which has
/// three. Three quarters of what is kept besides the sockets of VMs, if that is less.
const BESIDES_CLIENTS_MAX: u64 = 128;

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
    /// Connections of clients.
    clients: Arc<Budget>,
    warned: AtomicBool,
}

impl Default for OpenFiles {
    fn default() -> Self {
        let unlimited = || Arc::new(Budget::new(usize::MAX));
        Self { monitors: unlimited(), clients: unlimited(), warned: AtomicBool::default() }
    }
}

impl OpenFiles {
    /// Returns the budget of open sockets to monitors.
    #[must_use]
    pub fn monitors(&self) -> &Arc<Budget> {
        &self.monitors
    }

    /// The connections of clients, over HTTP and at relays, that may be open.
    #[must_use]
    pub fn clients(&self) -> &Arc<Budget> {
        &self.clients
    }

    /// Raises the limit for `sockets` with a reserve, as far as this user may; if they do not fit, warns and limits
    /// the monitors to the number that fits beside `relays`,
    /// and the connections of clients to the number that fits beside all sockets.
    pub fn allow(&self, sockets: usize, relays: usize) {
        self.raise(sockets);
        let allowed = getrlimit(Resource::Nofile).current;
        self.monitors.set_max(allowed.map_or(usize::MAX, |allowed| fitting(allowed, relays)));
        self.clients.set_max(allowed.map_or(usize::MAX, |allowed| clients_fitting(allowed, sockets)));
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
    usize::try_from(allowed - kept(allowed)).unwrap_or(usize::MAX).saturating_sub(FILES_OF_A_SOCKET * relays)
}

/// How many connections of clients fit into so many open files, beside `sockets` of VMs and relays. What those do not need is
/// for clients.
fn clients_fitting(allowed: u64, sockets: usize) -> usize {
    let kept = kept(allowed);
    let for_sockets = (sockets as u64).min(allowed - kept);
    let besides = BESIDES_CLIENTS_MAX.min(kept - kept / 4);
    usize::try_from(allowed - for_sockets - besides).unwrap_or(usize::MAX)
}

/// What is kept besides the sockets of VMs and relays.
fn kept(allowed: u64) -> u64 {
    BESIDES_VMS_MAX.min(allowed / 2)
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

    #[test]
    fn clients_leave_descriptors_for_the_hub_and_its_vms() {
        //  allowed  sockets  for clients
        let cases =
            [(64, 60, 8), (64, 0, 40), (1024, 100, 796), (1024, 2_000, 384), (4096, 1_000, 2_968), (0, 5, 0)];
        for (allowed, sockets, expected) in cases {
            assert_eq!(clients_fitting(allowed, sockets), expected, "{allowed} {sockets}");
        }
    }
}

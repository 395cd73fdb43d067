//! The process's limit of open files: each VM needs a socket, and the usual limit is 1,024.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::budget::Budget;

/// Open files reserved for everything except the sockets of VMs and relays: journal, HTTP clients, the runtime. Half of
/// the limit, if that is less.
const BESIDES_VMS_MAX: u64 = 512;

/// Open files of the hub without VMs, relays and clients: the streams of the process, the runtime, the journal's writer, and
/// the sockets that HTTP is served at. A hub with one such socket has 18.
const FILES_OF_THE_HUB: u64 = 20;

/// Spare connections at one HTTP socket: those beyond the others, which get answers and no records. The oldest is closed for
/// one more, so that the state of the hub can be asked however many clients are connected.
pub const HTTP_SPARE_MAX: usize = 4;

/// Connections of clients that fit at least, also where the limit is low and VMs do not fit.
const CLIENTS_MIN: u64 = 4;

/// Connections to the journal for readers, at most; a reader that finds all of them in use waits. More than one for each
/// processor make nothing faster. Where the limit is low, a sixteenth of it, and two at least.
const JOURNAL_CONNECTIONS_MAX: u64 = 64;

/// Open files of a connection to the journal: the file and its write-ahead log. Its index is open once for all.
const FILES_OF_A_JOURNAL_CONNECTION: u64 = 2;

/// Open files of a relay without clients: its socket, and its lock.
pub const FILES_OF_A_SOCKET: usize = 2;

/// Factor of the requested limit: each VM's process may have a descriptor, too, which is opened only while less
/// than half of the limit is in use.
const WITH_ROOM: u64 = 4;

/// The limit of open files, with a flag for its warning. VMs are added one by one; one warning suffices.
#[derive(Debug)]
pub struct OpenFiles {
    /// Sockets to monitors.
    monitors: Arc<Budget>,
    /// Files of relays: sockets, and their locks.
    relays: Arc<Budget>,
    /// Connections of clients.
    clients: Arc<Budget>,
    warned: AtomicBool,
}

impl Default for OpenFiles {
    fn default() -> Self {
        let unlimited = || Arc::new(Budget::new(usize::MAX));
        Self {
            monitors: unlimited(),
            relays: unlimited(),
            clients: unlimited(),
            warned: AtomicBool::default(),
        }
    }
}

impl OpenFiles {
    /// Returns the budget of open sockets to monitors.
    #[must_use]
    pub fn monitors(&self) -> &Arc<Budget> {
        &self.monitors
    }

    /// Returns the budget of open files of relays, without their clients: [`FILES_OF_A_SOCKET`] for each.
    #[must_use]
    pub fn relays(&self) -> &Arc<Budget> {
        &self.relays
    }

    /// The connections of clients, over HTTP and at relays, that may be open.
    #[must_use]
    pub fn clients(&self) -> &Arc<Budget> {
        &self.clients
    }

    /// Raises the limit for `sockets`, of which `vms` are monitors', with a reserve, as far as this user may. If they do not
    /// fit, warns; monitors get what fits, relays what monitors leave, and connections of clients what both leave.
    pub fn allow(&self, sockets: usize, vms: usize) {
        self.raise(sockets);
        let Some(allowed) = getrlimit(Resource::Nofile).current else {
            return [&self.monitors, &self.relays, &self.clients]
                .into_iter()
                .for_each(|budget| budget.set_max(usize::MAX));
        };
        let fitting = fitting(allowed);
        self.monitors.set_max(fitting.saturating_sub(self.relays.used()));
        self.relays.set_max(fitting.saturating_sub(vms));
        self.clients.set_max(clients_fitting(allowed, sockets));
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

/// Returns the number of sockets to monitors and files of relays that fit into a limit beside the reserve.
fn fitting(allowed: u64) -> usize {
    usize::try_from(allowed - kept(allowed)).unwrap_or(usize::MAX)
}

/// Returns the number of connections of clients that fit into a limit, beside `sockets` of VMs and relays. What those do not
/// need is for clients.
fn clients_fitting(allowed: u64, sockets: usize) -> usize {
    let for_sockets = (sockets as u64).min(allowed - kept(allowed));
    usize::try_from(allowed.saturating_sub(for_sockets + besides_clients(allowed))).unwrap_or(usize::MAX)
}

/// Returns the number of open files reserved for everything except the sockets of VMs and relays.
fn kept(allowed: u64) -> u64 {
    (besides_clients(allowed) + CLIENTS_MIN).max(BESIDES_VMS_MAX.min(allowed / 2)).min(allowed)
}

/// Returns the number of open files that connections of clients leave: for the hub itself, for readers of the journal, and for
/// spare connections, of which as many again may be closing.
fn besides_clients(allowed: u64) -> u64 {
    FILES_OF_THE_HUB
        + 2 * HTTP_SPARE_MAX as u64
        + journal_connections(allowed) * FILES_OF_A_JOURNAL_CONNECTION
}

fn journal_connections(allowed: u64) -> u64 {
    JOURNAL_CONNECTIONS_MAX.min(allowed / 16).max(2)
}

/// Returns how many connections to the journal its readers may have at a time, by the process's limit of open files.
#[must_use]
pub fn journal_connections_max() -> usize {
    let max = getrlimit(Resource::Nofile).current.map_or(JOURNAL_CONNECTIONS_MAX, journal_connections);
    usize::try_from(max).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_the_hub_itself() {
        //  allowed, for monitors and relays
        let cases = [(64, 24), (128, 64), (1024, 512), (4096, 3584), (20, 0), (0, 0)];
        for (allowed, expected) in cases {
            assert_eq!(fitting(allowed), expected, "{allowed}");
        }
    }

    #[test]
    fn clients_leave_descriptors_for_the_hub_and_its_vms() {
        //  allowed  sockets  for clients
        let cases =
            [(64, 60, 4), (64, 0, 28), (1024, 100, 768), (1024, 2_000, 356), (4096, 1_000, 2_940), (0, 5, 0)];
        for (allowed, sockets, expected) in cases {
            assert_eq!(clients_fitting(allowed, sockets), expected, "{allowed} {sockets}");
        }
    }
}

//! The process's limit of open files: each VM is a socket, and the usual limit is 1,024.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files that the hub needs besides the sockets of the VMs: journal, HTTP clients, the runtime.
const BESIDES_VMS: u64 = 512;

/// So many times what is needed is asked for: each VM's process may have a descriptor, too, and those are opened only while
/// less than half of what is allowed is in use.
const WITH_ROOM: u64 = 4;

/// Whether it was said already that the limit cannot be raised far enough. VMs come one by one; one warning will do.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    warned: AtomicBool,
}

impl OpenFiles {
    /// Raises the limit so that `sockets` connections fit, and well so, as far as this user may; warns if they do not fit.
    pub(crate) fn allow(&self, sockets: usize) {
        let needed = sockets as u64 + BESIDES_VMS;
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

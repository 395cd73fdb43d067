//! Claims of monitors: a monitor serves one client, so at most one rule may follow it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use qmp_client::Address;
use qmp_host::lock;

/// The monitors that the rules follow.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashSet<Endpoint>>);

/// A monitor, independent of the spelling of its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp(String, u16),
    Other(Address),
}

impl Endpoint {
    /// The monitor at that address. Links are resolved if the file exists.
    pub(super) fn of(address: &Address) -> Self {
        match address {
            Address::Unix { path, listen: false } => Self::Unix(real(path)),
            Address::Tcp { host, port, listen: false } => {
                let host = if host == "localhost" { "127.0.0.1" } else { host };
                Self::Tcp(host.to_owned(), *port)
            }
            address => Self::Other(address.clone()),
        }
    }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| {
        let directory = path.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
        match (directory, path.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        }
    })
}

impl Claims {
    /// Claims all of them, or none if one is claimed already.
    pub(super) fn claim(&self, endpoints: &[Endpoint]) -> bool {
        let mut claimed = self.lock();
        if endpoints.iter().any(|endpoint| claimed.contains(endpoint)) {
            return false;
        }
        claimed.extend(endpoints.iter().cloned());
        true
    }

    pub(super) fn release(&self, endpoints: &[Endpoint]) {
        let mut claimed = self.lock();
        for endpoint in endpoints {
            claimed.remove(endpoint);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Endpoint>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_the_same_however_it_is_written() {
        let home = tempfile::tempdir().expect("a directory");
        let path = |name: &str| home.path().join(name).display().to_string();
        std::fs::create_dir(path("vm")).expect("made");
        std::fs::write(path("vm/a.sock"), "").expect("written");
        std::os::unix::fs::symlink(path("vm"), path("link")).expect("linked");
        std::os::unix::fs::symlink(path("vm/a.sock"), path("b.sock")).expect("linked");
        //  one                    another                is it the same
        let cases = [
            (path("vm/a.sock"), path("link/a.sock"), true),
            (path("vm/a.sock"), path("b.sock"), true),
            (path("vm/a.sock"), path("vm/../vm/./a.sock"), true),
            (path("vm/none.sock"), path("link/none.sock"), true),
            (path("vm/a.sock"), path("a.sock"), false),
            ("tcp:localhost:1".to_owned(), "tcp:127.0.0.1:1".to_owned(), true),
            ("tcp:localhost:1".to_owned(), "tcp:localhost:2".to_owned(), false),
        ];
        for (one, another, same) in cases {
            let endpoint = |text: &str| Endpoint::of(&text.parse().expect("an address"));
            assert_eq!(endpoint(&one) == endpoint(&another), same, "{one} {another}");
        }
    }

    #[test]
    fn what_is_claimed_is_claimed_once() {
        let claims = Claims::default();
        let endpoints = |ports: &[u16]| -> Vec<_> {
            ports.iter().map(|port| Endpoint::Tcp("127.0.0.1".into(), *port)).collect()
        };
        assert!(claims.claim(&endpoints(&[1, 2])));
        assert!(!claims.claim(&endpoints(&[3, 2])));
        assert!(claims.claim(&endpoints(&[3])), "nothing was taken before");
        claims.release(&endpoints(&[1, 2]));
        assert!(claims.claim(&endpoints(&[2])));
    }
}

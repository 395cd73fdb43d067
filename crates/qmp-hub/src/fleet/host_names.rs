//! The names of hosts: a journal that was created again is another host to this one, so that identities stay unique.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use qmp_host::lock;
use qmp_journal::Feed;

/// The host of each foreign journal.
#[derive(Debug, Default)]
struct HostNames {
    by_journal: HashMap<Box<str>, Box<str>>,
    taken: HashSet<Box<str>>,
}

/// The names, which the sources of one journal share.
#[derive(Clone, Debug)]
pub(super) struct SharedHosts(Arc<Mutex<HostNames>>);

impl SharedHosts {
    pub(super) fn new(feeds: &[Feed]) -> Self {
        Self(Arc::new(Mutex::new(HostNames::new(feeds))))
    }

    /// The host of a foreign journal, whose hub calls itself `host`.
    pub(super) fn name(&self, journal: &str, host: &str) -> Box<str> {
        lock(&self.0).name(journal, host)
    }

    /// The same, if it is known.
    pub(super) fn of(&self, journal: &str) -> Option<Box<str>> {
        lock(&self.0).of(journal)
    }

    /// Whether the journal is known as that of a host which does not call itself `host`.
    pub(super) fn is_of_other(&self, journal: &str, host: &str) -> bool {
        lock(&self.0).by_journal.get(journal).is_some_and(|known| without_suffix(known) != host)
    }
}

impl HostNames {
    fn new(feeds: &[Feed]) -> Self {
        let mut names = Self::default();
        for feed in feeds {
            names.taken.insert(feed.host.clone());
            names.by_journal.insert(feed.journal.clone(), feed.host.clone());
        }
        names
    }

    /// The name of a journal's host, if one was given.
    fn of(&self, journal: &str) -> Option<Box<str>> {
        self.by_journal.get(journal).cloned()
    }

    /// The name of a journal's host; with `~2` and so on, if an earlier journal has the name.
    fn name(&mut self, journal: &str, host: &str) -> Box<str> {
        if let Some(name) = self.by_journal.get(journal) {
            return name.clone();
        }
        let later = (2..).map(|number: u32| format!("{host}~{number}").into());
        let mut names = std::iter::once(host.into()).chain(later);
        let name: Box<str> = names.find(|name| !self.taken.contains(name)).unwrap_or_else(|| host.into());
        self.taken.insert(name.clone());
        self.by_journal.insert(journal.into(), name.clone());
        name
    }
}

/// The name that the hub of a host uses for itself.
pub(super) fn without_suffix(host: &str) -> &str {
    host.split_once('~').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Offset, UnixMicros};

    use super::*;

    #[test]
    fn later_journal_of_a_host_has_a_suffix() {
        let feed =
            Feed { journal: "j1".into(), host: "node1".into(), offset: Offset(7), received: UnixMicros(0) };
        let mut names = HostNames::new(&[feed]);
        let cases = [
            ("j1", "node1", "node1"),
            ("j2", "node1", "node1~2"),
            ("j3", "node2", "node2"),
            ("j2", "node1", "node1~2"),
            ("j4", "node1", "node1~3"),
        ];
        for (journal, host, expected) in cases {
            assert_eq!(&*names.name(journal, host), expected, "{journal}");
            assert_eq!(without_suffix(expected), host);
        }
        let names = SharedHosts(Arc::new(Mutex::new(names)));
        let others =
            [("j1", "node2", true), ("j2", "node1", false), ("j2", "node1~2", true), ("j9", "x", false)];
        for (journal, host, is_other) in others {
            assert_eq!(names.is_of_other(journal, host), is_other, "{journal} {host}");
        }
    }
}

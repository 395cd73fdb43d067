//! What can be seen of a configuration's troubles without starting anything, and without touching anything.
//!
//! Doubts, not problems: a directory may be made, a VM be started, a group be joined before the hub starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use qmp_client::Address;
use qmp_host::{SOCKET_PATH_MAX_BYTES, permissions};
use qmp_hub::VmName;
use qmp_journal::{JournalError, Reader};
use rustix::fs::Access;

use crate::config::DaemonConfig;

impl DaemonConfig {
    /// What will probably go wrong, one sentence each: of the journal, the sockets that are served, and those of the
    /// VMs.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts: Vec<String> = self.file_doubts.iter().map(ToString::to_string).collect();
        doubts.extend(of_journal(&self.journal));
        for path in self.http.iter().filter_map(|door| door.address().unix_path()) {
            doubts.extend(of_served(path, "HTTP"));
        }
        for door in &self.http {
            doubts.extend(door.check_files().err().map(|error| format!("{door}: {error}")));
        }
        for (name, relay) in &self.relays {
            doubts.extend(of_served(&relay.path, &format!("the relay of {name}")));
        }
        doubts.extend(of_same_address(&self.attach));
        for (name, address) in &self.attach {
            if let Address::Unix { path, listen } = address {
                doubts.extend(if *listen { of_served(path, name.as_str()) } else { of_monitor(name, path) });
            }
        }
        doubts
    }
}

/// VMs that have one monitor, by whatever path.
fn of_same_address(attach: &[(VmName, Address)]) -> Vec<String> {
    let mut first: HashMap<String, &VmName> = HashMap::new();
    let mut doubts = Vec::new();
    for (name, address) in attach {
        let whole = match address {
            Address::Unix { path, .. } => {
                fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            other => other.to_string(),
        };
        match first.entry(whole) {
            Entry::Vacant(place) => _ = place.insert(name),
            Entry::Occupied(place) => doubts.push(format!(
                "{} and {name} have the same address, {address}: a monitor serves one client, so one of them is never attached",
                place.get()
            )),
        }
    }
    doubts
}

fn of_journal(path: &Path) -> Option<String> {
    match Reader::open(path) {
        // A hub brings it up to date, and makes it where there is none.
        Err(JournalError::OlderFormat { .. }) | Ok(_) => {
            let writable = [path, directory_of(path)].into_iter().all(may_write);
            let who = permissions::this_user();
            (!writable).then(|| {
                format!("the journal {} cannot be written by {who}, or its directory", path.display())
            })
        }
        Err(JournalError::Missing { .. }) => {
            let directory = directory_of(path);
            cannot_make(directory)
                .map(|why| format!("the journal cannot be made at {}: {why}", path.display()))
        }
        Err(error) => Some(format!("the journal: {error}")),
    }
}

/// A socket that the hub makes.
fn of_served(path: &Path, what: &str) -> Option<String> {
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|found| !is_socket(&found)) {
        return Some(format!("{what}: {shown} is there and is no socket; move it away"));
    }
    if let Some(why) = cannot_make(directory_of(path)) {
        return Some(format!("{what} cannot be served at {shown}: {why}"));
    }
    let length = path.as_os_str().len();
    (length > SOCKET_PATH_MAX_BYTES).then(|| {
        format!(
            "{what}: most clients cannot connect to {shown}, whose {length} bytes are more than the \
             {SOCKET_PATH_MAX_BYTES} that a socket's address holds; choose a shorter path"
        )
    })
}

/// A socket of a VM, which may not be there yet.
fn of_monitor(name: &VmName, path: &Path) -> Option<String> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        return Some(format!("{name}: the directory {} is not there", directory.display()));
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(format!("{name}: {}", permissions::refused(path, directory)))
        }
        Ok(found) if !is_socket(&found) => Some(format!("{name}: {} is no socket", path.display())),
        Ok(_) if !may_write(path) => Some(format!("{name}: {}", permissions::refused(path, path))),
        _ => None,
    }
}

/// Why nothing can be put into a directory; a missing one is made in the next that is there.
fn cannot_make(directory: &Path) -> Option<String> {
    let there = directory.ancestors().map(or_here).find(|place| fs::symlink_metadata(place).is_ok())?;
    if !there.is_dir() {
        return Some(format!("{} is no directory", there.display()));
    }
    (!may_write(&there)).then(|| permissions::not_writable(&there))
}

fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

fn is_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    found.file_type().is_socket()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use qmp_hub::relay::RelayConfig;

    use super::*;

    #[test]
    fn two_vms_at_one_address_are_doubted() {
        let home = tempfile::tempdir().expect("a directory");
        let socket = home.path().join("vm.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("binds");
        let link = home.path().join("link.sock");
        std::os::unix::fs::symlink(&socket, &link).expect("linked");
        let unix = |path: &Path| format!("unix:{}", path.display());
        let cases = [
            (unix(&socket), unix(&socket), true),
            (unix(&socket), unix(&link), true),
            (unix(&socket), unix(&home.path().join("other.sock")), false),
            ("tcp:127.0.0.1:1".into(), "tcp:127.0.0.1:1".into(), true),
            ("tcp:127.0.0.1:1".into(), "tcp:127.0.0.1:2".into(), false),
        ];
        for (one, other, expected) in cases {
            let mut config = DaemonConfig::new(home.path().join("journal.db"));
            for (name, address) in [("a", &one), ("b", &other)] {
                config.attach.push((name.parse().expect("a name"), address.parse().expect("an address")));
            }
            let doubts = config.doubts();
            let is_doubted = doubts.iter().any(|doubt| doubt.starts_with("a and b have the same address, "));
            assert_eq!(is_doubted, expected, "{one} {other}: {doubts:?}");
        }
    }

    #[test]
    fn what_can_be_seen_beforehand() {
        let home = tempfile::tempdir().expect("a directory");
        let here = |path: &str| home.path().join(path);
        fs::write(here("file"), "text").expect("writes");
        let _socket = std::os::unix::net::UnixListener::bind(here("vm.sock")).expect("binds");
        let long = "l".repeat(200);
        type Change<'a> = Box<dyn Fn(&mut DaemonConfig) + 'a>;
        let attach = |path: &str| -> Change<'_> {
            let address = Address::Unix { path: here(path), listen: false };
            Box::new(move |config| config.attach.push(("vm1".parse().expect("a name"), address.clone())))
        };
        let relay = |path: &str| -> Change<'_> {
            let path = here(path);
            Box::new(move |config| {
                config.relays.push(("vm1".parse().expect("a name"), RelayConfig::new(&path)));
            })
        };
        let journal = |path: &str| -> Change<'_> {
            let path = here(path);
            Box::new(move |config| config.journal = path.clone())
        };
        let cases: [(Change<'_>, &str); 9] = [
            (Box::new(|_| {}), ""),
            (attach("vm.sock"), ""),
            (attach("later.sock"), ""),
            (attach("nowhere/vm.sock"), "vm1: the directory HERE/nowhere is not there"),
            (attach("file"), "vm1: HERE/file is no socket"),
            (relay("made/relay.qmp"), ""),
            (relay("file"), "the relay of vm1: HERE/file is there and is no socket; move it away"),
            (
                relay("file/relay.qmp"),
                "the relay of vm1 cannot be served at HERE/file/relay.qmp: HERE/file is no directory",
            ),
            (
                journal("file"),
                "the journal: HERE/file is no journal, not even an SQLite file: it was left as it is; name another file",
            ),
        ];
        let doubts = |change: &Change<'_>| {
            let mut config = DaemonConfig::new(here("journal.db"));
            change(&mut config);
            config.doubts().join("|").replace(&home.path().display().to_string(), "HERE")
        };
        for (change, expected) in &cases {
            assert_eq!(doubts(change), *expected);
        }
        let text = doubts(&relay(&long));
        assert!(text.starts_with("the relay of vm1: most clients cannot connect to HERE/lll"), "{text}");
        assert!(!here("made").exists() && !here("journal.db").exists(), "nothing was touched");
    }
}

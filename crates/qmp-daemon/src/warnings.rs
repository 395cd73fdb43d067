//! Warnings about a configuration, found without starting or changing anything.
//!
//! A warning is not an error: a directory may be created, a VM started, a group joined before the hub starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use qmp_client::Address;
use qmp_host::{SOCKET_PATH_MAX_BYTES, SocketAccess, permissions};
use qmp_hub::VmName;
use qmp_hub::discovery::Source;
use qmp_hub::relay::RelayConfig;
use qmp_journal::{JournalError, Reader};
use rustix::fs::Access;

use crate::config::DaemonConfig;

impl DaemonConfig {
    /// Probable faults, one sentence each: of the journal, of the sockets that the hub serves, and of those of the VMs.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.file_warnings.iter().map(ToString::to_string).collect();
        warnings.extend(journal_warning(&self.journal));
        if !self.findings {
            let on_states = self.rules.iter().filter(|rule| rule.states.is_some());
            warnings.extend(on_states.map(|rule| {
                format!("the rule {} has `state`, and without findings it never raises an alert", rule.name)
            }));
        }
        for path in self.http.iter().filter_map(|endpoint| endpoint.address().unix_path()) {
            warnings.extend(served_socket_warning(path, "HTTP"));
        }
        for endpoint in &self.http {
            warnings.extend(endpoint.check_files().err().map(|error| format!("{endpoint}: {error}")));
        }
        for (name, relay) in &self.relays {
            warnings.extend(served_socket_warning(&relay.path, &format!("the relay of {name}")));
            warnings.extend(excluded_clients_warning(name, relay));
        }
        warnings.extend(self.discover.iter().filter_map(|rule| libvirt_warning(&rule.source)));
        warnings.extend(same_address_warnings(&self.attach));
        for (name, address) in &self.attach {
            if let Address::Unix { path, listen } = address {
                warnings.extend(if *listen {
                    served_socket_warning(path, name.as_str())
                } else {
                    monitor_warning(name, path)
                });
            }
        }
        warnings
    }
}

/// Warns about a libvirt daemon that does not listen, or whose socket this user may not use.
fn libvirt_warning(source: &Source) -> Option<String> {
    let sockets = source.libvirt_sockets();
    let listed = || sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
    match sockets.iter().find(|path| path.exists()) {
        _ if sockets.is_empty() => None,
        None => Some(format!("{source}: no daemon listens at {}; start libvirtd or virtqemud", listed())),
        Some(path) if !may_write(path) => {
            let (path, user) = (path.display(), permissions::this_user());
            Some(format!("{source}: {path} cannot be used by {user}; docs/operating.md has the permissions"))
        }
        Some(_) => None,
    }
}

/// Warns about VMs with the same monitor, also under different paths.
fn same_address_warnings(attach: &[(VmName, Address)]) -> Vec<String> {
    let mut first: HashMap<String, &VmName> = HashMap::new();
    let mut warnings = Vec::new();
    for (name, address) in attach {
        let resolved = match address {
            Address::Unix { path, .. } => {
                fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            other => other.to_string(),
        };
        match first.entry(resolved) {
            Entry::Vacant(place) => _ = place.insert(name),
            Entry::Occupied(place) => warnings.push(format!(
                "{} and {name} have the same address, {address}: a monitor serves one client, so only one of them can be attached",
                place.get()
            )),
        }
    }
    warnings
}

/// Warns about users and groups that a relay lists, and that the permissions of its socket keep out.
fn excluded_clients_warning(name: &VmName, relay: &RelayConfig) -> Option<String> {
    let SocketAccess { mode, group } = relay.access;
    let group = group.unwrap_or(rustix::process::getegid().as_raw());
    let is_for_group = mode & 0o020 != 0;
    let is_out = |gid: &&u32| **gid != group || !is_for_group;
    let (gid, uid) = (relay.gids.iter().find(is_out), relay.uids.iter().find(|uid| is_other_user(**uid)));
    let who = match (gid, uid) {
        _ if mode & 0o002 != 0 => return None,
        (Some(gid), _) => format!("users of group {gid}"),
        // A listed user may be in the group.
        (None, Some(uid)) if !is_for_group => format!("user {uid}"),
        _ => return None,
    };
    Some(format!(
        "the relay of {name} lists {who}, whom the permissions of {} ({mode:#o}, group {group}) do not let connect; set \
         `group`, or mode = 0o666, with which only the lists decide",
        relay.path.display(),
    ))
}

/// Whether file permissions apply to this user, and the file is not the user's own.
fn is_other_user(uid: u32) -> bool {
    uid != 0 && uid != rustix::process::geteuid().as_raw()
}

fn journal_warning(path: &Path) -> Option<String> {
    match Reader::open(path) {
        // The hub upgrades an older journal, and creates a missing one.
        Err(JournalError::OlderFormat { .. }) | Ok(_) => {
            let writable = [path, directory_of(path)].into_iter().all(may_write);
            let user = permissions::this_user();
            (!writable).then(|| {
                format!("the journal {} or its directory cannot be written by {user}", path.display())
            })
        }
        Err(JournalError::Missing { .. }) => {
            let directory = directory_of(path);
            creation_obstacle(directory)
                .map(|why| format!("the journal cannot be created at {}: {why}", path.display()))
        }
        Err(error) => Some(format!("the journal: {error}")),
    }
}

/// Warns about a socket that the hub creates.
fn served_socket_warning(path: &Path, what: &str) -> Option<String> {
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|found| !is_socket(&found)) {
        return Some(format!("{what}: {shown} exists and is not a socket; move it away"));
    }
    if let Some(why) = creation_obstacle(directory_of(path)) {
        return Some(format!("{what} cannot be served at {shown}: {why}"));
    }
    let length = path.as_os_str().len();
    (length > SOCKET_PATH_MAX_BYTES).then(|| {
        format!(
            "{what}: most clients cannot connect to {shown}, whose {length} bytes exceed the \
             {SOCKET_PATH_MAX_BYTES} of a socket's address; choose a shorter path"
        )
    })
}

/// Warns about a socket of a VM, which may not exist yet.
fn monitor_warning(name: &VmName, path: &Path) -> Option<String> {
    let directory = directory_of(path);
    if !directory.is_dir() {
        return Some(format!("{name}: the directory {} does not exist", directory.display()));
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(format!("{name}: {}", permissions::refused(path, directory)))
        }
        Ok(found) if !is_socket(&found) => Some(format!("{name}: {} is not a socket", path.display())),
        Ok(_) if !may_write(path) => Some(format!("{name}: {}", permissions::refused(path, path))),
        _ => None,
    }
}

/// Returns why a file cannot be created in a directory. A missing directory is created in its nearest ancestor.
fn creation_obstacle(directory: &Path) -> Option<String> {
    let existing = directory.ancestors().map(or_here).find(|place| fs::symlink_metadata(place).is_ok())?;
    if !existing.is_dir() {
        return Some(format!("{} is not a directory", existing.display()));
    }
    (!may_write(&existing)).then(|| permissions::not_writable(&existing))
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
    fn vms_with_the_same_address_are_warned_about() {
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
            let warnings = config.warnings();
            let is_warned =
                warnings.iter().any(|warning| warning.starts_with("a and b have the same address, "));
            assert_eq!(is_warned, expected, "{one} {other}: {warnings:?}");
        }
    }

    #[test]
    fn libvirt_daemon_that_does_not_listen_is_warned_about() {
        let home = tempfile::tempdir().expect("a directory");
        let socket = home.path().join("libvirt-sock");
        let source: Source = Source::Libvirt(format!("unix:{}", socket.display()).parse().expect("a source"));
        let warning = libvirt_warning(&source).expect("a warning");
        assert!(warning.ends_with("libvirt-sock; start libvirtd or virtqemud"), "{warning}");
        let _daemon = std::os::unix::net::UnixListener::bind(&socket).expect("binds");
        assert_eq!(libvirt_warning(&source), None);
        assert_eq!(libvirt_warning(&Source::Processes), None);
    }

    #[test]
    fn probable_fault_is_warned_about_and_nothing_is_changed() {
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
            (attach("nowhere/vm.sock"), "vm1: the directory HERE/nowhere does not exist"),
            (attach("file"), "vm1: HERE/file is not a socket"),
            (relay("made/relay.qmp"), ""),
            (relay("file"), "the relay of vm1: HERE/file exists and is not a socket; move it away"),
            (
                relay("file/relay.qmp"),
                "the relay of vm1 cannot be served at HERE/file/relay.qmp: HERE/file is not a directory",
            ),
            (
                journal("file"),
                "the journal: HERE/file is no journal, not even an SQLite file: it was left as it is; name another file",
            ),
        ];
        let warnings = |change: &Change<'_>| {
            let mut config = DaemonConfig::new(here("journal.db"));
            change(&mut config);
            config.warnings().join("|").replace(&home.path().display().to_string(), "HERE")
        };
        for (change, expected) in &cases {
            assert_eq!(warnings(change), *expected);
        }
        let text = warnings(&relay(&long));
        assert!(text.starts_with("the relay of vm1: most clients cannot connect to HERE/lll"), "{text}");
        assert!(!here("made").exists() && !here("journal.db").exists(), "nothing was created");
    }
}

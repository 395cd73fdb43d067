//! Addresses and files that two parts of a configuration use, which only one of them can.
//!
//! Paths are compared as absolute paths, without a look at the disk: a symbolic link is another path.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use qmp_client::Address;
use qmp_http::{HttpAddress, HttpEndpoint};
use qmp_hub::VmName;
use qmp_hub::relay::RelayConfig;
use qmp_settings::{Location, Problem};
use qmp_sinks::RuleConfig;

use super::located::Located;

/// Endings of the files that belong to a journal.
const JOURNAL_FILE_ENDINGS: [&str; 7] = ["", "-wal", "-shm", "-journal", ".lock", ".sinks", ".new"];

/// All addresses and files of a configuration.
pub(in crate::config) struct Uses<'c> {
    pub(in crate::config) http: &'c [Located<HttpEndpoint>],
    pub(in crate::config) vms: Vec<(&'c VmName, &'c Address, Option<&'c Location>)>,
    pub(in crate::config) relays: &'c [(VmName, Located<RelayConfig>)],
    pub(in crate::config) journal: Option<&'c Path>,
    pub(in crate::config) rules: Vec<(&'c RuleConfig, &'c Location)>,
}

/// The address of a listening socket.
#[derive(Debug, PartialEq, Eq, Hash)]
enum SocketAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The part of the configuration that uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User<'c> {
    Http,
    Vm(&'c VmName),
    Relay,
}

impl Uses<'_> {
    /// Returns a problem for each use that an earlier one excludes. VMs with the same address are left to the warnings.
    pub(in crate::config) fn conflicts(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |location: Option<&Location>, message: String| {
            problems.push(Problem { location: location.cloned(), message: message.into() });
        };
        let mut users: HashMap<SocketAddress, User<'_>> = HashMap::new();
        for Located { value: endpoint, location } in self.http {
            let place = SocketAddress::of_http(endpoint.address());
            if place.is_some_and(|place| users.insert(place, User::Http).is_some()) {
                add(location.as_ref(), format!("{endpoint} is in `http` twice; leave one of them out"));
            }
        }
        for (name, address, location) in &self.vms {
            let Some(place) = SocketAddress::of_vm(address) else { continue };
            if *users.entry(place).or_insert(User::Vm(name)) == User::Http {
                add(
                    *location,
                    format!("the hub serves HTTP at {address}; write the address of a monitor of {name}"),
                );
            }
        }
        for (name, Located { value: relay, location }) in self.relays {
            let conflict = match users.insert(SocketAddress::Unix(absolute(&relay.path)), User::Relay) {
                None => continue,
                Some(User::Http) => "is a socket at which the hub serves HTTP".to_owned(),
                Some(User::Vm(vm)) => format!("is the address of the VM {vm}"),
                Some(User::Relay) => "is configured twice".to_owned(),
            };
            let path = relay.path.display();
            add(
                location.as_ref(),
                format!("the relay {path} of {name} {conflict}; each relay needs a unique path"),
            );
        }
        for (rule, location) in &self.rules {
            let Some(file) = rule.action.file() else { continue };
            if self.journal.is_some_and(|journal| is_of_journal(file, journal)) {
                let (name, file) = (rule.name(), file.display());
                add(
                    Some(location),
                    format!(
                        "the rule {name} would write to {file}, a file of the journal; write another path"
                    ),
                );
            }
        }
        problems
    }
}

impl SocketAddress {
    /// `None` if the system chooses the port.
    fn of_http(address: &HttpAddress) -> Option<Self> {
        match address {
            HttpAddress::Unix(path) => Some(Self::Unix(absolute(path))),
            HttpAddress::Tcp(address) => (address.port() != 0).then_some(Self::Tcp(*address)),
        }
    }

    /// `None` if the name of a host must be resolved first, or a descriptor is inherited.
    fn of_vm(address: &Address) -> Option<Self> {
        match address {
            Address::Unix { path, .. } => Some(Self::Unix(absolute(path))),
            Address::Tcp { host, port, .. } => {
                let is_this_host = host.eq_ignore_ascii_case("localhost");
                let ip = if is_this_host { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() };
                ip.map(|ip: IpAddr| Self::Tcp((ip, *port).into()))
            }
            Address::Fd { .. } => None,
        }
    }
}

fn is_of_journal(file: &Path, journal: &Path) -> bool {
    let (file, journal) = (absolute(file), absolute(journal));
    let of_journal = |ending: &&str| {
        let mut path = journal.clone().into_os_string();
        path.push(ending);
        file == path
    };
    JOURNAL_FILE_ENDINGS.iter().any(of_journal)
}

/// The path from the root, without `.` and double slashes.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{CommandLine, ConfigFile, DaemonConfig};

    const VM: &str = "[[vm]]\nname = 'a'\naddress = '/a'\n";

    #[test]
    fn address_that_two_parts_use_is_refused_with_line() {
        let cases: [(&str, &str); 9] = [
            ("http = ['/h', 'tcp:127.0.0.1:0', '127.0.0.1:0', 'tcp:127.0.0.1:1', 'tcp:[::1]:1']", ""),
            ("http = [\n'/h',\n'/h']", "3: unix:/h is in `http` twice; leave one of them out"),
            ("http = [\n'./h',\n'unix:h']", "3: unix:h is in `http` twice; leave one of them out"),
            (
                "[[http]]\naddress = '127.0.0.1:1'\n[[http]]\naddress = 'localhost:1'",
                "4: tcp:127.0.0.1:1 is in `http` twice; leave one of them out",
            ),
            (
                "[[vm]]\naddress = '/run//hub.sock'\nname = 'a'\n",
                "2: the hub serves HTTP at unix:/run//hub.sock; write the address of a monitor of a",
            ),
            (
                "http = 'tcp:127.0.0.1:1'\n[[vm]]\nname = 'a'\naddress = 'tcp:localhost:1'",
                "4: the hub serves HTTP at tcp:localhost:1; write the address of a monitor of a",
            ),
            (
                &format!("{VM}relay = '/./a'"),
                "4: the relay /./a of a is the address of the VM a; each relay needs a unique path",
            ),
            (
                &format!("{VM}[[vm.relay]]\npath = '/run/hub.sock'"),
                "5: the relay /run/hub.sock of a is a socket at which the hub serves HTTP; each relay needs a unique path",
            ),
            (
                &format!("{VM}relay = [\n'r',\n'./r']"),
                "6: the relay ./r of a is configured twice; each relay needs a unique path",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(conflicts(text), expected, "{text}");
        }
    }

    #[test]
    fn rule_that_would_write_to_a_file_of_the_journal_is_refused_with_line() {
        for file in ["j.db", "./j.db", "j.db-wal", "j.db-shm", "j.db.lock", "j.db.sinks"] {
            let text = format!("journal = 'j.db'\n[[rule]]\nname = 'r'\nfile = '{file}'");
            let expected =
                format!("4: the rule r would write to {file}, a file of the journal; write another path");
            assert_eq!(conflicts(&text), expected);
        }
        assert_eq!(conflicts("journal = 'j.db'\n[[rule]]\nname = 'r'\nfile = 'j.db.jsonl'"), "");
    }

    #[test]
    fn conflict_is_reported_together_with_other_problems() {
        let text = format!("jurnal = 1\n{VM}relay = '/a'");
        assert_eq!(
            conflicts(&text),
            "1: unknown key \"jurnal\"; did you mean \"journal\"?|\
             5: the relay /a of a is the address of the VM a; each relay needs a unique path"
        );
    }

    fn conflicts(text: &str) -> String {
        let command_line = CommandLine {
            attach: Vec::new(),
            discover: Vec::new(),
            from: Vec::new(),
            journal: None,
            http: Vec::new(),
            relay: None,
            default_journal: "/run/j.db".into(),
            default_http: "/run/hub.sock".parse().expect("an address"),
        };
        let file = ConfigFile::parse(text, Path::new("hub.toml"));
        let config = file.and_then(|file| DaemonConfig::assemble(Some(file), command_line));
        let text = config.err().map(|error| error.to_string()).unwrap_or_default();
        text.replace("hub.toml:", "").replace('\n', "|")
    }
}

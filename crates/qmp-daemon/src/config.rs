//! The configuration of a hub: its VMs, its journal, its HTTP addresses.
//!
//! Values come from a TOML file and from the command line. Every part of a file is checked: an unknown key, a name
//! that is used twice, an invalid address are each a [`Problem`] with its line, and all problems are reported
//! together.
//!
//! ```toml
//! journal = "/var/lib/qmp-events/journal.db"
//! host = "node1"                                                     # the default is the host's name
//! http = ["unix:/run/qmp-events/hub.sock", "tcp:127.0.0.1:8080"]     # or a single string
//! findings = true                                                    # false: record no findings
//! silent-after = "30s"                                               # "off": do not ask VMs whether they answer
//!
//! [retention]                                                        # by default everything is kept
//! max-age = "90d"
//! max-size = "10GiB"
//!
//! # In place of the list, tables; an address that other hosts can reach has all four.
//! # [[http]]
//! # address = "tcp:0.0.0.0:8443"
//! # certificate = "/etc/qmp-events/cert.pem"
//! # key = "/etc/qmp-events/key.pem"
//! # token-file = "/etc/qmp-events/tokens"
//! # client-ca = "/etc/qmp-events/clients.pem"                          # clients need a certificate as well
//!
//! [[vm]]
//! name = "web1"
//! address = "unix:/run/vm/web1.sock"
//! relay = "/run/qmp-events/web1.qmp"                                 # observers; or a table, or a list of both
//!
//! [[vm.relay]]
//! path = "/run/qmp-events/web1-operate.qmp"
//! role = "operate"                                                   # the default is "observe"
//! allow = ["stop", "cont", "block*"]                                 # the default is all commands
//! mode = 0o660
//! uids = [1000]
//! gids = [107]
//! pretty = true
//!
//! [[from]]                                                           # records of other hosts; see docs/fleet.md
//! nats = "nats://127.0.0.1:4222"
//!
//! [[rule]]                                                           # see docs/operating.md
//! name = "panic-mail"
//! event = "GUEST_PANICKED"
//! run = ["/usr/local/bin/page", "--urgent"]
//! ```
//!
//! Relative paths are resolved against the working directory of the hub, as in QEMU.

mod error;
mod schema;
mod json_schema;
mod reference;
mod example;
mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qmp_client::Address;
pub use qmp_settings::{Location, Problem};

pub use error::ConfigError;
pub use example::config_example;
pub use file::ConfigFile;
pub use json_schema::config_schema;
use qmp_http::HttpEndpoint;
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_hub::relay::RelayConfig;
use qmp_hub::{FleetSourceConfig, HOST_SILENT_AFTER, SilentAfter, VmName, VmOrigin};
use qmp_journal::JournalOptions;
use qmp_sinks::RuleConfig;
pub use reference::config_reference;

use file::{ConfiguredVm, Located};

/// The whole configuration of [`Daemon::start`](crate::Daemon::start).
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// The VMs; each name is unique.
    pub attach: Vec<(VmName, Address)>,
    /// The origin of each VM; a VM that is not listed comes from the program itself.
    pub origins: HashMap<VmName, VmOrigin>,
    /// The journal's file; created if missing.
    pub journal: PathBuf,
    /// Limits and options of the journal.
    pub journal_options: JournalOptions,
    /// The name of this host in deliveries; `None` for the one that the system has.
    pub host: Option<Box<str>>,
    /// The addresses for HTTP. Without any, the hub only writes its journal.
    pub http: Vec<HttpEndpoint>,
    /// Whether findings are recorded. The states of the VMs are known in any case.
    pub findings: bool,
    /// Sockets that the hub serves on behalf of the VMs.
    pub relays: Vec<(VmName, RelayConfig)>,
    /// The rules of discovery.
    pub discover: Vec<DiscoveryRule>,
    /// The streams with records of other hosts.
    pub from: Vec<FleetSourceConfig>,
    /// How long one of these hosts may be silent. No key of the file sets it.
    pub host_silent_after: Duration,
    /// The time without a message after which a VM is probed.
    pub silent_after: SilentAfter,
    /// The same for single VMs that have their own value.
    pub silent_after_of: HashMap<VmName, SilentAfter>,
    /// The rules for records.
    pub rules: Vec<RuleConfig>,
    /// A directory with the files of the page, instead of those in the program.
    pub web_root: Option<PathBuf>,
    /// Keys of the file that the command line overrides, one sentence each.
    pub overridden: Vec<String>,
    /// Possible faults of the file; [`warnings`](Self::warnings) returns them with all others.
    pub file_warnings: Vec<Problem>,
}

/// The values of the command line, and the defaults for values that neither the command line nor the file has.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// VMs besides those of the file.
    pub attach: Vec<(VmName, Address)>,
    /// Rules of discovery besides those of the file.
    pub discover: Vec<Source>,
    /// Streams with records of other hosts, besides those of the file.
    pub from: Vec<FleetSourceConfig>,
    /// Overrides the file's.
    pub journal: Option<PathBuf>,
    /// Overrides the file's, if it is not empty.
    pub http: Vec<HttpEndpoint>,
    /// A directory in which every VM gets a relay for observers, `NAME.qmp`.
    pub relay: Option<PathBuf>,
    /// The journal if none is configured.
    pub default_journal: PathBuf,
    /// The address if none is configured.
    pub default_http: HttpEndpoint,
}

impl DaemonConfig {
    /// A hub with that journal, no VMs and no HTTP.
    #[must_use]
    pub fn new(journal: impl Into<PathBuf>) -> Self {
        Self {
            attach: Vec::new(),
            origins: HashMap::new(),
            journal: journal.into(),
            journal_options: JournalOptions::default(),
            host: None,
            http: Vec::new(),
            findings: true,
            relays: Vec::new(),
            discover: Vec::new(),
            from: Vec::new(),
            host_silent_after: HOST_SILENT_AFTER,
            silent_after: SilentAfter::default(),
            silent_after_of: HashMap::new(),
            rules: Vec::new(),
            web_root: None,
            overridden: Vec::new(),
            file_warnings: Vec::new(),
        }
    }

    /// Combines the file and the command line.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Wrong`] if the name of a VM, an address or a file is used twice, in the file or the command line.
    pub fn assemble(file: Option<ConfigFile>, command_line: CommandLine) -> Result<Self, ConfigError> {
        let file = file.unwrap_or_default();
        let overridden = overridden(&file, &command_line);
        let mut problems = Vec::new();
        let mut attach = Vec::new();
        let mut places: HashMap<VmName, Option<Location>> =
            file.vms.iter().map(|vm| (vm.name.clone(), Some(vm.location.clone()))).collect();
        for (name, address) in command_line.attach {
            match places.insert(name.clone(), None) {
                None => attach.push((name, address)),
                Some(place) => {
                    problems.push(Problem { location: None, message: duplicate_vm(&name, place.as_ref()) });
                }
            }
        }
        let http = [command_line.http.into_iter().map(Located::nowhere).collect(), file.http.clone()];
        let http = http.into_iter().find(|http| !http.is_empty());
        let http = http.unwrap_or_else(|| vec![Located::nowhere(command_line.default_http)]);
        let journal = command_line.journal.or_else(|| file.journal.clone());
        let journal = journal.unwrap_or(command_line.default_journal);
        let relays = file.relays(&attach, command_line.relay.as_deref());
        problems.extend(file.uses(&attach, &http, &relays, Some(&journal)).conflicts());
        let from = sources(&file, command_line.from, &mut problems);
        file::sort_by_line(&mut problems);
        let from_command_line = command_line.discover.into_iter().map(DiscoveryRule::new);
        let mut discover: Vec<DiscoveryRule> = file.discover.into_iter().chain(from_command_line).collect();
        if let Some(directory) = &command_line.relay {
            problems.extend(relay_discovered(&mut discover, directory));
        }
        if !problems.is_empty() {
            return Err(ConfigError::Wrong { problems, warnings: file.warnings });
        }
        let from_file = file.vms.iter().map(|vm| (vm.name.clone(), VmOrigin::Configuration));
        let from_command_line = attach.iter().map(|(name, _)| (name.clone(), VmOrigin::CommandLine));
        let origins = from_file.chain(from_command_line).collect();
        let own = |vm: &ConfiguredVm| Some((vm.name.clone(), vm.silent_after?));
        let silent_after_of = file.vms.iter().filter_map(own).collect();
        Ok(Self {
            attach: file.vms.into_iter().map(|vm| (vm.name, vm.address)).chain(attach).collect(),
            origins,
            journal,
            journal_options: JournalOptions { retention: file.retention, ..JournalOptions::default() },
            host: file.host,
            http: http.into_iter().map(|endpoint| endpoint.value).collect(),
            findings: file.findings.unwrap_or(true),
            relays: relays.into_iter().map(|(name, relay)| (name, relay.value)).collect(),
            discover,
            from,
            host_silent_after: HOST_SILENT_AFTER,
            silent_after: file.silent_after.unwrap_or_default(),
            silent_after_of,
            rules: file.rules,
            web_root: None,
            overridden,
            file_warnings: file.warnings,
        })
    }
}

/// The streams of the file and the command line.
fn sources(
    file: &ConfigFile,
    of_command_line: Vec<FleetSourceConfig>,
    problems: &mut Vec<Problem>,
) -> Vec<FleetSourceConfig> {
    let mut sources = file.from.clone();
    for source in of_command_line {
        if sources.iter().any(|other| other.reads_the_same(&source)) {
            let message = format!("--from {source}: the stream is read twice; name each one once").into();
            problems.push(Problem { location: None, message });
        }
        sources.push(source);
    }
    sources
}

/// The keys of the file that the command line overrides.
fn overridden(file: &ConfigFile, command_line: &CommandLine) -> Vec<String> {
    let has_both = [
        ("journal", file.journal.is_some() && command_line.journal.is_some()),
        ("http", !file.http.is_empty() && !command_line.http.is_empty()),
    ];
    let overridden = has_both.into_iter().filter(|(_, has_both)| *has_both);
    overridden.map(|(key, _)| format!("--{key} goes before `{key}` of the file")).collect()
}

fn duplicate_vm(name: &VmName, first: Option<&Location>) -> Box<str> {
    let other = first.map_or_else(|| "another --attach".to_owned(), Location::to_string);
    format!("--attach {name}: a VM of this name is already in {other}; each VM needs a unique name").into()
}

/// Gives each VM that the rules discover a relay in `directory`; returns the problem if that is not possible.
fn relay_discovered(discover: &mut [DiscoveryRule], directory: &Path) -> Option<Problem> {
    let relay = RelayConfig::new(directory.join("{name}.qmp"));
    discover.iter_mut().for_each(|rule| rule.relays.push(relay.clone()));
    let rule = discover.iter().find(|rule| matches!(rule.source, Source::Libvirt(_)))?;
    let message = format!("--relay and {}: {}", rule.source, schema::discover::RELAY_THROUGH_LIBVIRT).into();
    Some(Problem { location: None, message })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn command_line_overrides_the_file() {
        let file = "journal = '/f.db'\nhttp = '/f.sock'\n[[vm]]\nname = 'a'\naddress = '/a'";
        //  file, --journal, --http, --attach             journal, http, names
        type Case<'a> = (&'a str, Option<&'a str>, &'a [&'a str], &'a [&'a str], &'a str);
        let cases: [Case<'_>; 4] = [
            ("", None, &[], &[], "/default.db unix:/default.sock "),
            (file, None, &[], &["b"], "/f.db unix:/f.sock a b"),
            (file, Some("/c.db"), &["/c.sock"], &[], "/c.db unix:/c.sock a"),
            ("", Some("/c.db"), &["/c.sock", "[::1]:7"], &["x", "y"], "/c.db unix:/c.sock tcp:[::1]:7 x y"),
        ];
        for (file, journal, http, attach, expected) in cases {
            assert_eq!(assembled(file, journal, http, attach), expected, "{file:?} {attach:?}");
        }
    }

    #[test]
    fn vm_name_given_twice_is_refused() {
        let file = "[[vm]]\nname = 'a'\naddress = '/a'";
        let cases: [(&str, &[&str], &str); 2] = [
            (
                file,
                &["a"],
                "--attach a: a VM of this name is already in hub.toml:2; each VM needs a unique name",
            ),
            (
                "",
                &["b", "b"],
                "--attach b: a VM of this name is already in another --attach; each VM needs a unique name",
            ),
        ];
        for (file, attach, expected) in cases {
            assert_eq!(assembled(file, None, &[], attach), expected);
        }
    }

    #[test]
    fn relay_of_a_domain_through_libvirt_is_refused() {
        let cases = [
            ("", "libvirt", true),
            ("[[discover]]\nlibvirt = 'unix:/run/b.sock'", "processes", true),
            ("", "processes", false),
        ];
        for (file, discover, is_refused) in cases {
            let command_line = CommandLine {
                discover: vec![discover.parse().expect("a source")],
                relay: Some("/run/relays".into()),
                ..command_line()
            };
            let file = ConfigFile::parse(file, Path::new("hub.toml")).expect("a good file");
            let assembled = DaemonConfig::assemble(Some(file), command_line);
            assert_eq!(assembled.is_err(), is_refused, "{discover}: {assembled:?}");
        }
    }

    fn command_line() -> CommandLine {
        CommandLine {
            attach: Vec::new(),
            discover: Vec::new(),
            from: Vec::new(),
            journal: None,
            http: Vec::new(),
            relay: None,
            default_journal: "/default.db".into(),
            default_http: HttpEndpoint::unix("/default.sock"),
        }
    }

    fn assembled(file: &str, journal: Option<&str>, http: &[&str], attach: &[&str]) -> String {
        let vm = |name: &&str| (name.parse().expect("a name"), "/vm".parse().expect("an address"));
        let command_line = CommandLine {
            attach: attach.iter().map(vm).collect(),
            journal: journal.map(PathBuf::from),
            http: http.iter().map(|address| address.parse().expect("an address")).collect(),
            ..command_line()
        };
        let file = ConfigFile::parse(file, Path::new("hub.toml")).expect("a good file");
        match DaemonConfig::assemble(Some(file), command_line) {
            Err(error) => error.to_string(),
            Ok(config) => {
                let http: Vec<_> = config.http.iter().map(HttpEndpoint::to_string).collect();
                let names: Vec<_> = config.attach.iter().map(|(name, _)| name.as_str()).collect();
                format!("{} {} {}", config.journal.display(), http.join(" "), names.join(" "))
            }
        }
    }
}

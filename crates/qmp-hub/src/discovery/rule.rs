//! Rules: where VMs are searched for, and how they are followed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use qmp_client::{Address, AddressError};
use qmp_host::SocketAccess;
use qmp_journal::Globs;
use qmp_settings::suggest::nearest;

use super::naming::{self, Template};
use crate::layout::{self, Layout, Parts, PathPattern, PatternError, UnknownLayout};
use crate::relay::RelayConfig;
use crate::silence::SilentAfter;
use crate::vm::VmName;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryRule {
    /// Where VMs are searched for.
    pub source: Source,
    /// How a VM's name is made.
    pub name: Template,
    /// Sockets served in place of the VM's own; `{name}` in a path is the VM's name.
    pub relays: Vec<RelayConfig>,
    /// Names of VMs that are followed; with none, all.
    pub only: Globs,
    /// Names of VMs that are not followed.
    pub exclude: Option<Globs>,
    /// The permissions of the socket at which QEMUs dial in.
    pub dial_in_mode: u32,
    /// Whether clients may give commands to domains through libvirt, which marks a domain as tainted.
    pub commands: bool,
    /// How long a VM may be quiet before it is probed; `None`: the setting of the hub.
    pub silent_after: Option<SilentAfter>,
}

/// Where VMs are searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Sockets whose paths match.
    Paths(PathPattern),
    /// The layout of another program.
    Layout {
        /// The program.
        layout: Layout,
        /// Its directory, if it differs from the default.
        root: Option<PathBuf>,
    },
    /// The command lines of the processes of this host.
    Processes,
    /// QEMUs that dial in at this address.
    DialIn(Address),
    /// The domains of a libvirt daemon, through libvirt.
    Libvirt(qmp_libvirt::Source),
}

/// Errors of reading a [`Source`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A path cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// There is no such layout.
    #[error(transparent)]
    Layout(#[from] UnknownLayout),
    /// The text is no known source.
    #[error("\"{text}\" is nothing to look for; write {}{}", listed(), did_you_mean(text))]
    Unknown {
        /// The text given.
        text: Box<str>,
    },
    /// The address at which QEMUs are to dial in cannot be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The URI of a libvirt daemon that cannot be followed.
    #[error(
        "`{text}` is no daemon that can be followed; write qemu:///system or qemu:///session, or for another socket \
         libvirt = \"unix:PATH\" in a table [[discover]]"
    )]
    LibvirtUri {
        /// The text given.
        text: Box<str>,
    },
    /// The address of a socket without the word that says what it is for.
    #[error(
        "\"{text}\" is nothing to look for; write {text},server=on for QEMUs that dial in, the path alone for monitors, or \
         libvirt = \"{text}\" in a table [[discover]] for a libvirt daemon"
    )]
    Socket {
        /// The text given.
        text: Box<str>,
    },
    /// An address at which QEMUs cannot dial in.
    #[error(
        "QEMUs cannot dial in at {address}; write unix:/run/qmp-events/dial-in.sock or tcp:127.0.0.1:PORT"
    )]
    NotDialIn {
        /// The text given.
        address: Address,
    },
}

fn listed() -> String {
    let words: Vec<_> = layout::words().collect();
    format!(
        "processes, {}, qemu:///session, a path such as /run/vm/*.sock, or unix:PATH,server=on",
        words.join(", ")
    )
}

fn did_you_mean(text: &str) -> String {
    let known: Vec<_> = layout::words().chain(["processes"]).collect();
    nearest(text, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

impl DiscoveryRule {
    /// A rule for all VMs of a source, with their own names, without relays.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            name: Template::default(),
            relays: Vec::new(),
            only: Globs::default(),
            exclude: None,
            dial_in_mode: SocketAccess::OWNER.mode,
            commands: false,
            silent_after: None,
        }
    }

    /// Whether both find and follow the same VMs; their settings for silence may differ.
    pub(super) fn finds_the_same(&self, other: &Self) -> bool {
        *self == Self { silent_after: self.silent_after, ..other.clone() }
    }

    /// Whether a VM of both can be followed on while `other` takes the place of this rule: they may select other VMs, and name
    /// and relay them otherwise.
    pub(super) fn continues_as(&self, other: &Self) -> bool {
        let Self { name, relays, only, exclude, .. } = other.clone();
        Self { name, relays, only, exclude, ..self.clone() }.finds_the_same(other)
    }

    /// Returns why the VM of that name is not one of the rule; `None` if it is.
    pub(super) fn rejection(&self, parts: &Parts, name: &VmName) -> Option<&'static str> {
        if self.excludes(parts) {
            return Some("its rule does not select it any more");
        }
        let is_named_so = naming::candidates(&self.name.fill(parts)).any(|candidate| candidate == *name);
        (!is_named_so).then_some("its rule gives it another name")
    }

    /// Whether a VM with these parts is not followed.
    pub(super) fn excludes(&self, parts: &Parts) -> bool {
        let Some(name) = naming::candidates(&self.name.fill(parts)).next() else { return true };
        let excluded = self.exclude.as_ref().is_some_and(|excluded| excluded.matches(name.as_str()));
        excluded || !self.only.matches(name.as_str())
    }

    /// The relays of a VM with that name.
    pub(super) fn relays_of(&self, name: &VmName) -> Vec<RelayConfig> {
        let of = |relay: &RelayConfig| {
            let path = relay.path.to_string_lossy().replace("{name}", name.as_str());
            RelayConfig { path: path.into(), ..relay.clone() }
        };
        self.relays.iter().map(of).collect()
    }
}

/// The source, and which VMs are followed.
impl fmt::Display for DiscoveryRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |globs: &Globs| globs.patterns().collect::<Vec<_>>().join(", ");
        write!(out, "{}", self.source)?;
        if !self.only.is_any() {
            write!(out, "  only {}", list(&self.only))?;
        }
        self.exclude.as_ref().map_or(Ok(()), |excluded| write!(out, "  not {}", list(excluded)))?;
        match self.silent_after {
            None => Ok(()),
            Some(SilentAfter::Off) => out.write_str("  silence is not reported"),
            Some(span) => write!(out, "  silence is reported after {span}"),
        }
    }
}

impl Source {
    /// QEMUs that dial in at this address.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotDialIn`] for a descriptor, and for a port that other hosts reach.
    pub fn dial_in(address: Address) -> Result<Self, SourceError> {
        match address {
            Address::Unix { path, .. } => Ok(Self::DialIn(Address::Unix { path, listen: true })),
            Address::Tcp { host, port, .. } if is_loopback(&host) => {
                Ok(Self::DialIn(Address::Tcp { host, port, listen: true }))
            }
            address => Err(SourceError::NotDialIn { address }),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

impl FromStr for Source {
    type Err = SourceError;

    /// Reads what `qmp serve --discover` takes: a word, a path with or without patterns, an address with `server=on`, a URI of
    /// libvirt.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text == "processes" {
            return Ok(Self::Processes);
        }
        if text == "libvirt" {
            return Ok(Self::Libvirt(qmp_libvirt::Source::System));
        }
        if text.starts_with("qemu:") || text.starts_with("qemu+") {
            let daemon = text.parse().map_err(|_| SourceError::LibvirtUri { text: text.into() })?;
            return Ok(Self::Libvirt(daemon));
        }
        if let Ok(layout) = text.parse() {
            return Ok(Self::Layout { layout, root: None });
        }
        if text.starts_with("unix:") || text.starts_with("tcp:") {
            let address: Address = text.parse()?;
            let listens = address.listens();
            return if listens {
                Self::dial_in(address)
            } else if text.starts_with("unix:") {
                Err(SourceError::Socket { text: text.into() })
            } else {
                Err(SourceError::Unknown { text: text.into() })
            };
        }
        if !text.contains('/') {
            return Err(SourceError::Unknown { text: text.into() });
        }
        let is_directory = text.ends_with('/') || Path::new(text).is_dir();
        let pattern = if is_directory { PathPattern::directory(text)? } else { text.parse()? };
        Ok(Self::Paths(pattern))
    }
}

impl Source {
    /// The sockets of the libvirt daemon, of which one is enough; none for another source.
    #[must_use]
    pub fn libvirt_sockets(&self) -> Vec<PathBuf> {
        match self {
            Self::Libvirt(daemon) => daemon.sockets(&user_directory()),
            _ => Vec::new(),
        }
    }

    /// The key of its table with its value, as in a configuration.
    pub(crate) fn table(&self) -> String {
        match self {
            Self::Paths(pattern) => format!("glob = \"{pattern}\""),
            Self::Layout { layout, root: None } => format!("layout = \"{layout}\""),
            Self::Layout { layout, root: Some(root) } => {
                format!("layout = \"{layout}\", root = \"{}\"", root.display())
            }
            Self::Processes => "processes = true".to_owned(),
            Self::DialIn(address) => format!("listen = \"{address}\""),
            Self::Libvirt(daemon) => format!("libvirt = \"{daemon}\""),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths(pattern) => write!(out, "{pattern}"),
            Self::Layout { layout, root: None } => write!(out, "{layout}"),
            Self::Layout { layout, root: Some(root) } => write!(out, "{layout} in {}", root.display()),
            Self::Processes => out.write_str("processes"),
            Self::DialIn(address) => write!(out, "{address}"),
            Self::Libvirt(daemon) => write!(out, "libvirt at {daemon}"),
        }
    }
}

/// `$XDG_RUNTIME_DIR`, or what libvirt takes in its place.
pub(super) fn user_directory() -> PathBuf {
    let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("XDG_RUNTIME_DIR")
        .or_else(|| directory("XDG_CACHE_HOME"))
        .or_else(|| directory("HOME").map(|home| home.join(".cache")))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_words_paths_and_addresses() {
        let cases = [
            ("processes", "processes"),
            ("proxmox", "proxmox"),
            ("libvirt", "libvirt at qemu:///system"),
            ("qemu:///session", "libvirt at qemu:///session"),
            (
                "qemu+tls://host/system",
                "`qemu+tls://host/system` is no daemon that can be followed; write qemu:///system or qemu:///session, or for \
                 another socket libvirt = \"unix:PATH\" in a table [[discover]]",
            ),
            (
                "unix:/run/b.sock",
                "\"unix:/run/b.sock\" is nothing to look for; write unix:/run/b.sock,server=on for QEMUs that dial in, the \
                 path alone for monitors, or libvirt = \"unix:/run/b.sock\" in a table [[discover]] for a libvirt daemon",
            ),
            ("/run/vm/*.sock", "/run/vm/*.sock"),
            ("/run/../*.x", "\"/run/../*.x\" is no path of sockets; write something like /run/vm/*.sock"),
            ("/run/nothing/", "/run/nothing/"),
            ("unix:/run/d.sock,server=on", "unix:/run/d.sock,server=on"),
            ("tcp:127.0.0.1:4444,server=on", "tcp:127.0.0.1:4444,server=on"),
            (
                "tcp:0.0.0.0:4444,server=on",
                "QEMUs cannot dial in at tcp:0.0.0.0:4444,server=on; write unix:/run/qmp-events/dial-in.sock or \
                 tcp:127.0.0.1:PORT",
            ),
            (
                "proceses",
                "\"proceses\" is nothing to look for; write processes, libvirt, proxmox, incus, ganeti, kata, \
                 qemu:///session, a path such as /run/vm/*.sock, or unix:PATH,server=on; did you mean processes?",
            ),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Source>().map(|source| source.to_string());
            assert_eq!(read.unwrap_or_else(|error| error.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn a_relay_is_made_for_each_vm() {
        let mut rule = DiscoveryRule::new(Source::Processes);
        rule.relays = vec![RelayConfig::new("/run/qmp-events/{name}.qmp")];
        let relays = rule.relays_of(&"web1".parse().expect("a name"));
        assert_eq!(relays[0].path, Path::new("/run/qmp-events/web1.qmp"));
    }
}

//! The configuration file, read key by key so that each problem has its line.

mod document;
mod discover;
mod http;
mod relay;
mod retention;
mod rule;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use document::ConfigDocument;
use qmp_client::Address;
use qmp_http::HttpEndpoint;
use qmp_hub::discovery::DiscoveryRule;
use qmp_hub::relay::RelayConfig;
use qmp_hub::{SilentAfter, VmName};
use qmp_journal::Retention;
use qmp_settings::{Document, Location, Problem, TomlValue};
use qmp_sinks::RuleConfig;
use toml::de::DeValue;

use super::error::ConfigError;

/// The longest configuration file, in bytes: 10,000 `[[vm]]` tables have 700 kB.
const CONFIG_MAX_BYTES: u64 = 4 << 20;

/// The content of a configuration file.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    pub(super) vms: Vec<ConfiguredVm>,
    pub(super) journal: Option<PathBuf>,
    pub(super) http: Vec<HttpEndpoint>,
    pub(super) findings: Option<bool>,
    pub(super) silent_after: Option<SilentAfter>,
    pub(super) discover: Vec<DiscoveryRule>,
    pub(super) retention: Retention,
    pub(super) rules: Vec<RuleConfig>,
    pub(super) warnings: Vec<Problem>,
}

#[derive(Clone, Debug)]
pub(super) struct ConfiguredVm {
    pub(super) name: VmName,
    pub(super) address: Address,
    pub(super) relays: Vec<RelayConfig>,
    pub(super) silent_after: Option<SilentAfter>,
    pub(super) location: Location,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] if it cannot be read, [`ConfigError::Wrong`] with all its problems.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = qmp_host::read_text(path, CONFIG_MAX_BYTES)
            .map_err(|error| ConfigError::Read { path: path.into(), error })?;
        Self::parse(&text, path)
    }

    /// Reads `text`, the content of `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Wrong`] with all its problems.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut document = ConfigDocument(Document::new(text, path));
        let mut file = document.file();
        let Document { mut problems, warnings, .. } = document.0;
        file.warnings = warnings;
        // Without other problems, this is checked together with the relays of the command line.
        if !problems.is_empty() {
            relays(&file, &[], None, &mut problems);
        }
        // The parser sorts the keys of a table by name.
        problems.sort_by_key(|problem| problem.location.as_ref().map(|location| location.line));
        if problems.is_empty() {
            return Ok(file);
        }
        Err(ConfigError::Wrong { problems, warnings: file.warnings })
    }

    /// The rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[RuleConfig] {
        &self.rules
    }

    /// Possible faults, such as the path of a program that does not exist yet.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// The keys of the top level.
const KEYS: [&str; 8] =
    ["journal", "http", "findings", "silent-after", "retention", "vm", "discover", "rule"];

impl<'t> ConfigDocument<'t> {
    fn file(&mut self) -> ConfigFile {
        let mut file = ConfigFile::default();
        let Some(table) = self.top() else { return file };
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "journal" => {
                    file.journal = self.string(value, "a path").map(PathBuf::from);
                    self.warn_relative(value, file.journal.as_deref());
                }
                "http" => file.http = self.http(value),
                "findings" => file.findings = self.yes_or_no(value),
                "silent-after" => file.silent_after = self.silent_after(value),
                "retention" => file.retention = self.retention(value).unwrap_or_default(),
                "vm" => file.vms = self.vms(value),
                "discover" => file.discover = self.discover(value),
                "rule" => file.rules = self.rules(value),
                _ => self.unknown(key, &KEYS),
            }
        }
        file
    }

    fn vms(&mut self, value: &TomlValue<'t>) -> Vec<ConfiguredVm> {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(&value.span(), "a VM is written as [[vm]], in double brackets");
            return Vec::new();
        };
        self.unique_names(tables, "VM");
        tables.iter().filter_map(|table| self.vm(table)).collect()
    }

    /// Adds a problem for each table whose name an earlier one has, whatever else is wrong with the two.
    pub(super) fn unique_names<'v>(&mut self, tables: impl IntoIterator<Item = &'v TomlValue<'t>>, what: &str)
    where
        't: 'v,
    {
        let mut first_lines: HashMap<&'v str, usize> = HashMap::new();
        for table in tables {
            let Some(value) = table.get_ref().get("name") else { continue };
            let Some(name) = value.get_ref().as_str().filter(|name| !name.is_empty()) else { continue };
            let line = self.location(&value.span()).line;
            match first_lines.entry(name) {
                Entry::Vacant(place) => _ = place.insert(line),
                Entry::Occupied(first) => {
                    let first = first.get();
                    let message = format!(
                        "the name \"{name}\" is used twice, here and in line {first}; each {what} needs a unique name"
                    );
                    self.problem(&value.span(), &message);
                }
            }
        }
    }

    fn vm(&mut self, value: &TomlValue<'t>) -> Option<ConfiguredVm> {
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(&value.span(), "a VM is a table with a name and an address");
            return None;
        };
        let mut has_unknown = false;
        let (mut name, mut address, mut relays, mut silent_after) = (None, None, Vec::new(), None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some((self.parsed(value, "a name"), value.span())),
                "address" => {
                    let parsed = self.parsed(value, "an address");
                    self.warn_relative(value, parsed.as_ref().and_then(unix_path));
                    address = Some(parsed);
                }
                "relay" => relays = self.relays(value),
                "silent-after" => silent_after = self.silent_after(value),
                _ => {
                    has_unknown = true;
                    self.unknown(key, &["name", "address", "relay", "silent-after"]);
                }
            }
        }
        // A misspelt key would otherwise be reported twice: as unknown and as missing.
        if !has_unknown {
            if name.is_none() {
                self.problem(&value.span(), "this VM has no name; add: name = \"…\"");
            }
            if address.is_none() {
                self.problem(
                    &value.span(),
                    "this VM has no address; add: address = \"unix:/path/of/qmp.sock\"",
                );
            }
        }
        let (name, span) = name?;
        Some(ConfiguredVm {
            name: name?,
            address: address??,
            relays,
            silent_after,
            location: self.location(&span),
        })
    }

    fn silent_after(&mut self, value: &TomlValue<'t>) -> Option<SilentAfter> {
        self.parsed(value, "a span such as \"30s\", or \"off\",")
    }
}

/// The relays of the file and the command line.
pub(super) fn relays(
    file: &ConfigFile,
    attach: &[(VmName, Address)],
    directory: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Vec<(VmName, RelayConfig)> {
    let from_file = file.vms.iter().flat_map(|vm| {
        vm.relays.iter().map(|relay| (vm.name.clone(), relay.clone(), Some(vm.location.clone())))
    });
    let names = file.vms.iter().map(|vm| &vm.name).chain(attach.iter().map(|(name, _)| name));
    let from_directory = directory.into_iter().flat_map(|directory| {
        let relay = |name: &VmName| RelayConfig::new(directory.join(format!("{name}.qmp")));
        names.clone().map(move |name| (name.clone(), relay(name), None))
    });
    let mut paths = HashSet::new();
    let mut relays = Vec::new();
    for (name, relay, place) in from_file.chain(from_directory) {
        if paths.insert(relay.path.clone()) {
            relays.push((name, relay));
        } else {
            let path = relay.path.display();
            let message =
                format!("the relay {path} of {name} is configured twice; each relay needs a unique path");
            problems.push(Problem { location: place, message: message.into() });
        }
    }
    relays
}

/// The path of a unix socket's address.
fn unix_path(address: &Address) -> Option<&Path> {
    match address {
        Address::Unix { path, .. } => Some(path),
        Address::Tcp { .. } | Address::Fd { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_socket_path_is_warned_about_also_beside_problems() {
        let cases = [
            ("[[vm]]\nname = 'a'\naddress = './a.sock'", "hub.toml:3: ./a.sock"),
            ("[[vm]]\nname = 'a'\naddress = 'unix:a.sock'\njurnal = 1", "hub.toml:3: a.sock"),
            (
                "[[vm]]\nname = 'a'\naddress = '/a'\nrelay = ['r.qmp', {path = './s.qmp'}]",
                "hub.toml:4: r.qmp|hub.toml:4: ./s.qmp",
            ),
            ("http = ['./h.sock', '/g.sock', 'tcp:127.0.0.1:1']", "hub.toml:1: ./h.sock"),
            ("journal = 'j.db'", "hub.toml:1: j.db"),
            ("journal = '/j.db'\n[[vm]]\nname = 'a'\naddress = 'tcp:h:1'", ""),
        ];
        for (text, expected) in cases {
            let warnings = match ConfigFile::parse(text, Path::new("hub.toml")) {
                Ok(file) => file.warnings().to_vec(),
                Err(error) => error.warnings().to_vec(),
            };
            let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            let shown: Vec<&str> =
                shown.iter().filter_map(|warning| warning.split(" is a relative path").next()).collect();
            assert_eq!(shown.join("|"), expected, "{text}");
        }
    }

    #[test]
    fn invalid_file_is_refused_with_line_and_advice() {
        let cases: [(&str, &str, &str); 23] = [
            ("typo", "jurnal = '/j'", "hub.toml:1: unknown key \"jurnal\"; did you mean \"journal\"?"),
            ("case", "\nHTTP = '/h'", "hub.toml:2: unknown key \"HTTP\"; did you mean \"http\"?"),
            (
                "nothing near",
                "colour = 1",
                "hub.toml:1: unknown key \"colour\"; known here: journal, http, findings, silent-after, retention, vm, discover, rule",
            ),
            (
                "typo in a VM",
                "[[vm]]\nname = 'a'\nadress = '/a'",
                "hub.toml:3: unknown key \"adress\"; did you mean \"address\"?",
            ),
            (
                "twice",
                "[[vm]]\nname = 'a'\naddress = '/a'\n[[vm]]\naddress = '/b'\nname = 'a'",
                "hub.toml:6: the name \"a\" is used twice, here and in line 2; each VM needs a unique name",
            ),
            ("no name", "[[vm]]\naddress = '/a'", "hub.toml:1: this VM has no name; add: name = \"…\""),
            (
                "no address",
                "\n[[vm]]\nname = 'a'",
                "hub.toml:2: this VM has no address; add: address = \"unix:/path/of/qmp.sock\"",
            ),
            (
                "bad name",
                "[[vm]]\nname = '-a'\naddress = '/a'",
                "hub.toml:2: the name \"-a\" begins with '-'; the first character must be a letter or digit",
            ),
            ("number", "journal = 5", "hub.toml:1: expected a path in quotes, found integer"),
            ("no boolean", "findings = 'no'", "hub.toml:1: expected true or false, found string"),
            (
                "silence in no unit",
                "silent-after = '30'",
                "hub.toml:1: expected a unit after the number: ms, s, min, h, d or w; \"off\" to report no silence",
            ),
            (
                "silence without quotes",
                "silent-after = 30",
                "hub.toml:1: expected a span such as \"30s\", or \"off\", in quotes, found integer",
            ),
            (
                "silence of a VM too short",
                "[[vm]]\nname = 'a'\naddress = '/a'\nsilent-after = '10ms'",
                "hub.toml:4: from 1s to 1d; \"off\" to report no silence",
            ),
            (
                "silence of a rule",
                "[[discover]]\nprocesses = true\nsilent-after = 'never'",
                "hub.toml:3: expected a span such as 30s, 5min or 1h30m; \"off\" to report no silence",
            ),
            ("empty", "journal = ''", "hub.toml:1: expected a path, found an empty text"),
            (
                "single brackets",
                "[vm]\nname = 'a'",
                "hub.toml:1: a VM is written as [[vm]], in double brackets",
            ),
            ("not a table", "vm = ['a']", "hub.toml:1: a VM is a table with a name and an address"),
            (
                "public",
                "http = ['/h', 'tcp:0.0.0.0:80']",
                "hub.toml:1: tcp:0.0.0.0:80 can be reached from other hosts, so it needs a certificate and tokens, and \
                 has neither; add `certificate`, `key` and `token-file`, or serve at a unix socket or at 127.0.0.1",
            ),
            (
                "in two VMs",
                "[[vm]]\nname = 'a'\nsilent-after = '1'\n[[vm]]\nname = 'a'\naddress = '/b'",
                "hub.toml:1: this VM has no address; add: address = \"unix:/path/of/qmp.sock\"|\
                 hub.toml:3: expected a unit after the number: ms, s, min, h, d or w; \"off\" to report no silence|\
                 hub.toml:5: the name \"a\" is used twice, here and in line 2; each VM needs a unique name",
            ),
            (
                "relays beside another problem",
                "jurnal = 1\n[[vm]]\nname = 'a'\naddress = '/a'\nrelay = '/r'\n[[vm]]\nname = 'b'\naddress = '/b'\nrelay = '/r'",
                "hub.toml:1: unknown key \"jurnal\"; did you mean \"journal\"?|\
                 hub.toml:7: the relay /r of b is configured twice; each relay needs a unique path",
            ),
            (
                "bad http",
                "http = 'x'",
                "hub.toml:1: \"x\" is no address; write unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080",
            ),
            (
                "two at once",
                "a = 1\nvn = 2",
                "hub.toml:1: unknown key \"a\"; known here: journal, http, findings, silent-after, retention, vm, discover, rule|hub.toml:2: unknown key \"vn\"; did you mean \"vm\"?",
            ),
            ("not TOML", "journal = '/j'\njournal = '/k'", "hub.toml:2: duplicate key"),
        ];
        for (case, text, expected) in cases {
            assert_eq!(problems(text), expected, "{case}");
        }
    }

    #[test]
    fn invalid_address_is_reported_with_its_line() {
        let text = "[[vm]]\nname = 'a'\naddress = 'tcp:nowhere'";
        let reason = "tcp:nowhere".parse::<Address>().expect_err("no port").to_string();
        assert_eq!(problems(text), format!("hub.toml:3: {reason}"));
    }

    #[test]
    fn missing_file_is_reported_with_its_path() {
        let error = ConfigFile::read(Path::new("/nonexistent/hub.toml")).expect_err("missing").to_string();
        assert!(error.starts_with("cannot read the configuration /nonexistent/hub.toml: "), "{error}");
        let error = ConfigFile::read(Path::new("/dev/zero")).expect_err("endless").to_string();
        assert!(error.contains("/dev/zero: it has more than "), "{error}");
    }

    fn problems(text: &str) -> String {
        let error = ConfigFile::parse(text, Path::new("hub.toml")).expect_err(text);
        error.to_string().replace('\n', "|")
    }
}

//! The configuration file, read key by key so that each problem has its line.

mod values;
mod located;
mod conflicts;
mod unique_names;
mod relay;
mod discover;
mod from;
mod http;
mod retention;
mod rule;

use std::path::{Path, PathBuf};

use qmp_client::Address;
use qmp_http::HttpEndpoint;
use qmp_hub::discovery::DiscoveryRule;
use qmp_hub::relay::RelayConfig;
use qmp_hub::{FleetSourceConfig, SilentAfter, VmName};
use qmp_journal::Retention;
use qmp_settings::schema::KeySchema;
use qmp_settings::{Document, Location, Problem, Settings, TomlValue};
use qmp_sinks::{RuleConfig, check_host_name};
use toml::de::DeValue;

use super::error::ConfigError;
use super::schema;
use conflicts::Uses;
pub(super) use located::Located;
use unique_names::unique_names;

/// The longest configuration file, in bytes: 10,000 `[[vm]]` tables have 700 kB.
const CONFIG_MAX_BYTES: u64 = 4 << 20;

/// The content of a configuration file.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    pub(super) vms: Vec<ConfiguredVm>,
    pub(super) journal: Option<PathBuf>,
    pub(super) host: Option<Box<str>>,
    pub(super) http: Vec<Located<HttpEndpoint>>,
    pub(super) findings: Option<bool>,
    pub(super) silent_after: Option<SilentAfter>,
    pub(super) discover: Vec<DiscoveryRule>,
    pub(super) from: Vec<FleetSourceConfig>,
    pub(super) retention: Retention,
    pub(super) rules: Vec<RuleConfig>,
    /// The line of the action of each rule.
    pub(super) rule_locations: Vec<Location>,
    pub(super) warnings: Vec<Problem>,
}

#[derive(Clone, Debug)]
pub(super) struct ConfiguredVm {
    pub(super) name: VmName,
    pub(super) address: Address,
    pub(super) relays: Vec<Located<RelayConfig>>,
    pub(super) silent_after: Option<SilentAfter>,
    /// The line of the name.
    pub(super) location: Location,
    pub(super) address_location: Location,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] if it cannot be read, [`ConfigError::Wrong`] with all its problems.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = qmp_host::open_regular(path)
            .and_then(|file| qmp_host::read_text(file, CONFIG_MAX_BYTES))
            .map_err(|error| ConfigError::Read { path: path.into(), error })?;
        Self::parse(&text, path)
    }

    /// Reads `text`, the content of `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Wrong`] with all its problems.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut document = Document::new(text, path);
        let mut file = read_file(&mut document);
        let Document { mut problems, warnings, .. } = document;
        file.warnings = warnings;
        // Without other problems, this is checked together with the command line.
        if !problems.is_empty() {
            let relays = file.relays(&[], None);
            problems.extend(file.uses(&[], &file.http, &relays, file.journal.as_deref()).conflicts());
        }
        // The parser sorts the keys of a table by name.
        sort_by_line(&mut problems);
        if problems.is_empty() {
            return Ok(file);
        }
        Err(ConfigError::Wrong { problems, warnings: file.warnings })
    }

    /// The relays of the file and the command line.
    pub(super) fn relays(
        &self,
        attach: &[(VmName, Address)],
        directory: Option<&Path>,
    ) -> Vec<(VmName, Located<RelayConfig>)> {
        let from_file =
            self.vms.iter().flat_map(|vm| vm.relays.iter().map(|relay| (vm.name.clone(), relay.clone())));
        let names = self.vms.iter().map(|vm| &vm.name).chain(attach.iter().map(|(name, _)| name));
        let from_directory = directory.into_iter().flat_map(|directory| {
            let relay = |name: &VmName| RelayConfig::new(directory.join(format!("{name}.qmp")));
            names.clone().map(move |name| (name.clone(), Located::nowhere(relay(name))))
        });
        from_file.chain(from_directory).collect()
    }

    /// The addresses and files of the file and the command line.
    pub(super) fn uses<'c>(
        &'c self,
        attach: &'c [(VmName, Address)],
        http: &'c [Located<HttpEndpoint>],
        relays: &'c [(VmName, Located<RelayConfig>)],
        journal: Option<&'c Path>,
    ) -> Uses<'c> {
        let from_file = self.vms.iter().map(|vm| (&vm.name, &vm.address, Some(&vm.address_location)));
        let from_command_line = attach.iter().map(|(name, address)| (name, address, None));
        let rules = self.rules.iter().zip(&self.rule_locations).collect();
        Uses { http, vms: from_file.chain(from_command_line).collect(), relays, journal, rules }
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

pub(super) fn sort_by_line(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| problem.location.as_ref().map(|location| location.line));
}

fn read_file(document: &mut Document<'_>) -> ConfigFile {
    let Some(table) = document.top() else { return ConfigFile::default() };
    let mut settings = Settings { document, table: table.get_ref(), schema: &schema::HUB };
    settings.refuse_unknown();
    let rules = read(&mut settings, &schema::RULES, rule::rules);
    let (rules, rule_locations) = rules.into_iter().unzip();
    ConfigFile {
        journal: values::path(&mut settings, &schema::JOURNAL),
        host: host(&mut settings),
        http: read(&mut settings, &schema::HTTP, http::http),
        findings: settings.flag(&schema::FINDINGS),
        silent_after: settings.parsed(&schema::SILENT_AFTER),
        retention: read(&mut settings, &schema::RETENTION, retention::retention).unwrap_or_default(),
        vms: read(&mut settings, &schema::VMS, vms),
        discover: read(&mut settings, &schema::DISCOVER, discover::discover),
        from: read(&mut settings, &schema::FROM, from::sources),
        rules,
        rule_locations,
        warnings: Vec::new(),
    }
}

fn host(settings: &mut Settings<'_, '_>) -> Option<Box<str>> {
    let name = settings.text(&schema::HOST)?;
    match check_host_name(name) {
        Ok(()) => Some(name.into()),
        Err(error) => {
            settings.problem(&schema::HOST, &error.to_string());
            None
        }
    }
}

/// Reads a value that has a reader of its own; the default if the key is absent.
fn read<'t, T: Default>(
    settings: &mut Settings<'_, 't>,
    key: &KeySchema,
    reader: fn(&mut Document<'t>, &TomlValue<'t>) -> T,
) -> T {
    settings.get(key).map(|value| reader(settings.document, value)).unwrap_or_default()
}

fn vms<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<ConfiguredVm> {
    let DeValue::Array(tables) = value.get_ref() else {
        document.problem(&value.span(), "a VM is written as [[vm]], in double brackets");
        return Vec::new();
    };
    unique_names(document, tables, "VM");
    tables.iter().filter_map(|table| vm(document, table)).collect()
}

fn vm<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<ConfiguredVm> {
    let DeValue::Table(table) = value.get_ref() else {
        document.problem(&value.span(), "a VM is a table with a name and an address");
        return None;
    };
    let mut settings = Settings { document, table, schema: &schema::VM };
    let has_unknown = settings.refuse_unknown();
    let name = settings.parsed(&schema::VM_NAME);
    let address = settings.parsed(&schema::VM_ADDRESS);
    if let Some(value) = settings.get(&schema::VM_ADDRESS) {
        values::warn_relative(settings.document, value, address.as_ref().and_then(unix_path));
    }
    let relays = read(&mut settings, &schema::VM_RELAY, relay::relays);
    let silent_after = settings.parsed(&schema::VM_SILENT_AFTER);
    // A misspelt key would otherwise be reported twice: as unknown and as missing.
    if !has_unknown {
        let missing = [
            (&schema::VM_NAME, "this VM has no name; add: name = \"…\""),
            (&schema::VM_ADDRESS, "this VM has no address; add: address = \"unix:/path/of/qmp.sock\""),
        ];
        for (key, message) in missing {
            if settings.get(key).is_none() {
                settings.document.problem(&value.span(), message);
            }
        }
    }
    let location = |key: &KeySchema| settings.get(key).map(|value| settings.document.location(&value.span()));
    Some(ConfiguredVm {
        name: name?,
        address: address?,
        relays,
        silent_after,
        location: location(&schema::VM_NAME)?,
        address_location: location(&schema::VM_ADDRESS)?,
    })
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
        let cases: [(&str, &str, &str); 24] = [
            ("typo", "jurnal = '/j'", "hub.toml:1: unknown key \"jurnal\"; did you mean \"journal\"?"),
            ("case", "\nHTTP = '/h'", "hub.toml:2: unknown key \"HTTP\"; did you mean \"http\"?"),
            (
                "nothing near",
                "colour = 1",
                "hub.toml:1: unknown key \"colour\"; known here: journal, host, http, findings, silent-after, retention, vm, discover, from, rule",
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
                 hub.toml:9: the relay /r of b is configured twice; each relay needs a unique path",
            ),
            (
                "bad http",
                "http = 'x'",
                "hub.toml:1: \"x\" is no address; write unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080",
            ),
            (
                "two at once",
                "a = 1\nvn = 2",
                "hub.toml:1: unknown key \"a\"; known here: journal, host, http, findings, silent-after, retention, vm, discover, from, rule|hub.toml:2: unknown key \"vn\"; did you mean \"vm\"?",
            ),
            (
                "stream without a server, twice, and with a wrong name",
                "[[from]]\nstream = 'a'\n[[from]]\nnats = 'nats://h'\n[[from]]\nnats = 'nats://h'\n[[from]]\nnats = 'x'\nstream = 'a.b'",
                "hub.toml:1: this stream has no server; add: nats = \"nats://…\"|\
                 hub.toml:5: the stream nats://h/qmp is read twice; name each one once|\
                 hub.toml:8: expected an address such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.org\"|\
                 hub.toml:9: \"a.b\" is no name of a stream: it has no blanks, '.', '*', '>' or slashes, and is not empty",
            ),
            ("not TOML", "journal = '/j'\njournal = '/k'", "hub.toml:2: duplicate key journal"),
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
        assert!(error.contains("/dev/zero: it is a device; write a regular file"), "{error}");
    }

    fn problems(text: &str) -> String {
        let error = ConfigFile::parse(text, Path::new("hub.toml")).expect_err(text);
        error.to_string().replace('\n', "|")
    }
}

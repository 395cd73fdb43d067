//! The key `relay` of a VM: a path, a table, or a list of both.

use std::path::Path;

use qmp_hub::relay::{RelayConfig, Role};
use qmp_journal::Globs;
use qmp_settings::TomlValue;
use toml::de::DeValue;

use super::document::ConfigDocument;

/// The members of a relay's table.
#[derive(Default)]
struct Table {
    path: Option<String>,
    operates: bool,
    mode: Option<u32>,
    allow: Option<Globs>,
    uids: Vec<u32>,
    gids: Vec<u32>,
    pretty: bool,
}

const KEYS: [&str; 7] = ["path", "role", "mode", "allow", "uids", "gids", "pretty"];

impl<'t> ConfigDocument<'t> {
    pub(super) fn relays(&mut self, value: &TomlValue<'t>) -> Vec<RelayConfig> {
        match value.get_ref() {
            DeValue::Array(relays) => relays.iter().filter_map(|relay| self.relay(relay)).collect(),
            _ => self.relay(value).into_iter().collect(),
        }
    }

    fn relay(&mut self, value: &TomlValue<'t>) -> Option<RelayConfig> {
        let DeValue::Table(members) = value.get_ref() else {
            let path = self.string(value, "a path, or a table with a path,");
            self.warn_relative(value, path.map(Path::new));
            return path.map(RelayConfig::new);
        };
        let problems_before = self.problems.len();
        let mut table = Table::default();
        for (key, value) in members {
            match key.get_ref().as_ref() {
                "path" => {
                    table.path = self.string(value, "a path").map(str::to_owned);
                    self.warn_relative(value, table.path.as_deref().map(Path::new));
                }
                "role" => table.operates = self.operates(value),
                "mode" => table.mode = self.mode(value),
                "allow" => table.allow = self.allow(value),
                "uids" => table.uids = self.numbers(value, "a list of user ids such as [1000]"),
                "gids" => table.gids = self.numbers(value, "a list of group ids such as [107]"),
                "pretty" => table.pretty = self.yes_or_no(value).unwrap_or_default(),
                _ => self.unknown(key, &KEYS),
            }
        }
        if self.problems.len() > problems_before {
            return None;
        }
        let Some(path) = table.path else {
            self.problem(&value.span(), "this relay has no path; add: path = \"/run/qmp-events/NAME.qmp\"");
            return None;
        };
        let role = match (table.operates, table.allow) {
            (true, allow) => Role::Operate { allow: allow.unwrap_or_default() },
            (false, None) => Role::Observe,
            (false, Some(_)) => {
                self.problem(&value.span(), "`allow` is only for operators; add: role = \"operate\"");
                return None;
            }
        };
        let RelayConfig { mode, .. } = RelayConfig::new("");
        let (mode, pretty) = (table.mode.unwrap_or(mode), table.pretty);
        Some(RelayConfig { path: path.into(), role, mode, uids: table.uids, gids: table.gids, pretty })
    }

    /// Whether the value is the role of an operator.
    fn operates(&mut self, value: &TomlValue<'t>) -> bool {
        match self.string(value, "\"observe\" or \"operate\"") {
            Some(role @ ("observe" | "operate")) => return role == "operate",
            Some(other) => {
                let message = format!("unknown role \"{other}\"; write \"observe\" or \"operate\"");
                self.problem(&value.span(), &message);
            }
            None => {}
        }
        false
    }

    /// `0o660`, or `"0660"` as in chmod.
    pub(super) fn mode(&mut self, value: &TomlValue<'t>) -> Option<u32> {
        let mode = match value.get_ref() {
            DeValue::Integer(_) => number(value),
            DeValue::String(text) => u32::from_str_radix(text, 8).ok(),
            _ => None,
        };
        let mode = mode.filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            self.problem(&value.span(), "expected the permissions of a file, such as 0o660");
        }
        mode
    }

    fn allow(&mut self, value: &TomlValue<'t>) -> Option<Globs> {
        let DeValue::Array(patterns) = value.get_ref() else {
            self.problem(&value.span(), "expected a list of commands, such as [\"stop\", \"block*\"]");
            return None;
        };
        if patterns.is_empty() {
            self.problem(&value.span(), "an empty list allows nothing; leave it out to allow everything");
            return None;
        }
        let patterns: Vec<_> =
            patterns.iter().filter_map(|pattern| self.string(pattern, "the name of a command")).collect();
        match Globs::parse(patterns) {
            Ok(globs) => Some(globs),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }

    fn numbers(&mut self, value: &TomlValue<'t>, expected: &str) -> Vec<u32> {
        let numbers: Option<Vec<u32>> = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(number).collect(),
            _ => None,
        };
        // An empty list would permit every user, which is unlikely to be the intention.
        let numbers = numbers.filter(|numbers| !numbers.is_empty());
        if numbers.is_none() {
            self.problem(&value.span(), &format!("expected {expected}"));
        }
        numbers.unwrap_or_default()
    }
}

fn number(value: &TomlValue<'_>) -> Option<u32> {
    let integer = value.get_ref().as_integer()?;
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::ConfigFile;

    #[test]
    fn relay_takes_paths_and_tables() {
        let cases = [
            ("relay = '/r'", "/r observe 600 [] [] compact"),
            ("relay = ['/r', '/s']", "/r observe 600 [] [] compact|/s observe 600 [] [] compact"),
            ("relay = { path = '/r', role = 'operate' }", "/r operate 600 [] [] compact"),
            (
                "[[vm.relay]]\npath = '/r'\nrole = 'operate'\nallow = ['stop']\nmode = 0o660\nuids = [0, 7]\n\
                 gids = [0x6b]\npretty = true",
                "/r operate stop 660 [0, 7] [107] pretty",
            ),
            ("relay = { path = '/r', mode = '0666' }", "/r observe 666 [] [] compact"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_relay_is_refused_with_line_and_advice() {
        let cases = [
            ("relay = 5", "4: expected a path, or a table with a path, in quotes, found integer"),
            ("relay = {}", "4: this relay has no path; add: path = \"/run/qmp-events/NAME.qmp\""),
            ("relay = { paht = '/r' }", "4: unknown key \"paht\"; did you mean \"path\"?"),
            (
                "relay = { path = '/r', role = 'root' }",
                "4: unknown role \"root\"; write \"observe\" or \"operate\"",
            ),
            (
                "[[vm.relay]]\npath = '/r'\nrole = 'root'\nmode = 9999",
                "6: unknown role \"root\"; write \"observe\" or \"operate\"\n\
                 hub.toml:7: expected the permissions of a file, such as 0o660",
            ),
            (
                "relay = { path = '/r', allow = ['stop'] }",
                "4: `allow` is only for operators; add: role = \"operate\"",
            ),
            (
                "relay = { path = '/r', role = 'operate', allow = [] }",
                "4: an empty list allows nothing; leave it out to allow everything",
            ),
            ("relay = { path = '/r', uids = [] }", "4: expected a list of user ids such as [1000]"),
            ("relay = { path = '/r', gids = [-1] }", "4: expected a list of group ids such as [107]"),
            (
                "relay = { path = '/r', mode = 0o4755 }",
                "4: expected the permissions of a file, such as 0o660",
            ),
            ("relay = { path = '/r', pretty = 1 }", "4: expected true or false, found integer"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), format!("hub.toml:{expected}"), "{text}");
        }
    }

    fn read(text: &str) -> String {
        let text = format!("[[vm]]\nname = 'a'\naddress = '/a'\n{text}");
        match ConfigFile::parse(&text, Path::new("hub.toml")) {
            Err(error) => error.to_string(),
            Ok(file) => file.vms[0].relays.iter().map(shown).collect::<Vec<_>>().join("|"),
        }
    }

    fn shown(relay: &super::RelayConfig) -> String {
        let role = match &relay.role {
            super::Role::Observe => "observe",
            super::Role::Operate { allow } if allow.is_any() => "operate",
            super::Role::Operate { allow } => {
                assert!(allow.matches("stop") && !allow.matches("cont"));
                "operate stop"
            }
        };
        let form = if relay.pretty { "pretty" } else { "compact" };
        let path = relay.path.display();
        format!("{path} {role} {:o} {:?} {:?} {form}", relay.mode, relay.uids, relay.gids)
    }
}

//! The key `relay` of a VM: a path, a table, or a list of both.

use std::path::Path;

use qmp_host::SocketAccess;
use qmp_hub::relay::{RelayConfig, Role};
use qmp_settings::schema::KeySchema;
use qmp_settings::{Document, Settings, TomlValue};
use toml::de::DeValue;

use super::located::Located;
use super::values;
use crate::config::schema::relay as keys;

/// Reads the value of `relay`.
pub(super) fn relays<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<Located<RelayConfig>> {
    match value.get_ref() {
        DeValue::Array(relays) => relays.iter().filter_map(|value| located(document, value)).collect(),
        _ => located(document, value).into_iter().collect(),
    }
}

fn located<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<Located<RelayConfig>> {
    let path = value.get_ref().get(keys::PATH.name).unwrap_or(value);
    let location = Some(document.location(&path.span()));
    relay(document, value).map(|value| Located { value, location })
}

fn relay<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<RelayConfig> {
    let DeValue::Table(table) = value.get_ref() else {
        let path = document.string(value, keys::EXPECTED);
        values::warn_relative(document, value, path.map(Path::new));
        return path.map(RelayConfig::new);
    };
    let problems_before = document.problems.len();
    let mut settings = Settings { document, table, schema: &keys::RELAY };
    settings.refuse_unknown();
    let path = values::path(&mut settings, &keys::PATH);
    let is_operator = is_operator(&mut settings);
    let (mode, group) =
        (values::mode(&mut settings, &keys::MODE), values::group(&mut settings, &keys::GROUP));
    let access = SocketAccess::new(mode, group);
    let about_empty = "an empty list allows nothing; leave it out to allow everything";
    let allow = values::patterns(&mut settings, &keys::ALLOW, "the name of a command", about_empty);
    let (uids, gids) = (numbers(&mut settings, &keys::UIDS), numbers(&mut settings, &keys::GIDS));
    let pretty = settings.flag(&keys::PRETTY).unwrap_or_default();
    if document.problems.len() > problems_before {
        return None;
    }
    let Some(path) = path else {
        document.problem(&value.span(), "this relay has no path; add: path = \"/run/qmp-events/NAME.qmp\"");
        return None;
    };
    let role = match (is_operator, allow) {
        (true, allow) => Role::Operate { allow: allow.unwrap_or_default() },
        (false, None) => Role::Observe,
        (false, Some(_)) => {
            document.problem(&value.span(), "`allow` is only for operators; add: role = \"operate\"");
            return None;
        }
    };
    Some(RelayConfig { path, role, access, uids, gids, pretty })
}

/// Whether the role is that of an operator.
fn is_operator(settings: &mut Settings<'_, '_>) -> bool {
    match settings.text(&keys::ROLE) {
        Some("operate") => true,
        None | Some("observe") => false,
        Some(other) => {
            let message = format!("unknown role \"{other}\"; write {}", keys::ROLE.expected);
            settings.problem(&keys::ROLE, &message);
            false
        }
    }
}

fn numbers(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Vec<u32> {
    let Some(value) = settings.get(key) else { return Vec::new() };
    let number = |value: &TomlValue<'_>| {
        let number = value.get_ref().as_integer()?;
        u32::from_str_radix(number.as_str(), number.radix()).ok()
    };
    let numbers: Option<Vec<u32>> = match value.get_ref() {
        DeValue::Array(values) => values.iter().map(number).collect(),
        _ => None,
    };
    // An empty list would permit every user, which is unlikely to be the intention.
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    if numbers.is_none() {
        settings.problem(key, &format!("expected {}", key.expected));
    }
    numbers.unwrap_or_default()
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
            ("relay = { path = '/r', group = 'root' }", "/r observe 660 [] [] compact"),
            ("relay = { path = '/r', group = '107', mode = 0o620 }", "/r observe 620 [] [] compact"),
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
            Ok(file) => {
                file.vms[0].relays.iter().map(|relay| shown(&relay.value)).collect::<Vec<_>>().join("|")
            }
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
        format!("{path} {role} {:o} {:?} {:?} {form}", relay.access.mode, relay.uids, relay.gids)
    }
}

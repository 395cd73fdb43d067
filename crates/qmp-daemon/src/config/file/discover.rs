//! The tables `[[discover]]`: the rules of discovery.

use std::ops::Range;
use std::path::PathBuf;

use qmp_hub::discovery::{DiscoveryRule, Layout, PathPattern, Source};
use qmp_hub::relay::RelayConfig;
use qmp_journal::Globs;
use qmp_settings::schema::KeySchema;
use qmp_settings::{Document, Settings, TomlValue};
use toml::de::DeValue;

use super::{relay, values};
use crate::config::schema::discover as keys;

/// Reads all tables.
pub(super) fn discover<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<DiscoveryRule> {
    let DeValue::Array(tables) = value.get_ref() else {
        document.problem(&value.span(), "a rule of discovery is written as [[discover]], in double brackets");
        return Vec::new();
    };
    tables.iter().filter_map(|table| rule(document, table)).collect()
}

fn rule<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<DiscoveryRule> {
    let DeValue::Table(table) = value.get_ref() else {
        let message = "a rule of discovery is a table such as { glob = \"/run/vm/*.sock\" }";
        document.problem(&value.span(), message);
        return None;
    };
    let problems_before = document.problems.len();
    let mut settings = Settings { document, table, schema: &keys::RULE };
    settings.refuse_unknown();
    let sources = sources(&mut settings);
    let root = settings.text(&keys::ROOT).map(PathBuf::from);
    let mode = values::mode(&mut settings, &keys::MODE);
    let commands = settings.flag(&keys::COMMANDS);
    let name = settings.parsed(&keys::NAME);
    let relays = relays(&mut settings);
    let only = names(&mut settings, &keys::ONLY);
    let exclude = names(&mut settings, &keys::EXCLUDE);
    let silent_after = settings.parsed(&keys::SILENT_AFTER);
    if document.problems.len() > problems_before {
        return None;
    }
    let source = with_options(document, &value.span(), sources, root, mode)?;
    if commands.is_some() && !matches!(source, Source::Libvirt(_)) {
        let message =
            "`commands` is for domains that are followed through libvirt; other VMs take commands anyway";
        document.problem(&value.span(), message);
        return None;
    }
    if matches!(source, Source::Libvirt(_)) && !relays.is_empty() {
        document.problem(&value.span(), keys::RELAY_THROUGH_LIBVIRT);
        return None;
    }
    if matches!(source, Source::Libvirt(_)) && silent_after.is_some() {
        let message = "`silent-after` has no effect on domains that are followed through libvirt: they are not probed; remove it";
        document.problem(&value.span(), message);
        return None;
    }
    let rule = DiscoveryRule::new(source);
    let dial_in_mode = mode.unwrap_or(rule.dial_in_mode);
    let (name, only) = (name.unwrap_or_default(), only.unwrap_or_default());
    let commands = commands.unwrap_or_default();
    Some(DiscoveryRule { name, relays, only, exclude, dial_in_mode, commands, silent_after, ..rule })
}

/// Reads the sources, of which a table has exactly one.
fn sources(settings: &mut Settings<'_, '_>) -> Vec<Source> {
    let glob = settings.parsed::<PathPattern>(&keys::GLOB).map(Source::Paths);
    let layout = settings.parsed::<Layout>(&keys::LAYOUT).map(|layout| Source::Layout { layout, root: None });
    let libvirt = settings.parsed(&keys::LIBVIRT).map(Source::Libvirt);
    let found = [glob, directory(settings), layout, processes(settings), dial_in(settings), libvirt];
    found.into_iter().flatten().collect()
}

fn directory(settings: &mut Settings<'_, '_>) -> Option<Source> {
    let path = settings.text(&keys::DIRECTORY)?;
    let pattern = PathPattern::directory(path);
    pattern
        .inspect_err(|error| settings.problem(&keys::DIRECTORY, &error.to_string()))
        .map(Source::Paths)
        .ok()
}

fn processes(settings: &mut Settings<'_, '_>) -> Option<Source> {
    let flag = settings.flag(&keys::PROCESSES)?;
    if !flag {
        settings.problem(&keys::PROCESSES, "leave the table out to ignore processes");
    }
    flag.then_some(Source::Processes)
}

fn dial_in(settings: &mut Settings<'_, '_>) -> Option<Source> {
    let address = settings.parsed(&keys::LISTEN)?;
    Source::dial_in(address).inspect_err(|error| settings.problem(&keys::LISTEN, &error.to_string())).ok()
}

/// The one source, with the options that are for it alone.
fn with_options(
    document: &mut Document<'_>,
    span: &Range<usize>,
    sources: Vec<Source>,
    root: Option<PathBuf>,
    mode: Option<u32>,
) -> Option<Source> {
    let mut source = match <[_; 1]>::try_from(sources) {
        Ok([source]) => source,
        Err(sources) => {
            let many = if sources.is_empty() { "has no source" } else { "has several sources" };
            let known: Vec<&str> = keys::RULE.variants.iter().map(|source| source.key.name).collect();
            document.problem(span, &format!("this table {many}; use one of {}", known.join(", ")));
            return None;
        }
    };
    match &mut source {
        Source::Layout { root: usual, .. } => *usual = root,
        _ if root.is_some() => {
            document.problem(span, "`root` requires a layout");
            return None;
        }
        _ => {}
    }
    if mode.is_some() && !matches!(source, Source::DialIn(_)) {
        document.problem(span, "`mode` is for the socket at which QEMUs dial in; add: listen = \"unix:…\"");
        return None;
    }
    Some(source)
}

fn relays(settings: &mut Settings<'_, '_>) -> Vec<RelayConfig> {
    let Some(value) = settings.get(&keys::RELAY) else { return Vec::new() };
    let relays = relay::relays(settings.document, value).into_iter().map(|relay| relay.value);
    let relays: Vec<RelayConfig> = relays.collect();
    if relays.iter().any(|relay| !relay.path.to_string_lossy().contains("{name}")) {
        settings.problem(&keys::RELAY, "each VM needs its own relay; put {name} into the path");
    }
    relays
}

fn names(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Option<Globs> {
    values::patterns(settings, key, "a name", "an empty list has no effect; leave it out")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::ConfigFile;

    #[test]
    fn valid_rule_is_parsed() {
        let cases = [
            ("glob = '/run/vm/*.sock'", "/run/vm/*.sock {name} 0"),
            ("directory = '/run/vm'", "/run/vm {name} 0"),
            ("layout = 'libvirt'", "libvirt {name} 0"),
            ("layout = 'libvirt'\nroot = '/srv'", "libvirt in /srv {name} 0"),
            ("processes = true\nname = 'x-{name}'", "processes x-{name} 0"),
            ("listen = 'unix:/run/d.sock'\nmode = 0o666", "unix:/run/d.sock,server=on {name} 0 666"),
            ("listen = 'tcp:[::1]:4'", "tcp:[::1]:4,server=on {name} 0"),
            (
                "libvirt = 'qemu:///system'\nname = '{host}-{name}'",
                "libvirt at qemu:///system {host}-{name} 0",
            ),
            ("libvirt = 'unix:/run/b.sock'\ncommands = false", "libvirt at unix:/run/b.sock {name} 0"),
            ("libvirt = 'qemu:///session'\ncommands = true", "libvirt at qemu:///session {name} 0 commands"),
            ("processes = true\nsilent-after = 'off'", "processes {name} 0 silent off"),
            ("processes = true\nrelay = '/r/{name}'\nexclude = ['a*']", "processes {name} 1 without a*"),
            (
                "processes = true\n[[discover.relay]]\npath = '/{name}'\nrole = 'operate'",
                "processes {name} 1",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_rule_is_refused_with_line_and_advice() {
        let sources = "use one of glob, directory, layout, processes, listen, libvirt";
        let cases = [
            ("", format!("1: this table has no source; {sources}")),
            ("processes = true\nglob = '/a/*'", format!("1: this table has several sources; {sources}")),
            ("glop = '/a'", "2: unknown key \"glop\"; did you mean \"glob\"?".into()),
            (
                "glob = '/a/**'",
                "2: \"/a/**\": ** is not known here; write * for each directory between".into(),
            ),
            (
                "layout = 'virt'",
                "2: \"virt\" is no layout; there are libvirt, proxmox, incus, ganeti, kata".into(),
            ),
            (
                "libvirt = 'qemu+ssh://host/system'",
                "2: `qemu+ssh://host/system` is no daemon that can be followed: write qemu:///system, qemu:///session \
                 or unix:PATH"
                    .into(),
            ),
            (
                "libvirt = 'qemu:///system'\nrelay = '/r/{name}'",
                "1: a relay needs the VM's own monitor, which libvirt holds; give the VM a second one, and follow that"
                    .into(),
            ),
            (
                "libvirt = 'qemu:///system'\nsilent-after = '10s'",
                "1: `silent-after` has no effect on domains that are followed through libvirt: they are not probed; remove it"
                    .into(),
            ),
            ("processes = false", "2: leave the table out to ignore processes".into()),
            ("processes = 1", "2: expected true or false, found integer".into()),
            (
                "listen = 'tcp:10.0.0.1:4'",
                "2: QEMUs cannot dial in at tcp:10.0.0.1:4; write unix:/run/qmp-events/dial-in.sock or \
                 tcp:127.0.0.1:PORT"
                    .into(),
            ),
            ("processes = true\nroot = '/a'", "1: `root` requires a layout".into()),
            (
                "processes = true\nmode = 0o666",
                "1: `mode` is for the socket at which QEMUs dial in; add: listen = \"unix:…\"".into(),
            ),
            (
                "processes = true\nrelay = '/r'",
                "3: each VM needs its own relay; put {name} into the path".into(),
            ),
            (
                "processes = true\ncommands = true",
                "1: `commands` is for domains that are followed through libvirt; other VMs take commands anyway".into(),
            ),
            ("processes = true\nonly = []", "3: an empty list has no effect; leave it out".into()),
            ("processes = true\nexclude = 'a'", "3: expected a list of names, such as [\"test-*\"]".into()),
            (
                "processes = true\nname = 'x'",
                "3: \"x\" gives all VMs one name; put {name}, {stem} or {directory} into it".into(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), format!("hub.toml:{expected}"), "{text}");
        }
    }

    fn read(text: &str) -> String {
        let rule = match ConfigFile::parse(&format!("[[discover]]\n{text}"), Path::new("hub.toml")) {
            Err(error) => return error.to_string(),
            Ok(file) => file.discover.into_iter().next().expect("a rule"),
        };
        let mut shown = format!("{} {} {}", rule.source, rule.name, rule.relays.len());
        if rule.dial_in_mode != 0o600 {
            shown += &format!(" {:o}", rule.dial_in_mode);
        }
        if !rule.only.is_any() {
            assert!(rule.only.matches("abc") && !rule.only.matches("b"));
            shown += " only ab*";
        }
        if let Some(excluded) = rule.exclude {
            assert!(excluded.matches("abc") && !excluded.matches("b"));
            shown += " without a*";
        }
        if rule.commands {
            shown += " commands";
        }
        if let Some(silent_after) = rule.silent_after {
            shown += &format!(" silent {silent_after}");
        }
        shown
    }
}

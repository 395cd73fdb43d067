//! The tables `[[discover]]`: the rules of discovery.

use std::path::PathBuf;

use qmp_hub::SilentAfter;
use qmp_hub::discovery::{DiscoveryRule, Layout, PathPattern, Source, Template};
use qmp_journal::Globs;
use qmp_settings::TomlValue;
use toml::de::DeValue;

use super::document::ConfigDocument;

/// The keys of sources; a table has exactly one.
const SOURCES: [&str; 5] = ["glob", "directory", "layout", "processes", "listen"];

const KEYS: [&str; 12] = [
    "glob",
    "directory",
    "layout",
    "processes",
    "listen",
    "root",
    "mode",
    "name",
    "relay",
    "only",
    "exclude",
    "silent-after",
];

/// The members of a table besides its relays.
#[derive(Default)]
struct Table {
    sources: Vec<Option<Source>>,
    root: Option<PathBuf>,
    mode: Option<u32>,
    name: Option<Template>,
    only: Option<Globs>,
    exclude: Option<Globs>,
    silent_after: Option<SilentAfter>,
}

impl<'t> ConfigDocument<'t> {
    pub(super) fn discover(&mut self, value: &TomlValue<'t>) -> Vec<DiscoveryRule> {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(&value.span(), "a rule of discovery is written as [[discover]], in double brackets");
            return Vec::new();
        };
        tables.iter().filter_map(|table| self.one_discovery(table)).collect()
    }

    fn one_discovery(&mut self, value: &TomlValue<'t>) -> Option<DiscoveryRule> {
        let DeValue::Table(members) = value.get_ref() else {
            self.problem(
                &value.span(),
                "a rule of discovery is a table such as { glob = \"/run/vm/*.sock\" }",
            );
            return None;
        };
        let problems_before = self.problems.len();
        let mut table = Table::default();
        let mut relays = Vec::new();
        for (key, value) in members {
            match key.get_ref().as_ref() {
                "glob" => {
                    let pattern = self.parsed::<PathPattern>(value, "a path such as /run/vm/*.sock");
                    table.sources.push(pattern.map(Source::Paths));
                }
                "directory" => table.sources.push(self.directory(value)),
                "layout" => {
                    let layout = self.parsed::<Layout>(value, "the name of a layout such as libvirt");
                    table.sources.push(layout.map(|layout| Source::Layout { layout, root: None }));
                }
                "processes" => match self.yes_or_no(value) {
                    Some(false) => self.problem(&value.span(), "leave the table out to ignore processes"),
                    flag => table.sources.push(flag.map(|_| Source::Processes)),
                },
                "listen" => table.sources.push(self.dial_in(value)),
                "root" => table.root = self.string(value, "a directory").map(PathBuf::from),
                "mode" => table.mode = self.mode(value),
                "name" => table.name = self.parsed(value, "a template such as pve-{name}"),
                "relay" => {
                    relays = self.relays(value);
                    if relays.iter().any(|relay| !relay.path.to_string_lossy().contains("{name}")) {
                        self.problem(&value.span(), "each VM needs its own relay; put {name} into the path");
                    }
                }
                "only" => table.only = self.names(value),
                "exclude" => table.exclude = self.names(value),
                "silent-after" => table.silent_after = self.silent_after(value),
                _ => self.unknown(key, &KEYS),
            }
        }
        if self.problems.len() > problems_before {
            return None;
        }
        let span = value.span();
        let Table { sources, root, mode, name, only, exclude, silent_after } = table;
        let mut source = match <[_; 1]>::try_from(sources) {
            Ok([source]) => source?,
            Err(sources) => {
                let many = if sources.is_empty() { "has no source" } else { "has several sources" };
                self.problem(&span, &format!("this table {many}; use one of {}", SOURCES.join(", ")));
                return None;
            }
        };
        if let Some(moved) = root {
            let Source::Layout { root, .. } = &mut source else {
                self.problem(&span, "`root` requires a layout");
                return None;
            };
            *root = Some(moved);
        }
        if mode.is_some() && !matches!(source, Source::DialIn(_)) {
            self.problem(&span, "`mode` is for the socket at which QEMUs dial in; add: listen = \"unix:…\"");
            return None;
        }
        let rule = DiscoveryRule::new(source);
        let dial_in_mode = mode.unwrap_or(rule.dial_in_mode);
        let (name, only) = (name.unwrap_or_default(), only.unwrap_or_default());
        Some(DiscoveryRule { name, relays, only, exclude, dial_in_mode, silent_after, ..rule })
    }

    fn directory(&mut self, value: &TomlValue<'t>) -> Option<Source> {
        let path = self.string(value, "a directory")?;
        match PathPattern::directory(path) {
            Ok(pattern) => Some(Source::Paths(pattern)),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }

    fn dial_in(&mut self, value: &TomlValue<'t>) -> Option<Source> {
        let address = self.parsed(value, "an address such as unix:/run/qmp-events/dial-in.sock")?;
        match Source::dial_in(address) {
            Ok(source) => Some(source),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }

    fn names(&mut self, value: &TomlValue<'t>) -> Option<Globs> {
        let DeValue::Array(patterns) = value.get_ref() else {
            self.problem(&value.span(), "expected a list of names, such as [\"test-*\"]");
            return None;
        };
        let patterns: Vec<_> = patterns.iter().filter_map(|pattern| self.string(pattern, "a name")).collect();
        if patterns.is_empty() {
            self.problem(&value.span(), "an empty list has no effect; leave it out");
            return None;
        }
        match Globs::parse(patterns) {
            Ok(globs) => Some(globs),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }
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
        let sources = "use one of glob, directory, layout, processes, listen";
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
        if let Some(silent_after) = rule.silent_after {
            shown += &format!(" silent {silent_after}");
        }
        shown
    }
}

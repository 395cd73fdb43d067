//! The example of a configuration file with every key, `dist/hub.toml`.

use std::collections::BTreeSet;

use qmp_settings::schema::{KeySchema, Presence, TableSchema};

use super::schema::{
    FINDINGS, HOST, HTTP, HUB, JOURNAL, RETENTION_TABLE, SILENT_AFTER, VM, discover, from, http, relay, rule,
};

/// Columns of the example.
const COLUMNS: usize = 120;

const INTRODUCTION: &str = "\
# The hub's configuration, /etc/qmp-events/hub.toml, with every key that exists, most of them commented out.
# Check it:  qmp serve --config /etc/qmp-events/hub.toml --check-config
# Reload it: systemctl reload qmp-events
# docs/configuration.md is the reference; qmp serve --print-config-schema prints a JSON Schema for editors.
";

/// A table of the example: its header, and its keys; a value replaces the example of the schema.
type Block = (&'static TableSchema, &'static str, &'static [(&'static str, &'static str)]);

/// The table that is not commented out: with it, a hub finds VMs without a change of the example.
const ACTIVE: (&str, &str) = ("processes", "");

const BLOCKS: &[Block] = &[
    (&RETENTION_TABLE, "[retention]", &[("max-age", ""), ("max-size", "")]),
    (&VM, "[[vm]]", &[("name", ""), ("address", ""), ("relay", ""), ("silent-after", "")]),
    (&VM, "[[vm]]", &[("name", "\"db1\""), ("address", "\"tcp:192.0.2.7:4444\"")]),
    (
        &relay::RELAY,
        "[[vm.relay]]",
        &[
            ("path", ""),
            ("role", ""),
            ("allow", ""),
            ("mode", ""),
            ("group", ""),
            ("uids", ""),
            ("gids", ""),
            ("pretty", ""),
        ],
    ),
    (
        &discover::RULE,
        "[[discover]]",
        &[("glob", ""), ("name", ""), ("relay", ""), ("only", ""), ("exclude", ""), ("silent-after", "")],
    ),
    (&discover::RULE, "[[discover]]", &[("directory", "")]),
    (&discover::RULE, "[[discover]]", &[("layout", ""), ("root", "")]),
    (&discover::RULE, "[[discover]]", &[("libvirt", ""), ("commands", "")]),
    (&discover::RULE, "[[discover]]", &[("processes", "")]),
    (&discover::RULE, "[[discover]]", &[("listen", ""), ("mode", "")]),
    (
        &from::SOURCE,
        "[[from]]",
        &[
            ("nats", ""),
            ("stream", ""),
            ("host", ""),
            ("credentials-file", ""),
            ("ca-file", ""),
            ("certificate", ""),
        ],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[
            ("name", ""),
            ("event", ""),
            ("vm", ""),
            ("host", ""),
            ("where", ""),
            ("at-most", ""),
            ("run", ""),
            ("timeout", ""),
            ("attempts", ""),
        ],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[
            ("name", "\"stopped\""),
            ("state", ""),
            ("for", ""),
            ("vm", ""),
            ("run", "[\"/usr/local/bin/page\"]"),
        ],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[("name", "\"tickets\""), ("finding", ""), ("webhook", ""), ("secret-file", ""), ("ca-file", "")],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[
            ("name", "\"chat\""),
            ("finding", "\"storm\""),
            ("webhook", "\"https://chat.example.org/hooks/KEY\""),
            ("body", ""),
            ("headers", ""),
        ],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[("name", "\"logs\""), ("otlp", ""), ("headers", "\"Authorization: Bearer TOKEN\"")],
    ),
    (&rule::RULE, "[[rule]]", &[("name", "\"journal\""), ("kind", ""), ("journald", "")]),
    (
        &rule::RULE,
        "[[rule]]",
        &[
            ("name", "\"archive\""),
            ("from", ""),
            ("file", ""),
            ("max-size", ""),
            ("max-age", ""),
            ("keep", ""),
        ],
    ),
    (
        &rule::RULE,
        "[[rule]]",
        &[
            ("name", "\"fleet\""),
            ("from", ""),
            ("nats", ""),
            ("stream", ""),
            ("replicas", ""),
            ("stream-max-age", ""),
            ("stream-max-bytes", ""),
            ("window", ""),
            ("credentials-file", ""),
            ("ca-file", ""),
            ("certificate", ""),
            ("monitoring", ""),
        ],
    ),
];

/// Returns the example.
#[must_use]
pub fn config_example() -> String {
    let mut example = Example { text: INTRODUCTION.to_owned(), explained: BTreeSet::new() };
    example.text.push('\n');
    example.key(&HUB, &JOURNAL, JOURNAL.example, "");
    example.text.push('\n');
    example.key(&HUB, &HTTP, HTTP.example, "");
    example.endpoint();
    for key in [&HOST, &FINDINGS, &SILENT_AFTER] {
        example.text.push('\n');
        example.key(&HUB, key, key.example, "#");
    }
    for (table, header, keys) in BLOCKS {
        example.block(table, header, keys);
    }
    example.text
}

struct Example {
    text: String,
    /// The headers of tables, and keys with those of their tables, that have their comment.
    explained: BTreeSet<(&'static str, &'static str)>,
}

impl Example {
    fn block(&mut self, table: &'static TableSchema, header: &str, keys: &[(&'static str, &str)]) {
        self.text.push('\n');
        if self.explained.insert((table.header, "")) {
            let names: Vec<&str> = table.variants.iter().map(|variant| variant.key.name).collect();
            let one_of = if names.is_empty() { "" } else { " A table has one of " };
            let end = if names.is_empty() { "" } else { "." };
            self.comment("", &format!("{}{one_of}{}{end}", table.summary, names.join(", ")));
        }
        let mark = if keys == [ACTIVE] { "" } else { "#" };
        self.text += &format!("{mark}{header}\n");
        let schema = table.all_keys();
        for (name, value) in keys {
            let key = schema.iter().find(|key| key.name == *name).expect("a key of the table");
            self.key(table, key, if value.is_empty() { key.example } else { value }, mark);
        }
    }

    /// Adds a key; with its comment, if it is the first one of its name in such a table.
    fn key(&mut self, table: &'static TableSchema, key: &KeySchema, value: &str, mark: &str) {
        if self.explained.insert((table.header, key.name)) {
            self.comment("", &explanation(key));
        }
        self.text += &format!("{mark}{} = {value}\n", key.name);
    }

    /// Adds the table that an address of HTTP may be, as a comment.
    fn endpoint(&mut self) {
        self.comment(
            "",
            &format!("Or several addresses, of which each may be a table. {}", http::ENDPOINT.summary),
        );
        let keys = http::ENDPOINT.keys;
        let width = keys.iter().map(|key| key.name.len()).max().unwrap_or_default();
        for key in keys {
            self.comment(&format!("  {:width$} ", key.name), &explanation(key));
        }
        // Permissions are of a unix socket, and the others of a port.
        let is_of_socket = |key: &&&KeySchema| [http::MODE.name, http::GROUP.name].contains(&key.name);
        let (of_socket, of_port): (Vec<_>, Vec<_>) = keys.iter().partition(is_of_socket);
        let table = |keys: Vec<&&KeySchema>| {
            keys.iter().map(|key| format!("{} = {}", key.name, key.example)).collect::<Vec<_>>().join(", ")
        };
        self.text += &format!(
            "#http = [{{ address = \"unix:/run/qmp-events/hub.sock\", {} }}, {{ {} }}]\n",
            table(of_socket),
            table(of_port)
        );
    }

    /// Adds a comment of lines that begin with `title` and blanks of its length.
    fn comment(&mut self, title: &str, text: &str) {
        let mut line = format!("#{title}");
        for word in text.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > COLUMNS {
                self.text += &format!("{line}\n");
                line = format!("#{:width$}", "", width = title.len());
            }
            line += &format!(" {word}");
        }
        self.text += &format!("{line}\n");
    }
}

fn explanation(key: &KeySchema) -> String {
    match key.presence {
        Presence::Default(value) => format!("{} Default: {value}.", key.summary),
        Presence::Optional(effect) if !effect.is_empty() => format!("{} Without it: {effect}.", key.summary),
        _ => key.summary.to_owned(),
    }
}

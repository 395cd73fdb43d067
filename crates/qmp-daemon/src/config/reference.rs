//! The reference page of the configuration file, `docs/configuration.md`.

use std::fmt::Write as _;

use qmp_settings::schema::{KeySchema, Presence, TableSchema};

use super::schema::{HUB, RETENTION_TABLE, VM, discover, from, http, relay, rule};

const INTRODUCTION: &str = "\
# Configuration of the hub

The keys of the file that `qmp serve --config FILE` reads, a TOML document. A test compares this page, which is made from the
schema in `crates/qmp-daemon/src/config/schema.rs`, with the schema. [operating.md](operating.md) explains what the settings do;
`dist/hub.toml` is an example with every key.

An unknown key, a value of another form and a name that is used twice are errors; all errors of a file are reported at once,
each with its line. `qmp serve --config FILE --check-config` checks a file.

An editor completes and checks the keys with the JSON Schema that `qmp serve --print-config-schema` prints (draft 2020-12). For
taplo, and \"Even Better TOML\" in Visual Studio Code, name it in the first line of the file:

```toml
#:schema ./hub.schema.json
```

| form | how it is written |
|---|---|
| span | `\"30s\"`, `\"5min\"`, `\"1h30m\"`, `\"500ms\"`, `\"90d\"`; the units are `us ms s min (m) h d w`, a day has 24 hours |
| size | `\"100MiB\"`, `\"64KB\"`, `\"1.5GiB\"` |
| permissions | `0o660`, or `\"0660\"` as for `chmod` |
| path | a text; a relative path is resolved against the working directory of the hub |
| patterns | `*` any text, `?` one character, `[a-z]`, `{a,b}` |

All keys exist since release 0.1.
";

/// The tables, in the order of the page.
const TABLES: [&TableSchema; 8] = [
    &HUB,
    &http::ENDPOINT,
    &RETENTION_TABLE,
    &VM,
    &relay::RELAY,
    &discover::RULE,
    &from::SOURCE,
    &rule::RULE,
];

/// Returns the page.
#[must_use]
pub fn config_reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    TABLES.into_iter().for_each(|table| section(&mut page, table));
    page
}

fn section(page: &mut String, table: &TableSchema) {
    let title = match table.header {
        "" => "Top level".to_owned(),
        header => format!("`{header}`"),
    };
    let _ = write!(page, "\n## {title}\n\n{}\n", table.summary);
    rows(page, table.keys.iter().map(|key| (*key, String::new())), false);
    if table.variants.is_empty() {
        return;
    }
    let names: Vec<String> = table.variants.iter().map(|variant| format!("`{}`", variant.key.name)).collect();
    let _ = write!(
        page,
        "\nA table has exactly one of {}. Each other key is an option of the keys in the column \"of\".\n",
        names.join(", ")
    );
    let keys = table.all_keys().into_iter().skip(table.keys.len()).map(|key| {
        let owners: Vec<String> =
            table.owners(key.name).map(|variant| format!("`{}`", variant.key.name)).collect();
        (key, owners.join(", "))
    });
    rows(page, keys, true);
}

fn rows<'k>(page: &mut String, keys: impl Iterator<Item = (&'k KeySchema, String)>, has_owners: bool) {
    let (title, line) = if has_owners { (" of |", "---|") } else { ("", "") };
    let _ = write!(page, "\n| key |{title} value | default | meaning |\n|---|{line}---|---|---|\n");
    for (key, owners) in keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
            Presence::Optional(effect) => effect.to_owned(),
        };
        let owners = if has_owners { format!(" {owners} |") } else { String::new() };
        let since = if key.since == "0.1" { String::new() } else { format!(" Since {}.", key.since) };
        let _ =
            writeln!(page, "| `{}` |{owners} {} | {default} | {}{since} |", key.name, key.form, key.summary);
    }
}

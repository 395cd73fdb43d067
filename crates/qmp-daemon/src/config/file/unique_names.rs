//! Names that are used twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use qmp_settings::{Document, TomlValue};

/// Adds a problem for each table whose name an earlier one has, whatever else is wrong with the two.
pub(super) fn unique_names<'t: 'v, 'v>(
    document: &mut Document<'t>,
    tables: impl IntoIterator<Item = &'v TomlValue<'t>>,
    what: &str,
) {
    let mut first_lines: HashMap<&'v str, usize> = HashMap::new();
    for table in tables {
        let Some(value) = table.get_ref().get("name") else { continue };
        let Some(name) = value.get_ref().as_str().filter(|name| !name.is_empty()) else { continue };
        let line = document.location(&value.span()).line;
        match first_lines.entry(name) {
            Entry::Vacant(place) => _ = place.insert(line),
            Entry::Occupied(first) => {
                let first = first.get();
                let message = format!(
                    "the name \"{name}\" is used twice, here and in line {first}; each {what} needs a unique name"
                );
                document.problem(&value.span(), &message);
            }
        }
    }
}

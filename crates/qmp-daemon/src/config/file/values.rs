//! Readers of values that several tables have.

use std::path::{Path, PathBuf};

use qmp_host::permissions;
use qmp_journal::Globs;
use qmp_settings::schema::KeySchema;
use qmp_settings::{Document, Settings, TomlValue};
use toml::de::DeValue;

/// Reads a path; warns if it depends on the working directory of the hub.
pub(super) fn path(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Option<PathBuf> {
    let value = settings.get(key)?;
    let path = settings.text(key).map(PathBuf::from);
    warn_relative(settings.document, value, path.as_deref());
    path
}

/// Warns about a path that depends on the working directory of the hub.
pub(super) fn warn_relative(document: &mut Document<'_>, value: &TomlValue<'_>, path: Option<&Path>) {
    if let Some(path) = path.filter(|path| path.is_relative()) {
        let shown = path.display();
        let message = format!(
            "{shown} is a relative path, resolved against the working directory of the hub; write the absolute path"
        );
        document.warn(&value.span(), &message);
    }
}

/// Reads the permissions of a file: `0o660`, or `"0660"` as in chmod.
pub(super) fn mode(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Option<u32> {
    let mode = match settings.get(key)?.get_ref() {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) => u32::from_str_radix(text, 8).ok(),
        _ => None,
    };
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        settings.problem(key, &format!("expected {}", key.expected));
    }
    mode
}

/// Reads a group of this host: its name, or its number in quotes.
pub(super) fn group(settings: &mut Settings<'_, '_>, key: &KeySchema) -> Option<u32> {
    let name = settings.text(key)?;
    let group = permissions::group(name);
    if group.is_none() {
        settings.problem(key, &format!("this host has no group {name}"));
    }
    group
}

/// Reads a list of patterns, which must not be empty.
pub(super) fn patterns(
    settings: &mut Settings<'_, '_>,
    key: &KeySchema,
    expected_item: &str,
    about_empty: &str,
) -> Option<Globs> {
    let DeValue::Array(patterns) = settings.get(key)?.get_ref() else {
        settings.problem(key, &format!("expected {}", key.expected));
        return None;
    };
    if patterns.is_empty() {
        settings.problem(key, about_empty);
        return None;
    }
    let patterns: Vec<_> =
        patterns.iter().filter_map(|pattern| settings.document.string(pattern, expected_item)).collect();
    Globs::parse(patterns).inspect_err(|error| settings.problem(key, &error.to_string())).ok()
}

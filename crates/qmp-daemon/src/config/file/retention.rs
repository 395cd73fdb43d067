//! The table `[retention]`: the limits of the journal's age and size.

use std::time::Duration;

use qmp_journal::{RETENTION_MIN_AGE, RETENTION_MIN_BYTES, Retention};
use qmp_settings::schema::KeySchema;
use qmp_settings::{Document, Settings, TomlValue};
use qmp_settings::{size, span};
use toml::de::DeValue;

use crate::config::schema as keys;

/// Reads the table; `None` after a problem.
pub(super) fn retention<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<Retention> {
    let DeValue::Table(table) = value.get_ref() else {
        document.problem(
            &value.span(),
            "write [retention] on a line, and max-age = \"90d\" or max-size = \"10GiB\" below",
        );
        return None;
    };
    let mut settings = Settings { document, table, schema: &keys::RETENTION_TABLE };
    settings.refuse_unknown();
    Some(Retention {
        max_age: read(&mut settings, &keys::MAX_AGE, max_age),
        max_bytes: read(&mut settings, &keys::MAX_SIZE, max_bytes),
    })
}

/// Reads a text that `parse` accepts.
fn read<T>(
    settings: &mut Settings<'_, '_>,
    key: &KeySchema,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = settings.text(key)?;
    parse(text).inspect_err(|message| settings.problem(key, message)).ok()
}

fn max_age(text: &str) -> Result<Duration, String> {
    let age = span::parse(text).map_err(|error| error.to_string())?;
    if age < RETENTION_MIN_AGE {
        let hours = RETENTION_MIN_AGE.as_secs() / 3600;
        return Err(format!("at least {hours}h; findings use records of that span"));
    }
    Ok(age)
}

fn max_bytes(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text).map_err(|error| error.to_string())?;
    if bytes < RETENTION_MIN_BYTES {
        return Err(format!(
            "at least {}MiB; records are removed in segments of 2 to 8 MiB",
            RETENTION_MIN_BYTES >> 20
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use qmp_journal::Retention;

    use crate::config::ConfigFile;

    #[test]
    fn retention_is_parsed_or_refused_with_its_line() {
        let day = Duration::from_secs(86_400);
        let cases: [(&str, Result<Retention, &str>); 11] = [
            ("", Ok(Retention::default())),
            ("[retention]", Ok(Retention::default())),
            ("[retention]\nmax-age = '90d'", Ok(Retention { max_age: Some(90 * day), max_bytes: None })),
            ("[retention]\nmax-size = '10GiB'", Ok(Retention { max_age: None, max_bytes: Some(10 << 30) })),
            (
                "retention = {max-age = '1w', max-size = '64MB'}",
                Ok(Retention { max_age: Some(7 * day), max_bytes: Some(64_000_000) }),
            ),
            (
                "[retention]\nmax_age = '90d'",
                Err("hub.toml:2: unknown key \"max_age\"; did you mean \"max-age\"?"),
            ),
            (
                "[retention]\nmax-age = 90",
                Err("hub.toml:2: expected a span such as \"90d\" in quotes, found integer"),
            ),
            (
                "[retention]\nmax-age = '90'",
                Err("hub.toml:2: expected a unit after the number: ms, s, min, h, d or w"),
            ),
            (
                "[retention]\nmax-age = '5min'",
                Err("hub.toml:2: at least 1h; findings use records of that span"),
            ),
            (
                "[retention]\nmax-size = '1MiB'",
                Err("hub.toml:2: at least 16MiB; records are removed in segments of 2 to 8 MiB"),
            ),
            (
                "retention = '90d'",
                Err(
                    "hub.toml:1: write [retention] on a line, and max-age = \"90d\" or max-size = \"10GiB\" below",
                ),
            ),
        ];
        for (text, expected) in cases {
            let read = ConfigFile::parse(text, Path::new("hub.toml"));
            let read = read.map(|file| file.retention).map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
    }
}

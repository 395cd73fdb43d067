//! The tables `[[from]]`: the streams that a fleet hub reads.

use qmp_hub::{FLEET_STREAM_DEFAULT, FleetSourceConfig};
use qmp_journal::Globs;
use qmp_settings::{Document, Settings, TomlValue};
use toml::de::DeValue;

use super::values;
use crate::config::schema::from as keys;

/// Reads all tables.
pub(super) fn sources<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<FleetSourceConfig> {
    let DeValue::Array(tables) = value.get_ref() else {
        document.problem(&value.span(), "a stream is written as [[from]], in double brackets");
        return Vec::new();
    };
    let mut sources: Vec<FleetSourceConfig> = Vec::with_capacity(tables.len());
    for table in tables.iter() {
        let Some(source) = source(document, table) else { continue };
        if sources.iter().any(|other| other.reads_the_same(&source)) {
            document
                .problem(&table.span(), &format!("the stream {source} is read twice; name each one once"));
        }
        sources.push(source);
    }
    sources
}

fn source<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Option<FleetSourceConfig> {
    let DeValue::Table(table) = value.get_ref() else {
        document.problem(&value.span(), "a stream is a table such as { nats = \"nats://127.0.0.1:4222\" }");
        return None;
    };
    let problems_before = document.problems.len();
    let mut settings = Settings { document, table, schema: &keys::SOURCE };
    let has_unknown = settings.refuse_unknown();
    let mut addresses = Vec::new();
    for address in settings.texts(&keys::NATS).unwrap_or_default() {
        match address.parse() {
            Ok(address) => addresses.push(address),
            Err(error) => settings.problem(&keys::NATS, &format!("{error}")),
        }
    }
    let stream = settings.text(&keys::STREAM).unwrap_or(FLEET_STREAM_DEFAULT);
    let source = FleetSourceConfig::new(addresses, stream);
    let source = source.inspect_err(|error| settings.problem(&keys::STREAM, &error.to_string())).ok();
    let hosts = settings.texts(&keys::HOST).unwrap_or_default();
    if let Err(error) = Globs::parse(hosts.iter().copied()) {
        settings.problem(&keys::HOST, &error.to_string());
    }
    let hosts = hosts.into_iter().map(Into::into).collect();
    let credentials_file = values::path(&mut settings, &keys::CREDENTIALS_FILE);
    let ca_file = values::path(&mut settings, &keys::CA_FILE);
    let certificate = values::path(&mut settings, &keys::CERTIFICATE);
    if settings.get(&keys::NATS).is_none() && !has_unknown {
        settings.document.problem(&value.span(), "this stream has no server; add: nats = \"nats://…\"");
    }
    if document.problems.len() > problems_before {
        return None;
    }
    let mut source = source?;
    source.hosts = hosts;
    source.server.credentials_file = credentials_file;
    source.server.ca_file = ca_file;
    source.server.certificate = certificate;
    Some(source)
}

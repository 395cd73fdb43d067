//! The key `http`: an address, a table, or a list of both.

use std::path::PathBuf;

use qmp_host::SocketAccess;
use qmp_http::{HttpAddress, HttpEndpoint, TlsFiles};
use qmp_settings::{Document, Settings, TomlValue};
use toml::de::DeValue;

use super::located::Located;
use super::values;
use crate::config::schema;
use crate::config::schema::http as keys;

/// The members of an address's table.
struct Table {
    address: Option<HttpAddress>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    mode: Option<u32>,
    group: Option<u32>,
}

/// Reads the value of `http`.
pub(super) fn http<'t>(document: &mut Document<'t>, value: &TomlValue<'t>) -> Vec<Located<HttpEndpoint>> {
    match value.get_ref() {
        DeValue::Array(endpoints) => endpoints
            .iter()
            .filter_map(|value| located(document, value, "an address, or a table with an address,"))
            .collect(),
        _ => located(document, value, schema::HTTP.expected).into_iter().collect(),
    }
}

fn located<'t>(
    document: &mut Document<'t>,
    value: &TomlValue<'t>,
    expected: &str,
) -> Option<Located<HttpEndpoint>> {
    let address = value.get_ref().get(keys::ADDRESS.name).unwrap_or(value);
    let location = Some(document.location(&address.span()));
    endpoint(document, value, expected).map(|value| Located { value, location })
}

fn endpoint<'t>(document: &mut Document<'t>, value: &TomlValue<'t>, expected: &str) -> Option<HttpEndpoint> {
    let DeValue::Table(table) = value.get_ref() else {
        let endpoint: Option<HttpEndpoint> = document.parsed(value, expected);
        let path = endpoint.as_ref().and_then(|endpoint| endpoint.address().unix_path());
        values::warn_relative(document, value, path);
        return endpoint;
    };
    let problems_before = document.problems.len();
    let mut settings = Settings { document, table, schema: &keys::ENDPOINT };
    settings.refuse_unknown();
    let table = Table {
        address: settings.parsed(&keys::ADDRESS),
        certificate: settings.text(&keys::CERTIFICATE).map(PathBuf::from),
        key: settings.text(&keys::KEY).map(PathBuf::from),
        client_ca: settings.text(&keys::CLIENT_CA).map(PathBuf::from),
        token_file: settings.text(&keys::TOKEN_FILE).map(PathBuf::from),
        mode: values::mode(&mut settings, &keys::MODE),
        group: values::group(&mut settings, &keys::GROUP),
    };
    if document.problems.len() > problems_before {
        return None;
    }
    table.endpoint().map_err(|message| document.problem(&value.span(), &message)).ok()
}

impl Table {
    fn endpoint(self) -> Result<HttpEndpoint, String> {
        let address = self.address.ok_or("this table has no address; add: address = \"tcp:0.0.0.0:8443\"")?;
        let tls = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca: self.client_ca }),
            (Some(_), None) => return Err("a certificate needs its key; add: key = \"/etc/….pem\"".into()),
            (None, Some(_)) => {
                return Err("a key needs its certificate; add: certificate = \"/etc/….pem\"".into());
            }
            (None, None) if self.client_ca.is_some() => {
                return Err("`client-ca` needs a `certificate` and its `key`".into());
            }
            (None, None) => None,
        };
        let has_access = self.mode.is_some() || self.group.is_some();
        if has_access && address.unix_path().is_none() {
            return Err("`mode` and `group` are of a unix socket's file; leave them out".into());
        }
        let access = SocketAccess::new(self.mode, self.group);
        let endpoint = HttpEndpoint::new(address, tls, self.token_file);
        endpoint.map(|endpoint| endpoint.with_access(access)).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use qmp_http::HttpEndpoint;

    use crate::config::ConfigFile;

    #[test]
    fn http_takes_addresses_and_tables() {
        let cases = [
            ("http = '/h'", "unix:/h - -"),
            ("http = ['/h', 'tcp:127.0.0.1:80']", "unix:/h - -|tcp:127.0.0.1:80 - -"),
            ("http = { address = '/h', token-file = '/t' }", "unix:/h - /t"),
            (
                "http = ['/h', { address = 'tcp:0.0.0.0:8443', certificate = '/c', key = '/k', token-file = '/t' }]",
                "unix:/h - -|https://0.0.0.0:8443 /c,/k /t",
            ),
            (
                "[[http]]\naddress = '[::1]:1'\ncertificate = '/c'\nkey = '/k'\nclient-ca = '/a'",
                "https://[::1]:1 /c,/k,/a -",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_http_is_refused_with_line_and_advice() {
        let cases = [
            ("http = 5", "1: expected an address or a list of addresses in quotes, found integer"),
            ("http = [5]", "1: expected an address, or a table with an address, in quotes, found integer"),
            ("http = {}", "1: this table has no address; add: address = \"tcp:0.0.0.0:8443\""),
            (
                "http = [\n'/h',\n{ address = 'localhost:1', tokenfile = '/t' }]",
                "3: unknown key \"tokenfile\"; did you mean \"token-file\"?",
            ),
            (
                "http = { address = 'localhost:1', certificate = '/c' }",
                "1: a certificate needs its key; add: key = \"/etc/….pem\"",
            ),
            (
                "http = { address = 'localhost:1', key = '/k' }",
                "1: a key needs its certificate; add: certificate = \"/etc/….pem\"",
            ),
            (
                "http = { address = 'localhost:1', client-ca = '/k' }",
                "1: `client-ca` needs a `certificate` and its `key`",
            ),
            (
                "[[http]]\naddress = '0.0.0.0:1'\ntoken-file = '/t'",
                "1: tcp:0.0.0.0:1 can be reached from other hosts, so it needs a certificate and tokens, and has no \
                 certificate; add `certificate` and `key`, or serve at a unix socket or at 127.0.0.1",
            ),
            (
                "http = { address = '/h', certificate = '/c', key = '/k' }",
                "1: unix:/h is a unix socket, whose traffic stays on this host; leave the certificate out",
            ),
            (
                "http = { address = '127.0.0.1:1', mode = 0o660 }",
                "1: `mode` and `group` are of a unix socket's file; leave them out",
            ),
            ("http = { address = '/h', group = 'no-such-group' }", "1: this host has no group no-such-group"),
            (
                "http = 'hub.example:80'",
                "1: \"hub.example:80\" names no interface; write tcp:127.0.0.1:PORT for this host alone, \
                 tcp:0.0.0.0:PORT or tcp:[::]:PORT for all, or the address of one",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), format!("hub.toml:{expected}"), "{text}");
        }
    }

    fn read(text: &str) -> String {
        match ConfigFile::parse(text, Path::new("hub.toml")) {
            Err(error) => error.to_string(),
            Ok(file) => file.http.iter().map(|endpoint| shown(&endpoint.value)).collect::<Vec<_>>().join("|"),
        }
    }

    fn shown(endpoint: &HttpEndpoint) -> String {
        let tls = endpoint.tls().map(|tls| {
            let files = [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()];
            files.into_iter().flatten().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
        });
        let tokens = endpoint.token_file().map(|path| path.display().to_string());
        format!("{endpoint} {} {}", tls.as_deref().unwrap_or("-"), tokens.as_deref().unwrap_or("-"))
    }
}

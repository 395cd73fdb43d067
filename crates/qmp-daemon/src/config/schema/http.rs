//! The keys of `[[http]]`.

use qmp_settings::schema::{Constraint, Form, KeySchema, TableSchema};

/// An address of HTTP as a text.
pub(crate) const ADDRESS_FORM: Form = Form::Pattern("^(unix:.+|(tcp:)?[^/]+:[0-9]+|[^:]*/.*)$");

/// An address of HTTP as a table.
pub(crate) static ENDPOINT: TableSchema = TableSchema {
    header: "[[http]]",
    summary: "An address of HTTP with a certificate and tokens, which an address that other hosts can reach must have.",
    keys: &[&ADDRESS, &MODE, &GROUP, &CERTIFICATE, &KEY, &CLIENT_CA, &TOKEN_FILE],
    variants: &[],
    constraints: &[
        Constraint::Requires { key: "certificate", any_of: &["key"] },
        Constraint::Requires { key: "key", any_of: &["certificate"] },
        Constraint::Requires { key: "client-ca", any_of: &["certificate"] },
    ],
};

pub(crate) static ADDRESS: KeySchema = KeySchema::new(
    "address",
    ADDRESS_FORM,
    "an address",
    "The address: `unix:PATH`, `tcp:127.0.0.1:PORT`, or an interface that other hosts can reach.",
)
.required()
.example("\"tcp:192.0.2.1:8443\"");

pub(crate) static MODE: KeySchema = KeySchema::new(
    "mode",
    Form::Mode,
    "the permissions of a file, such as 0o660",
    "The permissions of a unix socket. A user who may connect may give every command, unless the socket has tokens.",
)
.absent("0o600, or 0o660 with `group`")
.example("0o660");

pub(crate) static GROUP: KeySchema = KeySchema::new(
    "group",
    Form::Text,
    "the name of a group, or its number in quotes",
    "The group of a unix socket's file.",
)
.absent("the group of the hub")
.example("\"107\"");

pub(crate) static CERTIFICATE: KeySchema =
    KeySchema::new("certificate", Form::Path, "a path", "The file with the certificate and its chain (PEM).")
        .absent("no TLS")
        .example("\"/etc/qmp-events/cert.pem\"");

pub(crate) static KEY: KeySchema =
    KeySchema::new("key", Form::Path, "a path", "The file with the key of the certificate (PEM).")
        .example("\"/etc/qmp-events/key.pem\"");

pub(crate) static CLIENT_CA: KeySchema = KeySchema::new(
    "client-ca",
    Form::Path,
    "a path",
    "The file with the authorities (PEM) that sign the certificates of clients, which clients then need.",
)
.absent("clients need no certificate")
.example("\"/etc/qmp-events/clients.pem\"");

pub(crate) static TOKEN_FILE: KeySchema =
    KeySchema::new("token-file", Form::Path, "a path", "The file with the tokens of clients.")
        .absent("clients need no token")
        .example("\"/etc/qmp-events/tokens\"");

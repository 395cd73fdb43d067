//! The keys of `[[from]]`.

use qmp_settings::schema::{Form, KeySchema, TableSchema};

/// A stream with records of other hosts.
pub(crate) static SOURCE: TableSchema = TableSchema {
    header: "[[from]]",
    summary: "A stream of NATS JetStream with the records of other hosts, whose rules publish them there: this hub is a fleet hub. \
              A change takes effect at a restart.",
    keys: &[&NATS, &STREAM, &HOST, &CREDENTIALS_FILE, &CA_FILE, &CERTIFICATE],
    variants: &[],
    constraints: &[],
};

pub(crate) static NATS: KeySchema = KeySchema::new(
    "nats",
    Form::OneOrList { item: &Form::Pattern("^(nats|tls)://."), min: 1 },
    "an address such as \"nats://127.0.0.1:4222\", or a list of the servers of one cluster",
    "The server, or the servers of one cluster; `user:password@` or `token@` before the host is the login.",
)
.required()
.example("\"nats://127.0.0.1:4222\"");

pub(crate) static STREAM: KeySchema = KeySchema::new(
    "stream",
    Form::Pattern("^[^ .*>/\\\\]+$"),
    "the name of a stream, without blanks, `.`, `*`, `>` and slashes",
    "The stream.",
)
.default("\"qmp\"")
.example("\"qmp\"");

pub(crate) static HOST: KeySchema = KeySchema::new(
    "host",
    Form::OneOrList { item: &Form::Text, min: 1 },
    "a host or a list of them, such as [\"site-a-*\"]",
    "Patterns of the hosts whose records are kept. If all are names, the server sends only those.",
)
.absent("all")
.example("[\"site-a-*\"]");

pub(crate) static CREDENTIALS_FILE: KeySchema = KeySchema::new(
    "credentials-file",
    Form::Path,
    "a path",
    "The file with the JWT and the seed of the user (`.creds`).",
)
.example("\"/etc/qmp-events/nats.creds\"");

pub(crate) static CA_FILE: KeySchema = KeySchema::new(
    "ca-file",
    Form::Path,
    "a path",
    "The authorities, in PEM, that are trusted in place of those of the system.",
)
.example("\"/etc/qmp-events/nats-ca.pem\"");

pub(crate) static CERTIFICATE: KeySchema = KeySchema::new(
    "certificate",
    Form::Path,
    "a path",
    "The file with the client's certificate and its key, in PEM.",
)
.example("\"/etc/qmp-events/nats.pem\"");

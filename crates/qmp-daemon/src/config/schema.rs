//! The schema of the configuration file: each table, and each key with its form, default, limits and meaning.
//!
//! The readers in `file/` take each value by the row of its key; `docs/configuration.md`, `dist/hub.toml` and the JSON
//! Schema of `qmp serve --print-config-schema` are made from the same rows. The options of an action are rows of the kind
//! of sink, in `qmp-sinks`.

pub(super) mod forms;
pub(super) mod http;
pub(super) mod relay;
pub(super) mod discover;
pub(super) mod from;
pub(super) mod rule;

use std::time::Duration;

use qmp_journal::{RETENTION_MIN_AGE, RETENTION_MIN_BYTES};
use qmp_settings::schema::{Form, KeySchema, TableSchema};

/// The top level.
pub(super) static HUB: TableSchema = TableSchema {
    header: "",
    summary: "The journal, the addresses of HTTP, and what holds for all VMs.",
    keys: &[&JOURNAL, &HOST, &HTTP, &FINDINGS, &SILENT_AFTER, &RETENTION, &VMS, &DISCOVER, &FROM, &RULES],
    variants: &[],
    constraints: &[],
};

pub(super) static JOURNAL: KeySchema = KeySchema::new(
    "journal",
    Form::Path,
    "a path",
    "The file of the journal, an SQLite database, created if it is missing; as a service, below /var/lib/qmp-events.",
)
.absent("`QMP_JOURNAL`, or the usual path")
.example("\"/var/lib/qmp-events/journal.db\"");

pub(super) static HOST: KeySchema = KeySchema::new(
    "host",
    Form::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$"),
    "the name of a host, 1 to 253 characters out of A-Z a-z 0-9 . _ -",
    "The name of this host in what rules deliver. It must be unique in a fleet.",
)
.absent("the host's name")
.example("\"node1\"");

pub(super) static HTTP: KeySchema = KeySchema::new(
    "http",
    Form::OneOrList { item: &Form::Any(&[http::ADDRESS_FORM, Form::Table(&http::ENDPOINT)]), min: 0 },
    "an address or a list of addresses",
    "The addresses of HTTP. The commands of root use /run/qmp-events/hub.sock.",
)
.absent("the usual socket")
.example("[\"unix:/run/qmp-events/hub.sock\"]");

pub(super) static FINDINGS: KeySchema = KeySchema::new(
    "findings",
    Form::Flag,
    "true or false",
    "Whether conclusions from events are recorded, too.",
)
.default("true")
.example("true");

pub(super) static SILENT_AFTER: KeySchema = KeySchema::new(
    "silent-after",
    forms::SILENT_AFTER,
    forms::SILENT_AFTER_EXPECTED,
    "The time without a message after which a VM is probed. A VM that does not answer within the same time is reported as \
     silent; \"off\" disables the probe.",
)
.default("\"30s\"")
.example("\"30s\"");

pub(super) static RETENTION: KeySchema =
    KeySchema::new("retention", Form::Table(&RETENTION_TABLE), "a table", "How long records are kept.")
        .absent("all records are kept");

pub(super) static VMS: KeySchema =
    KeySchema::new("vm", Form::Tables(&VM), "[[vm]]", "The VMs, besides those that are discovered.");

pub(super) static DISCOVER: KeySchema =
    KeySchema::new("discover", Form::Tables(&discover::RULE), "[[discover]]", "The rules of discovery.");

pub(super) static FROM: KeySchema = KeySchema::new(
    "from",
    Form::Tables(&from::SOURCE),
    "[[from]]",
    "The streams with records of other hosts.",
);

pub(super) static RULES: KeySchema =
    KeySchema::new("rule", Form::Tables(&rule::RULE), "[[rule]]", "What is done with records.");

/// The limits of the journal.
pub(super) static RETENTION_TABLE: TableSchema = TableSchema {
    header: "[retention]",
    summary: "How long records are kept. A record is removed when it exceeds either limit; the oldest are removed first.",
    keys: &[&MAX_AGE, &MAX_SIZE],
    variants: &[],
    constraints: &[],
};

pub(super) static MAX_AGE: KeySchema = KeySchema::new(
    "max-age",
    Form::Span { min: RETENTION_MIN_AGE, max: Duration::MAX },
    "a span such as \"90d\"",
    "The age from which records are removed.",
)
.absent("no limit")
.example("\"90d\"");

pub(super) static MAX_SIZE: KeySchema = KeySchema::new(
    "max-size",
    Form::Size { min_bytes: RETENTION_MIN_BYTES, is_number: false },
    "a size such as \"10GiB\"",
    "The size of the journal's file from which records are removed.",
)
.absent("no limit")
.example("\"10GiB\"");

/// A VM.
pub(super) static VM: TableSchema = TableSchema {
    header: "[[vm]]",
    summary: "A VM. Give the hub a monitor of its own, such as `-qmp unix:/run/vm/web1.sock,server=on,wait=off`.",
    keys: &[&VM_NAME, &VM_ADDRESS, &VM_RELAY, &VM_SILENT_AFTER],
    variants: &[],
    constraints: &[],
};

pub(super) static VM_NAME: KeySchema = KeySchema::new(
    "name",
    Form::Pattern("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    "a name",
    "The unique name: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`, the first a letter or a digit.",
)
.required()
.example("\"web1\"");

pub(super) static VM_ADDRESS: KeySchema = KeySchema::new(
    "address",
    Form::Pattern("^(unix:.|tcp:.*:|fd:|[./]|[^:]*/)"),
    "an address",
    "The address of the monitor: `unix:PATH`, `tcp:HOST:PORT`, `fd:NUMBER`; with `,server=on` QEMU dials in.",
)
.required()
.example("\"unix:/run/vm/web1.sock\"");

pub(super) static VM_RELAY: KeySchema = KeySchema::new(
    "relay",
    relay::FORM,
    relay::EXPECTED,
    "Sockets that the hub serves in place of the monitor, for any number of clients: a path for observers, or a table.",
)
.absent("no relay")
.example("\"/run/qmp-events/web1.qmp\"");

pub(super) static VM_SILENT_AFTER: KeySchema = KeySchema::new(
    "silent-after",
    forms::SILENT_AFTER,
    forms::SILENT_AFTER_EXPECTED,
    "The time for this VM, in place of that of the top level.",
)
.absent("that of the top level")
.example("\"5min\"");

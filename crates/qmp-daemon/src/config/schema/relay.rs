//! The keys of `[[vm.relay]]` and `[[discover.relay]]`.

use qmp_settings::schema::{Constraint, Form, KeySchema, TableSchema};

/// A path, a table, or a list of both.
pub(crate) const FORM: Form =
    Form::OneOrList { item: &Form::Any(&[Form::Path, Form::Table(&RELAY)]), min: 0 };

/// The words for it in error messages.
pub(crate) const EXPECTED: &str = "a path, or a table with a path,";

/// A relay.
pub(crate) static RELAY: TableSchema = TableSchema {
    header: "[[vm.relay]]",
    summary: "A relay: a QMP socket that the hub serves in place of a VM's monitor. `[[discover.relay]]` has the same keys.",
    keys: &[&PATH, &ROLE, &MODE, &GROUP, &ALLOW, &UIDS, &GIDS, &PRETTY],
    variants: &[],
    constraints: &[Constraint::RequiresValue { key: "allow", other: "role", value: "operate" }],
};

pub(crate) static PATH: KeySchema = KeySchema::new(
    "path",
    Form::Path,
    "a path",
    "The socket; its directory is created if needed. In `[[discover]]`, the path contains `{name}`.",
)
.required()
.example("\"/run/qmp-events/db1-operate.qmp\"");

pub(crate) static ROLE: KeySchema = KeySchema::new(
    "role",
    Form::Choice(|| vec!["observe", "operate"]),
    "\"observe\" or \"operate\"",
    "The commands that clients may give: `observe` permits queries, `operate` all commands.",
)
.default("\"observe\"")
.example("\"operate\"");

pub(crate) static MODE: KeySchema = KeySchema::new(
    "mode",
    Form::Mode,
    "the permissions of a file, such as 0o660",
    "The permissions of the socket.",
)
.absent("0o600, or 0o660 with `group`")
.example("0o660");

pub(crate) static GROUP: KeySchema = KeySchema::new(
    "group",
    Form::Text,
    "the name of a group, or its number in quotes",
    "The group of the socket's file.",
)
.absent("the group of the hub")
.example("\"107\"");

pub(crate) static ALLOW: KeySchema = KeySchema::new(
    "allow",
    Form::List(&Form::Text),
    "a list of commands, such as [\"stop\", \"block*\"]",
    "With `operate`: patterns of the commands that clients may give, besides queries.",
)
.absent("all commands")
.example("[\"stop\", \"cont\", \"block*\"]");

pub(crate) static UIDS: KeySchema = KeySchema::new(
    "uids",
    ID_LIST,
    "a list of user ids such as [1000]",
    "The users who may connect, besides the groups of `gids`.",
)
.absent("every user with permission for the file")
.example("[1000]");

pub(crate) static GIDS: KeySchema = KeySchema::new(
    "gids",
    ID_LIST,
    "a list of group ids such as [107]",
    "The groups whose users may connect, besides the users of `uids`; supplementary groups count, too.",
)
.absent("every user with permission for the file")
.example("[107]");

pub(crate) static PRETTY: KeySchema = KeySchema::new(
    "pretty",
    Form::Flag,
    "true or false",
    "Whether messages have several lines, as with QEMU's `pretty=on`.",
)
.default("false")
.example("true");

const ID_LIST: Form = Form::List(&Form::Number { min: 0, max: u32::MAX });

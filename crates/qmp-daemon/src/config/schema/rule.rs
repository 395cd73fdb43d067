//! The keys of `[[rule]]` that every rule may have.

use std::time::Duration;

use qmp_settings::schema::{Constraint, Form, KeySchema, TableSchema};
use qmp_sinks::{KINDS, VARIANTS};

/// A rule.
pub(crate) static RULE: TableSchema = TableSchema {
    header: "[[rule]]",
    summary: "A rule: it selects records, limits their rate, and has one action. `event`, `finding` and `kind` are \
              alternatives; without any of them, every record is selected. With `state`, the rule delivers an alert when a VM \
              has been in one of the states `for` that long, and its end. As a service, actions can write only below \
              /var/lib/qmp-events and /var/log/qmp-events.",
    keys: &[&NAME, &EVENT, &FINDING, &KIND, &STATE, &FOR, &VM, &HOST, &WHERE, &AT_MOST, &FROM],
    variants: &VARIANTS,
    constraints: &[
        Constraint::Excludes { key: "at-most", others: kinds_that_never_hold_back },
        Constraint::Requires { key: "for", any_of: &["state"] },
        Constraint::Excludes { key: "state", others: || vec!["event", "finding", "kind", "where"] },
        Constraint::Requires { key: "keep", any_of: &["max-size", "max-age"] },
    ],
};

pub(crate) static NAME: KeySchema = KeySchema::new(
    "name",
    Form::Pattern("^[A-Za-z0-9._-]{1,64}$"),
    "a name",
    "The unique name, 1 to 64 characters out of `A-Z a-z 0-9 . _ -`. It is the key of the rule's position in the journal: \
     a rule with another name begins afresh.",
)
.required()
.example("\"panic-mail\"");

pub(crate) static EVENT: KeySchema = KeySchema::new(
    "event",
    Form::OneOrList { item: &Form::Suggested(event_names), min: 1 },
    "an event or a list of them, such as [\"SHUTDOWN\", \"BLOCK_*\"]",
    "Patterns of names of events.",
)
.example("[\"GUEST_PANICKED\", \"BLOCK_IO_ERROR\"]");

pub(crate) static FINDING: KeySchema = KeySchema::new(
    "finding",
    Form::OneOrList { item: &Form::Suggested(|| qmp_findings::kinds().collect()), min: 1 },
    "a kind of finding, or a list of them, such as [\"why-*\"]",
    "Patterns of kinds of findings.",
)
.example("[\"why-*\", \"storm\"]");

pub(crate) static KIND: KeySchema = KeySchema::new(
    "kind",
    Form::OneOrList { item: &Form::Choice(record_kinds), min: 1 },
    "a kind of record, or a list of them, such as [\"detached\"]",
    "Kinds of records.",
)
.example("[\"finding\", \"detached\"]");

pub(crate) static STATE: KeySchema = KeySchema::new(
    "state",
    Form::OneOrList { item: &Form::Suggested(states), min: 1 },
    "a state of a VM, or a list of them, such as [\"paused\", \"io-error\"]",
    "States of VMs: run states of QEMU, `ended`, `gone` and `silent`. A VM that has been in one of them for the time of \
     `for` raises an alert, and its end is delivered when the VM is in none of them.",
)
.example("[\"paused\", \"io-error\", \"silent\"]");

pub(crate) static FOR: KeySchema = KeySchema::new(
    "for",
    Form::Span { min: Duration::from_micros(1), max: Duration::MAX },
    "a span such as \"5min\"",
    "How long a VM is in one state of `state` before the alert. A restart of the hub does not begin the time anew.",
)
.absent("the alert is raised at once")
.example("\"5min\"");

pub(crate) static VM: KeySchema = KeySchema::new(
    "vm",
    Form::OneOrList { item: &Form::Text, min: 1 },
    "a name of a VM, or a list, such as [\"web*\", \"db1\"]",
    "Patterns of names of VMs. A pattern with a `/` is compared with `HOST/VM`, and one that begins with `/` with the VMs of this \
     host only.",
)
.absent("all")
.example("\"web*\"");

pub(crate) static HOST: KeySchema = KeySchema::new(
    "host",
    Form::OneOrList { item: &Form::Text, min: 1 },
    "a name of a host, or a list, such as [\"node1\", \"!node9\"]",
    "Patterns of the hosts of VMs of other hosts. A VM of this host has none: only a list of patterns after `!` \
     selects it.",
)
.absent("all")
.example("[\"node1\"]");

pub(crate) static WHERE: KeySchema = KeySchema::new(
    "where",
    Form::OneOrList { item: &Form::Pattern("^[^=.]+(\\.[^=.]+)*="), min: 1 },
    "a condition, or a list of them, such as [\"action=poweroff\"]",
    "Conditions on the data, `PATH=VALUE`, all of which must match.",
)
.absent("none")
.example("[\"action=pause\"]");

pub(crate) static AT_MOST: KeySchema = KeySchema::new(
    "at-most",
    Form::Pattern("^ *[0-9]+ +per .+"),
    "how often, such as \"1 per 10m\"",
    "`N per SPAN`: the number of deliveries within any span of that length. Further records are counted and held back.",
)
.absent("no limit")
.example("\"1 per 10m\"");

pub(crate) static FROM: KeySchema = KeySchema::new(
    "from",
    Form::Choice(|| vec!["start", "now"]),
    "\"start\" or \"now\"",
    "Where a new rule begins: at the start of the journal, or with new records.",
)
.default("\"now\"")
.example("\"start\"");

/// The names of the catalogue's events.
pub(crate) fn event_names() -> Vec<&'static str> {
    qmp_events::catalogue().iter().map(|event| event.name).collect()
}

/// The kinds of sinks with which `at-most` is not allowed.
fn kinds_that_never_hold_back() -> Vec<&'static str> {
    KINDS.iter().filter(|kind| !kind.may_hold_back).map(|kind| kind.key()).collect()
}

/// The states that a rule may name; others are of a later QEMU.
pub(crate) fn states() -> Vec<&'static str> {
    qmp_findings::run_states().chain([qmp_findings::SILENT]).collect()
}

fn record_kinds() -> Vec<&'static str> {
    qmp_journal::RecordKind::ALL.iter().map(|kind| kind.name()).collect()
}

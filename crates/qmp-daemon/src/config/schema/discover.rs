//! The keys of `[[discover]]`.

use qmp_hub::discovery::Layout;
use qmp_settings::schema::{Form, KeySchema, TableSchema, Variant};

use super::{forms, relay};

/// A rule of discovery.
pub(crate) static RULE: TableSchema = TableSchema {
    header: "[[discover]]",
    summary: "VMs that are discovered, and followed as long as they exist.",
    keys: &[&NAME, &RELAY, &ONLY, &EXCLUDE, &SILENT_AFTER],
    variants: &[
        &Variant { key: &GLOB, options: &[] },
        &Variant { key: &DIRECTORY, options: &[] },
        &Variant { key: &LAYOUT, options: &[&ROOT] },
        &Variant { key: &PROCESSES, options: &[] },
        &Variant { key: &LISTEN, options: &[&MODE] },
        &Variant { key: &LIBVIRT, options: &[&COMMANDS] },
    ],
    constraints: &[],
};

/// Why domains that are followed through libvirt have no relays, and the way out.
pub(crate) const RELAY_THROUGH_LIBVIRT: &str =
    "a relay needs the VM's own monitor, which libvirt holds; give the VM a second one, and follow that";

pub(crate) static GLOB: KeySchema = KeySchema::new(
    "glob",
    Form::Text,
    "a path such as /run/vm/*.sock",
    "Follows the sockets whose paths match: `*`, `?`, `[a-z]`, `{a,b}`, in any part of the path; none spans directories.",
)
.example("\"/run/vm/*.sock\"");

pub(crate) static DIRECTORY: KeySchema =
    KeySchema::new("directory", Form::Path, "a directory", "Follows every socket in this directory.")
        .example("\"/run/more-vms\"");

pub(crate) static LAYOUT: KeySchema = KeySchema::new(
    "layout",
    Form::Choice(Layout::words),
    "the name of a layout such as libvirt",
    "Follows the monitors of a program that runs VMs, where the program creates them.",
)
.example("\"libvirt\"");

pub(crate) static ROOT: KeySchema = KeySchema::new(
    "root",
    Form::Path,
    "a directory",
    "The directory of that program, if it is not the usual one.",
)
.absent("the usual directory")
.example("\"/var/lib/libvirt/qemu\"");

pub(crate) static PROCESSES: KeySchema = KeySchema::new(
    "processes",
    Form::True,
    "true",
    "Follows the QEMUs of this host, by the monitors in their command lines.",
)
.example("true");

pub(crate) static LISTEN: KeySchema = KeySchema::new(
    "listen",
    Form::Pattern("^(unix:.|tcp:.*:|[./]|[^:]*/)"),
    "an address such as unix:/run/qmp-events/dial-in.sock",
    "Follows the QEMUs that dial in at this address: `unix:PATH`, or a port of the loopback interface.",
)
.example("\"unix:/run/qmp-events/dial-in.sock\"");

pub(crate) static LIBVIRT: KeySchema = KeySchema::new(
    "libvirt",
    Form::Pattern("^(qemu:///(system|session)$|unix:/)"),
    "qemu:///system, qemu:///session or unix:PATH",
    "Follows the domains of a libvirt daemon through libvirt, which passes on their events: `qemu:///system`, `qemu:///session`, or the socket of a daemon.",
)
.example("\"qemu:///system\"");

pub(crate) static COMMANDS: KeySchema = KeySchema::new(
    "commands",
    Form::Flag,
    "true or false",
    "Whether clients may give commands to these domains. libvirt marks a domain as tainted (`custom-monitor`) that gets one.",
)
.default("false")
.example("true");

pub(crate) static MODE: KeySchema = KeySchema::new(
    "mode",
    Form::Mode,
    "the permissions of a file, such as 0o660",
    "The permissions of that socket.",
)
.default("0o600")
.example("0o660");

pub(crate) static NAME: KeySchema = KeySchema::new(
    "name",
    Form::Pattern("\\{(name|stem|directory|uuid)\\}"),
    "a template such as pve-{name}",
    "The name of each VM, made of texts and `{name}`, `{stem}` (the name of the file) and `{directory}`; with `libvirt`, of `{name}`, `{uuid}` and `{host}`.",
)
.default("\"{name}\"")
.example("\"{name}\"");

pub(crate) static RELAY: KeySchema = KeySchema::new(
    "relay",
    relay::FORM,
    relay::EXPECTED,
    "Relays of each VM, as in `[[vm]]`, with `{name}` in each path.",
)
.absent("no relay")
.example("\"/run/qmp-events/{name}.qmp\"");

pub(crate) static ONLY: KeySchema = KeySchema::new(
    "only",
    NAMES,
    "a list of names, such as [\"test-*\"]",
    "Patterns of the names of the VMs that are followed.",
)
.absent("all")
.example("[\"web*\"]");

pub(crate) static EXCLUDE: KeySchema = KeySchema::new(
    "exclude",
    NAMES,
    "a list of names, such as [\"test-*\"]",
    "Patterns of the names of the VMs that are ignored.",
)
.absent("none")
.example("[\"test-*\"]");

pub(crate) static SILENT_AFTER: KeySchema = KeySchema::new(
    "silent-after",
    forms::SILENT_AFTER,
    forms::SILENT_AFTER_EXPECTED,
    "The time for these VMs, in place of that of the top level.",
)
.absent("that of the top level")
.example("\"off\"");

const NAMES: Form = Form::List(&Form::Text);

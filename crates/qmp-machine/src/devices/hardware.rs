//! Events of the hardware below the guest: memory failures, RDMA identifiers, and reports of s390x guests.

use qmp_events::{EventKind, ShutdownCause};
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::json;

use super::power::{expect_running, guest};
use crate::{commands::Entry, transitions::MachineEvent, vm::Vm};

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MemoryAction {
    Ignore,
    Inject,
    Fatal,
    Reset,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MemoryFailure {
    recipient: Option<Box<str>>,
    action: Option<MemoryAction>,
    action_required: Option<bool>,
    recursive: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Gid {
    netdev: Box<str>,
    added: Option<bool>,
    subnet_prefix: Option<u64>,
    interface_id: Option<u64>,
}

#[derive(Deserialize)]
struct Polarization {
    polarization: Box<str>,
}

pub(crate) fn commands() -> Vec<Entry> {
    let failure = |arguments: ObjectType| {
        arguments
            .optional("recipient", Type::one_of("MemoryFailureRecipient", ["hypervisor", "guest"]))
            .optional("action", Type::one_of("MemoryFailureAction", ["ignore", "inject", "fatal", "reset"]))
            .optional("action-required", Type::Bool)
            .optional("recursive", Type::Bool)
    };
    let gid = |arguments: ObjectType| {
        arguments
            .required("netdev", Type::Str)
            .optional("added", Type::Bool)
            .optional("subnet-prefix", Type::Uint64)
            .optional("interface-id", Type::Uint64)
    };
    let polarization = |arguments: ObjectType| {
        arguments.required("polarization", Type::one_of("S390CpuPolarization", ["horizontal", "vertical"]))
    };
    vec![
        Entry::new("x-host-memory-failure", failure, |vm, failure| fail_memory(vm, &failure)),
        Entry::new("x-host-rdma-gid", gid, |vm, Gid { netdev, added, subnet_prefix, interface_id }| {
            let data = json!({
                "netdev": netdev, "gid-status": added.unwrap_or(true),
                "subnet-prefix": subnet_prefix.unwrap_or(33022), "interface-id": interface_id.unwrap_or(1),
            });
            vm.raise(EventKind::RdmaGidStatusChanged, data);
            Ok(())
        }),
        Entry::new("x-guest-set-cpu-polarization", polarization, |vm, Polarization { polarization }| {
            expect_running(vm)?;
            vm.raise(EventKind::CpuPolarizationChange, json!({"polarization": polarization}));
            Ok(())
        }),
        guest("x-guest-sclp-cpi", |vm| vm.raise_bare(EventKind::SclpCpiInfoAvailable)),
    ]
}

fn fail_memory(vm: &mut Vm, failure: &MemoryFailure) -> Result<(), Refusal> {
    let recipient = failure.recipient.as_deref().unwrap_or("guest");
    let action = failure.action.unwrap_or(MemoryAction::Inject);
    let action_name = match action {
        MemoryAction::Ignore => "ignore",
        MemoryAction::Inject => "inject",
        MemoryAction::Fatal => "fatal",
        MemoryAction::Reset => "reset",
    };
    let flags = json!({
        "action-required": failure.action_required.unwrap_or(false), "recursive": failure.recursive.unwrap_or(false),
    });
    vm.raise(
        EventKind::MemoryFailure,
        json!({"recipient": recipient, "action": action_name, "flags": flags}),
    );
    match action {
        MemoryAction::Reset => vm.force(MachineEvent::Reset(ShutdownCause::GuestReset)),
        // The hypervisor's own memory is lost: the process exits at once.
        MemoryAction::Fatal if recipient == "hypervisor" => vm.exit(1),
        _ => {}
    }
    Ok(())
}

//! Capabilities, parameters, and the memory to migrate.

use qmp_server::{ObjectType, Refusal, RunState, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    commands::{Entry, one_of},
    event::strip_nulls,
    refusals::generic,
    vm::Vm,
};

/// The capabilities that this machine has.
const CAPABILITIES: &str = "\
    xbzrle rdma-pin-all auto-converge zero-blocks events postcopy-ram x-colo release-ram return-path \
    pause-before-switchover multifd dirty-bitmaps postcopy-blocktime late-block-activate \
    x-ignore-shared validate-uuid background-snapshot zero-copy-send postcopy-preempt switchover-ack mapped-ram";

#[derive(Deserialize)]
struct Capabilities {
    capabilities: Vec<Capability>,
}

#[derive(Deserialize)]
struct Capability {
    capability: Box<str>,
    state: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Load {
    used_bytes: Option<u64>,
    dirty_bytes_per_second: Option<u64>,
}

pub(super) fn commands() -> Vec<Entry> {
    let status = || {
        ObjectType::new("MigrationCapabilityStatus")
            .required("capability", one_of("MigrationCapability", CAPABILITIES))
            .required("state", Type::Bool)
    };
    let capabilities = move |arguments: ObjectType| arguments.required("capabilities", Type::list(status()));
    let load = |arguments: ObjectType| {
        arguments.optional("used-bytes", Type::Size).optional("dirty-bytes-per-second", Type::Size)
    };
    vec![
        Entry::new("migrate-set-capabilities", capabilities, set_capabilities).since(1, 2),
        Entry::plain("query-migrate-capabilities", |vm| {
            let migration = &vm.devices.migration;
            let list = CAPABILITIES
                .split_whitespace()
                .map(|name| json!({"capability": name, "state": migration.has(name)}));
            Ok(Value::Array(list.collect()))
        })
        .since(1, 2),
        Entry::plain("query-migrate", |vm| Ok(query(vm))),
        Entry::new("x-guest-use-memory", load, |vm, Load { used_bytes, dirty_bytes_per_second }| {
            let migration = &mut vm.devices.migration;
            migration.used_bytes = used_bytes.or(migration.used_bytes);
            migration.dirty_bytes_per_second =
                dirty_bytes_per_second.unwrap_or(migration.dirty_bytes_per_second);
            Ok(())
        }),
    ]
}

fn set_capabilities(vm: &mut Vm, Capabilities { capabilities }: Capabilities) -> Result<(), Refusal> {
    let migration = &mut vm.devices.migration;
    // A machine that waits for an incoming migration still accepts capabilities.
    if migration.is_under_way() && vm.status.state != RunState::Inmigrate {
        return Err(generic("There's a migration process in progress"));
    }
    for Capability { capability, state } in capabilities {
        if state {
            migration.capabilities.insert(capability);
        } else {
            migration.capabilities.remove(&capability);
        }
    }
    Ok(())
}

fn query(vm: &Vm) -> Value {
    let migration = &vm.devices.migration;
    let Some(status) = migration.status else { return json!({}) };
    let ram = (migration.passes > 0).then(|| {
        json!({
            "total": vm.config.memory_bytes, "transferred": vm.config.memory_bytes / 8, "remaining": 0, "duplicate": 0,
            "normal": 0, "normal-bytes": 0, "dirty-sync-count": migration.passes, "page-size": 4096, "mbps": 0,
        })
    });
    let mut reply = json!({"status": status.as_str(), "error-desc": migration.error, "ram": ram});
    strip_nulls(&mut reply);
    reply
}

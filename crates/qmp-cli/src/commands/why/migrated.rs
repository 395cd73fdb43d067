//! The migration of a VM of another host, as a fleet hub tells it.

use std::ops::ControlFlow;

use qmp_findings::MIGRATED;
use qmp_findings::state::VmState;
use qmp_journal::{Query, RecordKind};
use qmp_wire::{Body, Offset, QualifiedName, Record};
use serde_json::Value;

use super::moment::Moment;
use super::read::{of_vm, received_by};
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::Query as HubQuery;

/// The finding of a fleet hub about the migration that explains the state of a VM of another host; `None` for other states, and if
/// there is no such finding.
pub(super) async fn migrated(
    source: &Source,
    vm: &str,
    state: &VmState,
    moment: Moment,
) -> Result<Option<Record<'static>>, Failure> {
    let is_by_migration =
        state.why.as_ref().is_some_and(|why| matches!(why.cause, "migration" | "incoming-migration"));
    let Some(name) = QualifiedName::parse(vm).filter(|_| is_by_migration) else { return Ok(None) };
    // The finding is a record of the fleet hub itself.
    let condition = format!("finding={MIGRATED}");
    let where_ = condition.parse().into_iter().collect();
    let in_file = Query { kind: vec![RecordKind::Finding], where_, ..of_vm(name.vm) };
    let mut at_hub = HubQuery::default();
    at_hub.add("vm", format_args!("/{}", name.vm));
    at_hub.add("kind", RecordKind::Finding.name());
    at_hub.add("where", condition);
    let mut last = None;
    source
        .each((in_file, at_hub), Offset(0), &mut |record| {
            if is_about(&record, name, state) && received_by(&record, moment.until()) {
                last = Some(record.into_owned());
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(last)
}

/// Whether a finding rests on a record of this epoch of the VM.
fn is_about(record: &Record<'_>, name: QualifiedName<'_>, state: &VmState) -> bool {
    let Body::Finding { data: Some(data), .. } = &record.body else { return false };
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let epoch = state.epoch.map(|epoch| u64::from(epoch.0));
    data["evidence"].as_array().into_iter().flatten().any(|evidence| {
        evidence["host"] == name.host && evidence["vm"] == name.vm && evidence["epoch"].as_u64() == epoch
    })
}

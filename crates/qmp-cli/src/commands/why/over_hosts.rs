//! What a fleet hub has found over several hosts about the state of a VM of another host.

use std::ops::ControlFlow;

use qmp_findings::state::VmState;
use qmp_findings::{MIGRATED, TWO_HOSTS, TWO_HOSTS_OVER};
use qmp_journal::{Query, RecordKind};
use qmp_wire::{Body, Offset, QualifiedName, Record};
use serde_json::Value;

use super::moment::Moment;
use super::read::{of_vm, received_by};
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::Query as HubQuery;

/// The findings of a fleet hub about a VM of another host: the migration that explains its state, and that it runs on another
/// host at the same time.
pub(super) async fn over_hosts(
    source: &Source,
    vm: &str,
    state: &VmState,
    moment: Moment,
) -> Result<Vec<Record<'static>>, Failure> {
    let Some(name) = QualifiedName::parse(vm) else { return Ok(Vec::new()) };
    let last = async |kind| last_of(source, kind, (name, state), moment).await;
    let is_by_migration =
        state.why.as_ref().is_some_and(|why| matches!(why.cause, "migration" | "incoming-migration"));
    let mut found = Vec::new();
    if is_by_migration {
        found.extend(last(MIGRATED).await?);
    }
    if let Some(double) = last(TWO_HOSTS).await? {
        let over = last(TWO_HOSTS_OVER).await?;
        if over.is_none_or(|over| member(&over, "evidence") != member(&double, "evidence")) {
            found.push(double);
        }
    }
    Ok(found)
}

/// The last finding of a kind that rests on a record of this epoch of the VM. It is a record of the fleet hub itself.
async fn last_of(
    source: &Source,
    kind: &str,
    (name, state): (QualifiedName<'_>, &VmState),
    moment: Moment,
) -> Result<Option<Record<'static>>, Failure> {
    let condition = format!("finding={kind}");
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

fn is_about(record: &Record<'_>, name: QualifiedName<'_>, state: &VmState) -> bool {
    let epoch = state.epoch.map(|epoch| u64::from(epoch.0));
    member(record, "evidence").as_array().into_iter().flatten().any(|evidence| {
        evidence["host"] == name.host && evidence["vm"] == name.vm && evidence["epoch"].as_u64() == epoch
    })
}

/// A member of the data of a finding.
fn member(record: &Record<'_>, name: &str) -> Value {
    let Body::Finding { data: Some(data), .. } = &record.body else { return Value::Null };
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    data[name].clone()
}

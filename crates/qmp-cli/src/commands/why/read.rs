//! Reads records of one VM, from a file or through the hub.

use std::ops::ControlFlow;

use qmp_journal::{Globs, Query, RecordKind};
use qmp_wire::{Epoch, Offset, QualifiedName, Record, UnixMicros};

use crate::commands::left;
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::{HubClient, HubError, Query as HubQuery};

pub(super) fn of_vm(vm: &str) -> Query {
    Query { vm: Globs::of_vms([vm]), ..Query::default() }
}

/// The name by which the journal keys a VM: a VM of another host may be named without its host if no other VM has the name.
pub(super) async fn key(source: &Source, vm: &str) -> Result<String, Failure> {
    if QualifiedName::parse(vm).is_some() {
        return Ok(vm.to_owned());
    }
    let found = match source {
        Source::File(reader) => {
            let known = reader.vms()?.into_iter().map(|known| known.vm.into_string());
            known.filter(|known| QualifiedName::divide(known).1 == vm).collect()
        }
        Source::Hub(client) => keys_at_hub(client, vm).await?,
    };
    match found.as_slice() {
        [one] if one != vm => Ok(one.clone()),
        [_, _, ..] if !found.iter().any(|name| name == vm) => {
            let hint = format!("name one of them: {}", found.join(", "));
            Err(Failure::usage(format_args!("several hosts have a VM {vm}")).hint(hint))
        }
        _ => Ok(vm.to_owned()),
    }
}

/// The VM of the hub's host with this name, or else two of those of other hosts.
async fn keys_at_hub(client: &HubClient, vm: &str) -> Result<Vec<String>, HubError> {
    let last = async |query: HubQuery| -> Result<Option<Record<'static>>, HubError> {
        client.records(&query.with("last", 1)).await?.next_record().await
    };
    // A finding over hosts is a record of this hub about a VM that was never attached here.
    let own = last(left::of(&format!("/{vm}"))).await?;
    if own.is_some_and(|record| record.epoch > Epoch(0)) {
        return Ok(vec![vm.to_owned()]);
    }
    let of_others = || left::of(vm).with("host", "*");
    let Some(one) = last(of_others()).await? else { return Ok(Vec::new()) };
    let host = QualifiedName::divide(&one.vm).0.unwrap_or_default();
    let other = last(of_others().with("host", format_args!("!{host}"))).await?;
    Ok([one].into_iter().chain(other).map(|record| record.vm.into_owned()).collect())
}

/// Passes the records of a VM to `take`, up to the present head or until `take` breaks.
pub(super) async fn each(
    source: &Source,
    vm: &str,
    kind: Option<RecordKind>,
    after: Offset,
    take: &mut (dyn FnMut(Record<'_>) -> ControlFlow<()> + Send),
) -> Result<(), Failure> {
    let in_file = Query { kind: kind.into_iter().collect(), ..of_vm(vm) };
    let mut at_hub = HubQuery::default();
    at_hub.add("vm", vm);
    kind.iter().for_each(|kind| at_hub.add("kind", kind.name()));
    // The hub's pattern also matches VMs of other hosts.
    let mut take_of_vm =
        |record: Record<'_>| if record.vm == vm { take(record) } else { ControlFlow::Continue(()) };
    source.each((in_file, at_hub), after, &mut take_of_vm).await
}

/// Whether a record was received at `moment` or before.
pub(super) fn received_by(record: &Record<'_>, moment: Option<UnixMicros>) -> bool {
    moment.is_none_or(|moment| record.received <= moment)
}

//! VMs that left the hub. Its journal keeps their records.

use jiff::tz::TimeZone;
use qmp_wire::{Epoch, QualifiedName, Record, UnixMicros};

use crate::exit::Failure;
use crate::hub::{HubClient, HubError, Query};
use crate::time::write;

/// The last record of a VM in the hub's journal; with `kind`, the last of that kind.
pub(super) async fn last(
    client: &HubClient,
    vm: &str,
    kind: Option<&str>,
) -> Result<Option<Record<'static>>, HubError> {
    let mut query = of(vm).with("last", 1);
    kind.iter().for_each(|kind| query.add("kind", kind));
    client.records(&query).await?.next_record().await
}

/// Whether the hub's journal has a VM of another host with this name, or one that the pattern matches.
pub(super) async fn is_of_other_host(client: &HubClient, name: &str) -> Result<bool, HubError> {
    let last = last(client, name, None).await?;
    Ok(last.is_some_and(|record| QualifiedName::parse(&record.vm).is_some()))
}

/// All records of a VM.
pub(super) fn of(vm: &str) -> Query {
    let mut query = Query::default();
    query.add("vm", vm);
    query
}

/// The failure of a command for a VM that the hub does not follow: `failure`, or a failure with the VM's last record.
pub(super) async fn failure(client: &HubClient, vm: &str, zone: &TimeZone, failure: Failure) -> Failure {
    match last(client, vm, None).await {
        // A VM that was never attached here did not leave: findings over hosts are about it.
        Ok(Some(record)) if *record.vm == *vm && record.epoch > Epoch(0) => {
            with_hints(Failure::gone(format_args!("{vm} left the hub; {}", seen(record.received, zone))), vm)
        }
        _ => failure,
    }
}

/// Says when the last record of a VM was received.
pub(super) fn seen(received: UnixMicros, zone: &TimeZone) -> String {
    format!("in the journal: last seen {}", write::local(received, zone))
}

/// Adds hints for a VM that left.
pub(super) fn with_hints(failure: Failure, vm: &str) -> Failure {
    failure.hint(format_args!("qmp why {vm} says how it ended, qmp log --vm {vm} shows its records"))
}

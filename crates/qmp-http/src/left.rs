//! VMs that left the hub: `GET /v1/vms?left=SECONDS`.
//!
//! A VM leaves when it is removed from the configuration, or when the rule that discovered it no longer finds its socket
//! or process. Its records stay in the journal, and the reason of its end is derived from them.

use qmp_findings::state::VmState;
use qmp_host::clock;
use qmp_journal::{Globs, JournalError, JournalVm, Query, Reader, RecordKind};
use qmp_wire::{Body, QualifiedName, UnixMicros};
use serde::Deserialize;

use crate::error::ApiError;
use crate::query::refuse_repeated;
use crate::state::ApiState;

/// The most VMs that are listed, the latest first. Up to two epochs are read for each.
const LEFT_VMS_MAX: usize = 64;

/// A VM that left.
#[derive(Debug)]
pub(super) struct LeftVm {
    pub(super) vm: Box<str>,
    pub(super) epoch: u32,
    /// When its last epoch ended.
    pub(super) since: UnixMicros,
    /// The address of its monitor.
    pub(super) address: String,
    pub(super) known: VmState,
}

/// Reads the parameter `left`: how many seconds ago the last epoch of a VM may have ended. Other parameters are ignored.
pub(super) fn read(parameters: &[(String, String)]) -> Result<Option<u32>, ApiError> {
    let of_left = parameters.iter().filter(|(name, _)| name == "left");
    refuse_repeated(&of_left.cloned().collect::<Vec<_>>(), &[])?;
    let mut seconds = None;
    for (_, value) in parameters.iter().filter(|(name, _)| name == "left") {
        let refused = |_| ApiError::bad_request(format!("left={value}: expected whole seconds from 0"));
        seconds = Some(value.parse().map_err(refused)?);
    }
    Ok(seconds)
}

/// Returns those of `known`, the VMs of the journal, that the hub does not follow and whose last epoch ended within
/// `seconds`; the latest first.
pub(super) async fn left(
    api: &ApiState,
    known: Vec<JournalVm>,
    seconds: u32,
) -> Result<Vec<LeftVm>, JournalError> {
    let since = UnixMicros(clock::now().0 - i64::from(seconds) * 1_000_000);
    let (reader, vms) = (api.reader.clone(), api.vms.clone());
    let is_followed = move |name: &str| vms.get(name).is_some();
    let mut found = api.read(move || ended(&reader, known, since, is_followed)).await?;
    let names = found.iter().map(|left| left.vm.clone()).collect();
    let states = api.vm_states.states(names, api.head()).await;
    for (left, known) in found.iter_mut().zip(states) {
        left.known = known.unwrap_or_default();
    }
    Ok(found)
}

fn ended(
    reader: &Reader,
    known: Vec<JournalVm>,
    since: UnixMicros,
    is_followed: impl Fn(&str) -> bool,
) -> Result<Vec<LeftVm>, JournalError> {
    let mut ended: Vec<_> = known
        .into_iter()
        .filter(|vm| !vm.attached && QualifiedName::parse(&vm.vm).is_none() && !is_followed(&vm.vm))
        .filter_map(|vm| Some((vm.since.filter(|ended| *ended >= since)?, vm)))
        .collect();
    ended.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    ended.truncate(LEFT_VMS_MAX);
    let left = ended.into_iter().map(|(since, vm)| {
        let address = address(reader, &vm.vm)?;
        Ok(LeftVm { vm: vm.vm, epoch: vm.epoch.0, since, address, known: VmState::default() })
    });
    left.collect()
}

/// The address of the monitor when the last epoch opened; empty if that record was removed.
pub(super) fn address(reader: &Reader, vm: &str) -> Result<String, JournalError> {
    #[derive(Deserialize)]
    struct Snapshot {
        #[serde(default)]
        address: String,
    }
    let vm = Globs::of_vms([vm]);
    let opened = reader.last(&Query { vm, kind: vec![RecordKind::Attached], ..Query::default() }, 1)?;
    let snapshot = opened.records.first().and_then(|opened| match &opened.body {
        Body::Attached { snapshot } => serde_json::from_str::<Snapshot>(snapshot).ok(),
        _ => None,
    });
    Ok(snapshot.map(|snapshot| snapshot.address).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_is_read_as_whole_seconds() {
        let cases =
            [("0", Some(0)), ("86400", Some(86_400)), ("-1", None), ("2.5", None), ("24h", None), ("", None)];
        for (value, expected) in cases {
            let read = read(&[("left".to_owned(), value.to_owned())]);
            assert_eq!(read.ok().flatten(), expected, "{value}");
        }
        let twice = ["1", "2"].map(|value| ("left".to_owned(), value.to_owned()));
        assert!(read(&twice).is_err(), "one value");
        assert_eq!(read(&[("other".to_owned(), "1".to_owned())]), Ok(None));
    }
}

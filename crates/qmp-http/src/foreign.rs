//! VMs of other hosts: a fleet hub has their records, and no connection to their monitors.
//!
//! They are listed as the journal has them. Commands are for the hub of their host; notes and silences are this hub's own.

use axum::http::StatusCode;
use qmp_journal::JournalVm;
use qmp_settings::suggest::nearest;
use qmp_wire::QualifiedName;

use super::error::ApiError;
use super::vm_path::shortened;
use crate::state::ApiState;

/// The most VMs that an error lists.
const VMS_NAMED_MAX: usize = 20;

/// The VMs of other hosts among those of the journal.
pub(super) fn of_other_hosts(in_journal: &[JournalVm]) -> Vec<&JournalVm> {
    in_journal.iter().filter(|vm| QualifiedName::parse(&vm.vm).is_some()).collect()
}

/// The labels of a VM of another host, by its qualified name.
pub(super) fn labels(name: &str) -> [(&'static str, &str); 2] {
    let (host, vm) = QualifiedName::divide(name);
    [("host", host.unwrap_or_default()), ("vm", vm)]
}

/// Reads the VMs of the journal.
pub(super) async fn in_journal(api: &ApiState) -> Result<Vec<JournalVm>, ApiError> {
    let reader = api.reader.clone();
    api.read(move || reader.vms()).await.map_err(|error| ApiError::journal(&error))
}

/// The VM of another host with that name: its qualified name, or the name on its host if one host alone has it.
pub(super) async fn find(api: &ApiState, name: &str) -> Result<JournalVm, ApiError> {
    let in_journal = in_journal(api).await?;
    let all = of_other_hosts(&in_journal);
    let named = |vm: &&JournalVm| *vm.vm == *name || QualifiedName::divide(&vm.vm).1 == name;
    let found: Vec<&JournalVm> = all.into_iter().filter(named).collect();
    match found.as_slice() {
        [] => Err(unknown(api, name, &in_journal)),
        [vm] => Ok((*vm).clone()),
        several => {
            let names = several.iter().map(|vm| &*vm.vm).take(VMS_NAMED_MAX).collect::<Vec<_>>();
            let hosts = several.len();
            let desc = format!("{name} is a VM of {hosts} hosts; write one of {}", names.join(", "));
            Err(ApiError::new(StatusCode::NOT_FOUND, "VmNotFound", desc))
        }
    }
}

/// The error of a request that only the hub of a VM's host can do, or that names no VM.
pub(super) async fn not_here(api: &ApiState, name: &str) -> ApiError {
    let vm = match find(api, name).await {
        Ok(vm) => vm,
        Err(error) => return error,
    };
    let (host, vm) = QualifiedName::divide(&vm.vm);
    let host = host.unwrap_or_default();
    let desc = format!(
        "{vm} is a VM of the host {host}, and this hub has only its records; send the request to the hub of {host}"
    );
    ApiError::new(StatusCode::CONFLICT, "VmOfOtherHost", desc)
}

/// The error of a name that no VM has.
fn unknown(api: &ApiState, name: &str, in_journal: &[JournalVm]) -> ApiError {
    let followed = api.vms.all();
    let mut names: Vec<&str> = followed.iter().map(|vm| vm.name.as_str()).collect();
    names.extend(of_other_hosts(in_journal).iter().map(|vm| &*vm.vm));
    let advice = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => known_vms(&names),
    };
    ApiError::new(StatusCode::NOT_FOUND, "VmNotFound", format!("no VM {:?} here; {advice}", shortened(name)))
}

/// The VMs of the hub, for an error about an unknown one.
fn known_vms(names: &[&str]) -> String {
    match names.len().checked_sub(VMS_NAMED_MAX) {
        _ if names.is_empty() => "this hub follows none".to_owned(),
        None | Some(0) => format!("there are {}", names.join(", ")),
        Some(more) => format!("there are {} and {more} more", names[..VMS_NAMED_MAX].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vms_are_listed_up_to_a_limit() {
        assert_eq!(known_vms(&[]), "this hub follows none");
        assert_eq!(known_vms(&["a", "b"]), "there are a, b");
        let many = ["v"; VMS_NAMED_MAX + 2];
        assert!(known_vms(&many).ends_with(", v and 2 more"));
    }
}

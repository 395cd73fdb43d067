//! Domains that are off when a session opens, and that the journal knows: a restart of the hub must not hide how they ended.

use std::collections::HashSet;

use qmp_host::blocking;
use qmp_journal::{Globs, JournalError, Query, Reader, RecordKind};
use qmp_libvirt::Domain;
use qmp_wire::Body;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::discovery::naming;
use crate::domain_commands::DomainRequest;
use crate::vm::VmName;

/// A domain that is off, and the text of its VM's name.
pub(super) type OffDomain = (Domain, String);

/// Looks for the domains in the journal, and sends each that it knows.
pub(super) async fn look(reader: Reader, off: Vec<OffDomain>, found: mpsc::UnboundedSender<DomainRequest>) {
    let read = blocking(move || {
        let vms: HashSet<Box<str>> = reader.vms()?.into_iter().map(|vm| vm.vm).collect();
        for (domain, text) in off {
            let names = naming::candidates(&text).take_while(|name| vms.contains(name.as_str()));
            for name in names {
                if uuid(&reader, &name)?.is_some_and(|uuid| uuid == domain.uuid.to_string()) {
                    // An error means that the follower ended.
                    let _ = found.send(DomainRequest::Recorded { domain, name: name.as_str().into() });
                    break;
                }
            }
        }
        Ok::<_, JournalError>(())
    });
    if let Err(error) = read.await {
        tracing::warn!(%error, "domains that are off are missing in the list of VMs: cannot read the journal");
    }
}

/// The UUID of a VM in the record that opened its last epoch.
fn uuid(reader: &Reader, name: &VmName) -> Result<Option<String>, JournalError> {
    // Names of VMs contain no special character of a pattern.
    let Ok(vm) = Globs::parse([name.as_str()]) else { return Ok(None) };
    let opened = reader.last(&Query { vm, kind: vec![RecordKind::Attached], ..Query::default() }, 1)?;
    Ok(opened.records.first().and_then(|opened| {
        let Body::Attached { snapshot } = &opened.body else { return None };
        let snapshot: Value = serde_json::from_str(snapshot).ok()?;
        let uuid = ["/libvirt/domain/uuid", "/query-uuid/UUID"].map(|path| snapshot.pointer(path));
        uuid.into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
    }))
}

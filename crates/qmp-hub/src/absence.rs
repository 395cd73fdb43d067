//! VMs whose QEMU ended unobserved: the hub was down, or had closed the epoch for its own reason.
//!
//! Such a VM has a closed epoch, and no recorded end. The evidence on the host decides whether its QEMU has ended: the process
//! in the last snapshot, and the socket of the monitor. The evidence is recorded once, with the kind [`PROCESS_ENDED`], and the
//! correlators conclude. Without evidence nothing is recorded, and the VM is checked again.

mod host;

use std::collections::HashMap;
use std::time::Duration;

use qmp_client::Address;
use qmp_findings::{Id, PROCESS_ENDED, UnendedVm};
use qmp_host::blocking;
use qmp_host::clock::Clock;
use qmp_wire::{Body, Offset, QualifiedName};
use serde_json::json;

use crate::observer::VmStates;
use crate::reason;
use crate::registry::Vms;
use crate::vm::{FollowedVm, MonitorState};
use host::{Fate, Socket};
use qmp_journal::{Appender, Batch, Draft};

/// How often VMs without a recorded end are checked. There are few: after the start, those that are not attached yet.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Finds VMs whose QEMU has ended unobserved.
#[derive(Debug)]
pub(crate) struct Absence {
    pub(crate) vms: Vms,
    pub(crate) vm_states: VmStates,
    pub(crate) appender: Appender,
    pub(crate) clock: Clock,
}

/// The evidence of an unobserved end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    NoSuchProcess,
    HostRestarted,
    ConnectionRefused,
}

impl Absence {
    /// Checks for ever, after the observer has read everything up to `head`.
    pub(crate) async fn run(self, head: Offset) {
        self.vm_states.has_read(head).await;
        let mut recorded: HashMap<Box<str>, Id> = HashMap::new();
        loop {
            let mut unended = self.vm_states.unended();
            // This host has no evidence of VMs of other hosts.
            unended.retain(|vm| QualifiedName::parse(&vm.vm).is_none());
            recorded.retain(|vm, opened| unended.iter().any(|one| one.vm == *vm && one.opened == *opened));
            for vm in unended {
                if !recorded.contains_key(&vm.vm)
                    && let Some(evidence) = self.look(&vm).await
                    && self.record(&vm, evidence).await
                {
                    recorded.insert(vm.vm, vm.opened);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self, vm: &UnendedVm) -> Option<Evidence> {
        let followed = self.vms.get(&vm.vm).map(|vm| socket_of_vm(&vm));
        let (process, address) = (vm.process.clone(), vm.address.clone());
        let shown = move || {
            let fate = process.as_ref().map_or(Fate::Unknown, host::fate);
            (followed.or_else(|| host::socket_at(&address?)).unwrap_or(Socket::Unknown), fate)
        };
        let (socket, fate) = blocking(shown).await;
        judge(socket, fate, followed.is_some())
    }

    /// Records the evidence. Returns whether the journal accepted it.
    async fn record(&self, vm: &UnendedVm, evidence: Evidence) -> bool {
        let pid = vm.process.as_ref().map(|process| process.pid);
        let summary = match (evidence, pid) {
            (Evidence::NoSuchProcess, Some(pid)) => format!("process {pid} is gone; its end was not seen"),
            (Evidence::HostRestarted, Some(pid)) => {
                format!("process {pid} ended with its host; its end was not seen")
            }
            _ => "no process listens at the monitor; the end of QEMU was not seen".to_owned(),
        };
        tracing::warn!(vm = %vm.vm, evidence = evidence.word(), "QEMU ended while it was not attached");
        let data = json!({"pid": pid, "evidence": evidence.word()}).to_string();
        let (finding, causes) = (PROCESS_ENDED.into(), vec![vm.opened]);
        let body = Body::Finding { finding, summary: summary.into(), causes, data: Some(data.into()) };
        let mut batch = Batch::new();
        batch.push(&Draft { vm: &vm.vm, received: self.clock.now(), body });
        self.appender.append_when_room(&mut batch).await.is_ok()
    }
}

impl Evidence {
    const fn word(self) -> &'static str {
        match self {
            Self::NoSuchProcess => "no-such-process",
            Self::HostRestarted => "host-restarted",
            Self::ConnectionRefused => "connection-refused",
        }
    }
}

/// The state of the socket of a VM that is followed. The process of a domain decides alone; if it is watched, its exit status
/// is recorded when it ends.
fn socket_of_vm(vm: &FollowedVm) -> Socket {
    let status = vm.status();
    match status.state {
        MonitorState::Connecting | MonitorState::Detached if vm.is_through_libvirt() => {
            if vm.is_process_watched() { Socket::Unknown } else { Socket::Missing }
        }
        state => socket_of(state, status.reason, &vm.address),
    }
}

/// The state of the socket by the last attempt to attach.
fn socket_of(state: MonitorState, reason: Option<&str>, address: &Address) -> Socket {
    if !matches!(state, MonitorState::Connecting | MonitorState::Detached) {
        return Socket::Unknown;
    }
    match (reason, address) {
        (Some(reason::NO_SUCH_SOCKET), _) => Socket::Missing,
        // A firewall may refuse in place of another host.
        (Some(reason::REFUSED), Address::Unix { .. }) => Socket::Refuses,
        _ => Socket::Unknown,
    }
}

/// The evidence that QEMU has ended, if any.
///
/// The journal of a VM that is not followed here may come from another host, and its socket may belong to another network
/// namespace: only its process counts, and only if this host was not restarted.
const fn judge(socket: Socket, fate: Fate, is_followed: bool) -> Option<Evidence> {
    match (socket, fate) {
        (Socket::Unknown, _) | (_, Fate::Lives) => None,
        (_, Fate::Gone) => Some(Evidence::NoSuchProcess),
        (_, Fate::HostRestarted) if is_followed => Some(Evidence::HostRestarted),
        (Socket::Refuses, _) if is_followed => Some(Evidence::ConnectionRefused),
        (Socket::Refuses | Socket::Missing, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_concluded_from_evidence_alone() {
        use Evidence::{ConnectionRefused, HostRestarted, NoSuchProcess};
        let cases = [
            (Socket::Refuses, Fate::Unknown, true, Some(ConnectionRefused)),
            (Socket::Refuses, Fate::Unknown, false, None),
            (Socket::Refuses, Fate::Lives, true, None),
            (Socket::Refuses, Fate::Gone, true, Some(NoSuchProcess)),
            (Socket::Missing, Fate::Unknown, true, None),
            (Socket::Missing, Fate::Lives, true, None),
            (Socket::Missing, Fate::Gone, false, Some(NoSuchProcess)),
            (Socket::Missing, Fate::HostRestarted, true, Some(HostRestarted)),
            (Socket::Missing, Fate::HostRestarted, false, None),
            (Socket::Unknown, Fate::Gone, true, None),
            (Socket::Unknown, Fate::Unknown, true, None),
        ];
        for (socket, fate, is_followed, expected) in cases {
            assert_eq!(judge(socket, fate, is_followed), expected, "{socket:?} {fate:?} {is_followed}");
        }
    }

    #[test]
    fn last_attempt_tells_of_the_socket() {
        let unix: Address = "unix:/run/a.sock".parse().expect("an address");
        let tcp: Address = "tcp:host:4444".parse().expect("an address");
        let cases = [
            (MonitorState::Connecting, Some(reason::REFUSED), &unix, Socket::Refuses),
            (MonitorState::Detached, Some(reason::NO_SUCH_SOCKET), &unix, Socket::Missing),
            (MonitorState::Connecting, None, &unix, Socket::Unknown),
            (MonitorState::InUse, Some(reason::HELD), &unix, Socket::Unknown),
            (MonitorState::Attached, None, &unix, Socket::Unknown),
            (MonitorState::Connecting, Some(reason::REFUSED), &tcp, Socket::Unknown),
        ];
        for (state, reason, address, expected) in cases {
            assert_eq!(socket_of(state, reason, address), expected, "{state:?} {reason:?} {address}");
        }
    }
}

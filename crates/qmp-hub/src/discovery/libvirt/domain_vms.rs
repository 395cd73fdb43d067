//! The VMs of domains: each is added under a free name, unless the domain is left alone.

use std::sync::Arc;
use std::time::Duration;

use qmp_client::Address;
use qmp_libvirt::{Domain, FollowSocket, Uuid};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::followed_domain::{FollowedDomain, OFF, parts};
use super::own_monitors::OwnMonitors;
use crate::discovery::keeper::RuleKeeper;
use crate::discovery::naming;
use crate::domain_commands::{DomainCommand, DomainCommander, DomainLink, DomainRequest};
use crate::domain_recorder::DomainRecorder;
use crate::registry::VmRegistryError;
use crate::vm::VmName;

/// When adding a VM is tried again that found no free name.
const NAME_RETRY: Duration = Duration::from_secs(30);

/// Adds the VMs of a daemon's domains.
pub(super) struct DomainVms {
    pub(super) keeper: RuleKeeper,
    pub(super) own_monitors: OwnMonitors,
    /// Takes requests for the states of domains.
    pub(super) requests: mpsc::UnboundedSender<DomainRequest>,
    /// Takes the commands of clients; `None` if the rule does not allow commands.
    pub(super) commands: Option<mpsc::Sender<DomainCommand>>,
}

impl DomainVms {
    /// Adds the VM of a domain, unless it is left alone, or its name is not free yet.
    pub(super) async fn add(&mut self, known: &mut FollowedDomain, follow: &FollowSocket) {
        let domain = &known.domain;
        let parts = parts(domain, follow.info());
        if self.keeper.is_excluded(&parts) {
            known.next_attempt = None;
            return;
        }
        if self.has_own_monitor(domain.uuid) {
            return;
        }
        let text = self.keeper.rule.name.fill(&parts);
        for name in naming::candidates(&text) {
            match self.add_as(&name, domain, follow).await {
                Ok(recorder) => {
                    tracing::info!(vm = %name, "found by {}", self.keeper.origin());
                    known.recorder = Some(recorder);
                    return;
                }
                Err(VmRegistryError::NameTaken { .. }) => {}
                Err(_) => return,
            }
        }
        known.next_attempt = Some(Instant::now() + NAME_RETRY);
        let text = format!("too many VMs are called {text:?}; the domain {} is left alone", domain.uuid);
        self.keeper.say_once(&domain.uuid.to_string(), &text);
    }

    /// Adds the VM of a domain that is off, under the name that it has in the journal.
    pub(super) async fn add_off(
        &mut self,
        domain: Domain,
        name: &str,
        follow: &FollowSocket,
    ) -> Option<FollowedDomain> {
        let name = name.parse().ok()?;
        if self.keeper.is_excluded(&parts(&domain, follow.info())) || self.has_own_monitor(domain.uuid) {
            return None;
        }
        let recorder = self.add_as(&name, &domain, follow).await.ok()?;
        recorder.vm.detached(OFF, None, recorder.now());
        Some(FollowedDomain { recorder: Some(recorder), ..FollowedDomain::new(domain) })
    }

    /// Adds the VM of a domain under this name.
    async fn add_as(
        &self,
        name: &VmName,
        domain: &Domain,
        follow: &FollowSocket,
    ) -> Result<Arc<DomainRecorder>, VmRegistryError> {
        let address = Address::Unix { path: follow.socket().to_owned(), listen: false };
        let queue = self.commands.clone();
        let commander = queue.map(|queue| DomainCommander { uuid: domain.uuid, queue });
        let link = DomainLink { uuid: domain.uuid, requests: self.requests.clone() };
        self.keeper.add_domain(name, address, link, commander).await
    }

    /// Whether the domain's own monitor is followed.
    fn has_own_monitor(&mut self, uuid: Uuid) -> bool {
        self.own_monitors.refresh_if_changed(self.keeper.registry.vms());
        self.own_monitors.get(uuid).is_some()
    }
}

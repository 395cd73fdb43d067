//! A domain of the source, and the process of its QEMU.

use std::sync::Arc;

use qmp_client::PeerProcess;
use qmp_libvirt::Domain;
use tokio::task::JoinHandle;

use super::snapshot::ProcessText;
use crate::domain_recorder::DomainRecorder;

/// A domain that ran while the hub did.
pub(super) struct FollowedDomain {
    pub(super) domain: Domain,
    /// A run is known in this session.
    pub(super) is_running: bool,
    /// `None` if the domain is left to its own monitor, or its name is not free.
    pub(super) recorder: Option<Arc<DomainRecorder>>,
    /// The process of the last epoch.
    pub(super) process: DomainProcess,
}

/// The process of a domain, and the descriptor by which its end is noticed.
#[derive(Default)]
pub(super) struct DomainProcess {
    text: Option<ProcessText>,
    descriptor: Option<PeerProcess>,
    /// Waits for the end while libvirtd is away.
    watch: Option<JoinHandle<()>>,
}

impl FollowedDomain {
    /// A domain that is not followed yet.
    pub(super) fn new(domain: Domain) -> Self {
        Self { domain, is_running: false, recorder: None, process: DomainProcess::default() }
    }
}

impl DomainProcess {
    pub(super) fn new(text: Option<ProcessText>) -> Self {
        let descriptor = text.as_ref().and_then(ProcessText::open);
        Self { text, descriptor, watch: None }
    }

    pub(super) fn text(&self) -> Option<&ProcessText> {
        self.text.as_ref()
    }

    /// libvirt says that the run is over: records how the process ended.
    pub(super) fn end(mut self, recorder: Option<&Arc<DomainRecorder>>) {
        if let Some((descriptor, recorder)) = self.descriptor.take().zip(recorder) {
            tokio::spawn(Arc::clone(recorder).record_exit(descriptor, false));
        }
    }

    /// libvirtd is away: waits for the end of the process, until the domain is attached again.
    pub(super) fn watch(&mut self, recorder: &Arc<DomainRecorder>) {
        if let Some(descriptor) = self.descriptor.take() {
            self.watch = Some(tokio::spawn(Arc::clone(recorder).record_exit(descriptor, true)));
        }
    }
}

impl Drop for DomainProcess {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

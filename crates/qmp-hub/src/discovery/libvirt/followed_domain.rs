//! A domain of the source, and the process of its QEMU.

use std::sync::Arc;
use std::time::Duration;

use qmp_client::PeerProcess;
use qmp_libvirt::{DaemonInfo, Domain};
use qmp_wire::UnixMicros;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::process_text::ProcessText;
use crate::domain_recorder::DomainRecorder;
use crate::layout::Parts;

/// How long libvirtd may take to pass an event on, so that events of this time before its last message may be missing when it ends.
/// 2 s were observed, while it destroys the domain.
const PASSING_MAX: Duration = Duration::from_secs(2);

/// What a domain has in the status while libvirtd has no connection to its monitor.
pub(super) const OCCUPIED: &str = "libvirt has not connected the VM's monitor; another client may hold it";

/// What a domain has in the status after libvirtd lost its monitor.
pub(super) const UNREADABLE: &str = "libvirt can no longer read the VM's monitor; restart libvirtd";

/// What a domain that is off has in the status, since the hub started or connected to libvirtd.
pub(super) const OFF: &str = "libvirt has the domain, and it does not run";

/// A domain that ran while the hub did.
pub(super) struct FollowedDomain {
    pub(super) domain: Domain,
    /// A run is known in this session.
    pub(super) is_running: bool,
    /// `None` if the domain is left to its own monitor, or its name is not free.
    pub(super) recorder: Option<Arc<DomainRecorder>>,
    /// When adding its VM may be tried again; `None` if the rule excludes the domain.
    pub(super) next_attempt: Option<Instant>,
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
        let (next_attempt, process) = (Some(Instant::now()), DomainProcess::default());
        Self { domain, is_running: false, recorder: None, next_attempt, process }
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

    /// Whether the process is stopped or waits for the kernel, so that it cannot reply to a command.
    pub(super) fn is_stuck(&self) -> bool {
        self.text.as_ref().is_some_and(ProcessText::is_stuck)
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

/// The parts from which the name of a domain's VM is made.
pub(super) fn parts(domain: &Domain, daemon: &DaemonInfo) -> Parts {
    Parts {
        name: domain.name.to_string(),
        uuid: domain.uuid.to_string(),
        host: daemon.host_name.as_deref().unwrap_or_default().to_owned(),
        ..Parts::default()
    }
}

/// The end of what is certain in the epochs of a daemon that was last heard so long ago.
pub(super) fn certain_until(now: UnixMicros, heard_ago: Duration) -> UnixMicros {
    let span = i64::try_from((heard_ago + PASSING_MAX).as_micros()).unwrap_or(i64::MAX);
    UnixMicros(now.0.saturating_sub(span))
}

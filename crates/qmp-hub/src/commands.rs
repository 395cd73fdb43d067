//! Commands that clients sent to a VM through the hub, and that have no reply yet.
//!
//! They explain why the VM does not answer, or why it stopped.

use std::sync::{Arc, Mutex, MutexGuard};

use qmp_host::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit::Who;
use crate::role::only_asks;

/// The commands of one VM.
#[derive(Debug, Default)]
pub struct Commands {
    /// In the order in which they were sent.
    pending: Mutex<Vec<Arc<Pending>>>,
    /// Notified when a command ends.
    ended: Notify,
}

/// A command without a reply.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) execute: Box<str>,
    pub(crate) who: Arc<Who>,
    pub(crate) began_at: Instant,
}

/// Keeps a command pending until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    commands: Arc<Commands>,
    command: Arc<Pending>,
}

impl Commands {
    /// Adds a command that is about to be forwarded.
    pub fn begin(self: &Arc<Self>, execute: &str, who: &Arc<Who>) -> UnderWay {
        let pending = Pending { execute: execute.into(), who: Arc::clone(who), began_at: Instant::now() };
        let command = Arc::new(pending);
        self.lock().push(Arc::clone(&command));
        UnderWay { commands: Arc::clone(self), command }
    }

    /// The command that has been pending longest.
    pub(crate) fn oldest(&self) -> Option<Arc<Pending>> {
        self.lock().first().cloned()
    }

    /// Waits until no pending command may change the VM.
    pub(crate) async fn none_changes(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before the check, so that no notification is missed.
            ended.as_mut().enable();
            if self.lock().iter().all(|command| only_asks(&command.execute)) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pending>>> {
        lock(&self.pending)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut pending = self.commands.lock();
        pending.retain(|other| !Arc::ptr_eq(other, &self.command));
        if pending.is_empty() {
            // Most VMs never get another command.
            *pending = Vec::new();
        }
        drop(pending);
        self.commands.ended.notify_waiters();
    }
}

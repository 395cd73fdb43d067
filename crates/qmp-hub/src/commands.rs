//! Commands that clients sent to a VM through the hub, and that have no reply yet.
//!
//! They explain why the VM does not answer, or why it stopped.

use std::sync::{Arc, Mutex, MutexGuard};

use qmp_host::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit::ClientIdentity;
use crate::role::only_asks;

/// The commands of one VM.
#[derive(Debug, Default)]
pub struct CommandsInFlight {
    /// In the order in which they were sent.
    pending: Mutex<Vec<Arc<CommandInFlight>>>,
    /// Notified when a command ends.
    ended: Notify,
}

/// A command without a reply.
#[derive(Debug)]
pub(crate) struct CommandInFlight {
    pub(crate) execute: Box<str>,
    pub(crate) identity: Arc<ClientIdentity>,
    pub(crate) began_at: Instant,
}

/// Keeps a command pending until this is dropped.
#[derive(Debug)]
pub struct InFlightGuard {
    commands: Arc<CommandsInFlight>,
    command: Arc<CommandInFlight>,
}

impl CommandsInFlight {
    /// Adds a command that is about to be forwarded.
    pub fn begin(self: &Arc<Self>, execute: &str, identity: &Arc<ClientIdentity>) -> InFlightGuard {
        let pending = CommandInFlight {
            execute: execute.into(),
            identity: Arc::clone(identity),
            began_at: Instant::now(),
        };
        let command = Arc::new(pending);
        self.lock().push(Arc::clone(&command));
        InFlightGuard { commands: Arc::clone(self), command }
    }

    /// The command that has been pending longest.
    pub(crate) fn oldest(&self) -> Option<Arc<CommandInFlight>> {
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

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<CommandInFlight>>> {
        lock(&self.pending)
    }
}

impl Drop for InFlightGuard {
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

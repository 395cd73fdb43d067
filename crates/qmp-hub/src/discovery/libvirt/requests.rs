//! What other tasks ask of the follower of a daemon.

use std::collections::HashMap;

use qmp_client::ExecuteError;
use qmp_libvirt::{FollowSocket, Source, Uuid};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::command_queue::{CommandQueue, Lane};
use super::followed_domain::FollowedDomain;
use super::replies::Replies;
use super::spare_lanes::SpareLanes;
use crate::domain_commands::{DomainCommand, DomainRequest};

/// Requests for states, and commands with the clients that wait for their replies.
pub(super) struct Requests {
    pub(super) states: mpsc::UnboundedReceiver<DomainRequest>,
    pub(super) commands: mpsc::Receiver<DomainCommand>,
    pub(super) queue: CommandQueue,
    pub(super) replies: Replies,
    pub(super) spare: SpareLanes,
    /// True once the follower is to end.
    pub(super) stop: watch::Receiver<bool>,
}

impl Requests {
    pub(super) fn new(
        states: mpsc::UnboundedReceiver<DomainRequest>,
        commands: mpsc::Receiver<DomainCommand>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (queue, replies, spare) = (CommandQueue::default(), Replies::default(), SpareLanes::default());
        Self { states, commands, queue, replies, spare, stop }
    }

    /// Passes the commands to libvirtd that may be sent.
    pub(super) fn execute(
        &mut self,
        source: &Source,
        domains: &HashMap<Uuid, FollowedDomain>,
        follow: &mut FollowSocket,
    ) {
        let is_stuck = |uuid| domains.get(&uuid).is_some_and(|known| known.process.is_stuck());
        while let Some((command, lane)) = self.queue.next(Instant::now(), is_stuck) {
            let DomainCommand { uuid, text, sink } = command;
            let domain = domains.get(&uuid).filter(|known| known.is_running).map(|known| &known.domain);
            let call = (lane == Lane::Follower).then(|| follow.execute(uuid, &text)).flatten();
            match (call, domain) {
                (Some(call), _) => self.replies.sent(call, uuid, sink),
                (None, Some(domain)) if lane == Lane::Spare => {
                    self.spare.execute(source, domain.clone(), text, sink);
                }
                _ => {
                    self.queue.replied(uuid);
                    sink.deliver(Err(ExecuteError::NotAttached));
                }
            }
        }
    }

    /// The session ended.
    pub(super) fn lose(&mut self) {
        self.queue.lose();
        self.replies.lose();
        self.spare.lose();
    }

    /// Waits for the request to end.
    pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
        // An error means that the hub was dropped.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

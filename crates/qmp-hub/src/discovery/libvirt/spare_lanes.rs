//! Commands on connections of their own, each with one, while the commands on the follower's connection have no reply.
//!
//! libvirtd serves five calls of a connection at a time, and a call to a QEMU that hangs ends with that QEMU. So a command that
//! finds no place there gets a connection, which ends with its reply.

use std::collections::HashMap;

use qmp_client::{CommandError, ExecuteError, ReplySink};
use qmp_libvirt::{Domain, FollowItem, FollowSocket, Source, Uuid};
use tokio::task::JoinSet;

use super::replies::{LIBVIRT_ERROR, result};
use crate::discovery::rule::user_directory;
use crate::domain_commands::lost;

/// The reply to the command of a domain.
type LaneReply = (Uuid, Result<Box<str>, ExecuteError>);

/// The connections, and the clients that wait for their replies.
#[derive(Debug, Default)]
pub(super) struct SpareLanes {
    tasks: JoinSet<LaneReply>,
    sinks: HashMap<Uuid, Box<dyn ReplySink>>,
}

impl SpareLanes {
    /// Sends a command; the domain has no other one in flight.
    pub(super) fn execute(
        &mut self,
        source: &Source,
        domain: Domain,
        command: String,
        sink: Box<dyn ReplySink>,
    ) {
        let (source, uuid) = (source.clone(), domain.uuid);
        self.sinks.insert(uuid, sink);
        self.tasks.spawn(async move { (uuid, execute(&source, domain, &command).await) });
    }

    /// Waits for the next reply; for ever while there is no command.
    pub(super) async fn next(
        &mut self,
    ) -> (Uuid, Option<Box<dyn ReplySink>>, Result<Box<str>, ExecuteError>) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((uuid, result))) => return (uuid, self.sinks.remove(&uuid), result),
                Some(Err(error)) => tracing::error!("a task of the hub died: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// The daemon is gone, or is left: whether the commands took effect is unknown.
    pub(super) fn lose(&mut self) {
        self.tasks.abort_all();
        self.tasks = JoinSet::new();
        self.sinks.drain().for_each(|(_, sink)| sink.deliver(Err(lost())));
    }
}

async fn execute(source: &Source, domain: Domain, command: &str) -> Result<Box<str>, ExecuteError> {
    let connected = FollowSocket::connect_for_commands(source, &user_directory()).await;
    let mut connection = connected.map_err(|error| CommandError {
        class: LIBVIRT_ERROR.into(),
        desc: format!("{error}; the command was not sent").into(),
    })?;
    connection.execute_on(domain, command);
    loop {
        match connection.next().await {
            Ok(FollowItem::Reply { result: reply, .. }) => {
                tokio::spawn(connection.close());
                return result(reply);
            }
            Ok(_) => {}
            Err(_) => return Err(lost()),
        }
    }
}

//! The commands of clients that wait for libvirtd, which executes few at a time: a QEMU that hangs never replies.
//!
//! Each domain has one command in flight at most, so that a domain that hangs delays no other one.

use std::collections::{HashSet, VecDeque};

use qmp_client::ExecuteError;
use qmp_libvirt::{COMMANDS_MAX, Uuid};

use crate::domain_commands::{DOMAIN_COMMANDS_MAX, DomainCommand};

/// Most commands of one domain that wait behind the one in flight.
const WAITING_MAX_OF_DOMAIN: usize = 8;

/// The commands of the domains of one daemon.
#[derive(Debug, Default)]
pub(super) struct CommandQueue {
    waiting: VecDeque<DomainCommand>,
    /// The domains that have a command in flight.
    in_flight: HashSet<Uuid>,
}

impl CommandQueue {
    /// Queues a command. Refuses it with `Busy` if too many wait whose clients are connected.
    pub(super) fn push(&mut self, command: DomainCommand) {
        self.waiting.retain(|waiting| !waiting.sink.is_cancelled());
        let of_domain = self.waiting.iter().filter(|waiting| waiting.uuid == command.uuid).count();
        let waiting = if of_domain >= WAITING_MAX_OF_DOMAIN { of_domain } else { self.waiting.len() };
        if of_domain >= WAITING_MAX_OF_DOMAIN || waiting >= DOMAIN_COMMANDS_MAX {
            command.sink.deliver(Err(ExecuteError::Busy { waiting }));
        } else {
            self.waiting.push_back(command);
        }
    }

    /// The next command that may be sent. The caller reports to [`sent`](Self::sent) that it was.
    pub(super) fn next(&mut self) -> Option<DomainCommand> {
        if self.in_flight.len() >= COMMANDS_MAX {
            return None;
        }
        self.waiting.retain(|waiting| !waiting.sink.is_cancelled());
        let position = self.waiting.iter().position(|command| !self.in_flight.contains(&command.uuid))?;
        self.waiting.remove(position)
    }

    /// A command of the domain was sent.
    pub(super) fn sent(&mut self, uuid: Uuid) {
        self.in_flight.insert(uuid);
    }

    /// The command of the domain has its reply.
    pub(super) fn replied(&mut self, uuid: Uuid) {
        self.in_flight.remove(&uuid);
    }

    /// The session ended: nothing was sent of the commands that wait.
    pub(super) fn lose(&mut self) {
        self.in_flight.clear();
        self.waiting.drain(..).for_each(|command| command.sink.deliver(Err(ExecuteError::NotAttached)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use qmp_client::ReplySink;

    use super::*;

    /// Counts the errors that are delivered.
    #[derive(Clone, Debug, Default)]
    struct Client {
        is_gone: Arc<AtomicBool>,
        refused: Arc<AtomicUsize>,
    }

    impl ReplySink for Client {
        fn is_cancelled(&self) -> bool {
            self.is_gone.load(Ordering::Relaxed)
        }

        fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
            self.refused.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
        }
    }

    fn push(queue: &mut CommandQueue, domain: u8, text: &str, client: &Client) {
        let (uuid, sink) = (Uuid::from_bytes([domain; 16]), Box::new(client.clone()));
        queue.push(DomainCommand { uuid, text: text.to_owned(), sink });
    }

    /// The commands that may be sent before any reply.
    fn send(queue: &mut CommandQueue) -> String {
        let mut sent = Vec::new();
        while let Some(command) = queue.next() {
            queue.sent(command.uuid);
            sent.push(command.text);
        }
        sent.join(" ")
    }

    #[test]
    fn domain_that_hangs_delays_no_other_one() {
        let (mut queue, client) = (CommandQueue::default(), Client::default());
        for (domain, text) in [(1, "a"), (1, "b"), (2, "c"), (1, "d"), (2, "e")] {
            push(&mut queue, domain, text, &client);
        }
        assert_eq!(send(&mut queue), "a c");
        queue.replied(Uuid::from_bytes([2; 16]));
        assert_eq!(send(&mut queue), "e");
        queue.replied(Uuid::from_bytes([2; 16]));
        assert_eq!(send(&mut queue), "", "a has no reply");
        for text in 0..20 {
            push(&mut queue, 1, &text.to_string(), &client);
        }
        assert_eq!(client.refused.load(Ordering::Relaxed), 22 - WAITING_MAX_OF_DOMAIN);
        push(&mut queue, 2, "f", &client);
        assert_eq!(send(&mut queue), "f");
        queue.lose();
        assert_eq!(client.refused.load(Ordering::Relaxed), 22);
    }

    #[test]
    fn command_of_a_client_that_is_gone_is_not_sent() {
        let (mut queue, client, gone) = (CommandQueue::default(), Client::default(), Client::default());
        for _ in 0..WAITING_MAX_OF_DOMAIN {
            push(&mut queue, 1, "gone", &gone);
        }
        gone.is_gone.store(true, Ordering::Relaxed);
        push(&mut queue, 1, "a", &client);
        assert_eq!(send(&mut queue), "a");
        assert_eq!(client.refused.load(Ordering::Relaxed), 0);
    }
}

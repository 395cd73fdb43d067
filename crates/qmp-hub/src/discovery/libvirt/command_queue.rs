//! The commands of clients that wait for libvirtd, which executes few at a time: a QEMU that hangs never replies.
//!
//! Each domain has one command in flight at most. A command without a reply for [`OVERDUE_AFTER`] gives its place to another one,
//! as long as there are at most [`IN_FLIGHT_MAX`] in all. Of the domains whose process is stopped or waits for a disk, one
//! has a command in flight, so that they take no places from the others.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use qmp_client::ExecuteError;
use qmp_libvirt::{COMMANDS_MAX, Uuid};
use tokio::time::Instant;

use crate::domain_commands::{DOMAIN_COMMANDS_MAX, DomainCommand};

/// Most commands of one domain that wait behind the one in flight.
const WAITING_MAX_OF_DOMAIN: usize = 8;

/// When a command without a reply does not count any more. Most commands take some milliseconds.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

/// Most commands without a reply. Each occupies one of libvirtd's 20 workers (`max_workers`), which serve all its clients.
const IN_FLIGHT_MAX: usize = 8;

/// How often the processes of domains are looked at while their commands wait.
const STUCK_INTERVAL: Duration = Duration::from_millis(250);

/// The commands of the domains of one daemon.
#[derive(Debug, Default)]
pub(super) struct CommandQueue {
    waiting: VecDeque<DomainCommand>,
    /// The domains that have a command in flight.
    in_flight: HashMap<Uuid, InFlight>,
    /// No command could be sent: they are looked at again at this time, or after a change.
    next_look: Option<Instant>,
}

/// A command that libvirtd has.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    since: Instant,
    lane: Lane,
    /// The domain's process could not reply when the command was sent.
    is_stuck: bool,
}

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// On the connection that follows the domains, which has room for [`COMMANDS_MAX`].
    Follower,
    /// On a connection of its own.
    Spare,
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
            self.next_look = None;
        }
    }

    /// Takes the next command that may be sent, which counts as sent. `is_stuck` says whether the process of a domain is stopped
    /// or waits for a disk.
    pub(super) fn next(
        &mut self,
        now: Instant,
        is_stuck: impl Fn(Uuid) -> bool,
    ) -> Option<(DomainCommand, Lane)> {
        let is_early = self.next_look.is_some_and(|at| now < at);
        if self.waiting.is_empty() || is_early || !self.has_room(now) {
            return None;
        }
        self.waiting.retain(|waiting| !waiting.sink.is_cancelled());
        let has_stuck = self.in_flight.values().any(|sent| sent.is_stuck);
        let may_be_sent = |command: &DomainCommand| {
            let uuid = command.uuid;
            !(self.in_flight.contains_key(&uuid) || has_stuck && is_stuck(uuid))
        };
        let Some(position) = self.waiting.iter().position(may_be_sent) else {
            // The follower asks after each event.
            self.next_look = Some(now + STUCK_INTERVAL);
            return None;
        };
        let command = self.waiting.remove(position)?;
        let of_follower = self.in_flight.values().filter(|sent| sent.lane == Lane::Follower).count();
        let lane = if of_follower < COMMANDS_MAX { Lane::Follower } else { Lane::Spare };
        let is_stuck = !has_stuck && is_stuck(command.uuid);
        self.in_flight.insert(command.uuid, InFlight { since: now, lane, is_stuck });
        Some((command, lane))
    }

    /// The command of the domain has its reply.
    pub(super) fn replied(&mut self, uuid: Uuid) {
        self.in_flight.remove(&uuid);
        self.next_look = None;
    }

    /// The session ended: nothing was sent of the commands that wait.
    pub(super) fn lose(&mut self) {
        self.in_flight.clear();
        self.waiting.drain(..).for_each(|command| command.sink.deliver(Err(ExecuteError::NotAttached)));
    }

    fn has_room(&self, now: Instant) -> bool {
        let is_recent = |sent: &&InFlight| now.duration_since(sent.since) < OVERDUE_AFTER;
        let recent = self.in_flight.values().filter(is_recent).count();
        recent < COMMANDS_MAX && self.in_flight.len() < IN_FLIGHT_MAX
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
        send_at(queue, Instant::now(), &[])
    }

    /// The commands that may be sent at `now`, if these domains are stuck. An asterisk marks those with a connection of their own.
    fn send_at(queue: &mut CommandQueue, now: Instant, stuck: &[u8]) -> String {
        let mut sent = Vec::new();
        let is_stuck = |uuid| stuck.iter().any(|number| uuid == Uuid::from_bytes([*number; 16]));
        while let Some((command, lane)) = queue.next(now, is_stuck) {
            sent.push(command.text + if lane == Lane::Spare { "*" } else { "" });
        }
        sent.join(" ")
    }

    #[test]
    fn overdue_command_gives_its_place_to_another_one() {
        let (mut queue, client) = (CommandQueue::default(), Client::default());
        let start = Instant::now();
        for domain in 1..=12 {
            push(&mut queue, domain, &domain.to_string(), &client);
        }
        assert_eq!(send_at(&mut queue, start, &[]), "1 2 3");
        assert_eq!(send_at(&mut queue, start + OVERDUE_AFTER / 2, &[]), "");
        assert_eq!(send_at(&mut queue, start + OVERDUE_AFTER, &[]), "4* 5* 6*");
        queue.replied(Uuid::from_bytes([2; 16]));
        assert_eq!(send_at(&mut queue, start + OVERDUE_AFTER, &[]), "");
        assert_eq!(send_at(&mut queue, start + 2 * OVERDUE_AFTER, &[]), "7 8* 9*");
        assert_eq!(send_at(&mut queue, start + 9 * OVERDUE_AFTER, &[]), "", "{IN_FLIGHT_MAX} are in flight");
        queue.replied(Uuid::from_bytes([5; 16]));
        assert_eq!(send_at(&mut queue, start + 9 * OVERDUE_AFTER, &[]), "10*");
    }

    #[test]
    fn processes_that_cannot_reply_have_one_place() {
        let (mut queue, client) = (CommandQueue::default(), Client::default());
        for domain in 1..=6 {
            push(&mut queue, domain, &domain.to_string(), &client);
        }
        let start = Instant::now();
        assert_eq!(send_at(&mut queue, start, &[1, 2, 3, 4]), "1 5 6");
        for domain in [5, 6] {
            queue.replied(Uuid::from_bytes([domain; 16]));
        }
        assert_eq!(send_at(&mut queue, start + 9 * OVERDUE_AFTER, &[1, 2, 3, 4]), "");
        assert_eq!(send_at(&mut queue, start + 9 * OVERDUE_AFTER, &[1, 2, 4]), "", "too early to look again");
        assert_eq!(send_at(&mut queue, start + 10 * OVERDUE_AFTER, &[1, 2, 4]), "3");
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

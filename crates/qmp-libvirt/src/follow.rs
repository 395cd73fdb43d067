//! Following every domain of one daemon: a session, and the epochs of its domains.
//!
//! The machine holds no socket and no clock. Its driver passes the bytes read ([`Follow::handle_input`]), takes the items
//! ([`Follow::poll_item`]) until none is left, and writes the bytes to send ([`Follow::transmit`]).
//!
//! An epoch is a span in which this connection and libvirtd's monitor of one run of the domain both held. It opens with the
//! domain's state, asked for after the registration for events; within it, no event that libvirtd passes on is missing. When
//! the machine returns an error, the epochs of all domains end.

mod held;
mod item;
mod question;
mod run;
mod domains;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

pub use self::item::{Attachment, Began, EndReason, FollowItem};

use self::domains::Domains;
use self::question::Question;
use crate::call::{Call, Reply};
use crate::connection::CallId;
use crate::domain::Domain;
use crate::remote_error::RemoteError;
use crate::session::{Session, SessionError, SessionOutput};
use crate::uuid::Uuid;

/// Follows every domain of one daemon over one connection.
#[derive(Debug)]
pub struct Follow {
    session: Session,
    domains: Domains,
    /// Calls whose replies belong to `domains`.
    questions: BTreeMap<CallId, Question>,
    /// Calls of [`query_state`](Self::query_state).
    state_queries: BTreeSet<CallId>,
    /// Items that belong to no domain.
    items: VecDeque<FollowItem>,
}

impl Follow {
    /// Creates a follower of the hypervisor `uri` on a connection made at `now`.
    #[must_use]
    pub fn new(uri: &str, now: Instant) -> Self {
        Self::of(Session::new(uri, now))
    }

    /// As [`new`](Self::new), for commands only: the daemon sends no events, and no domain is an item.
    #[must_use]
    pub fn for_commands(uri: &str, now: Instant) -> Self {
        Self::of(Session::without_events(uri, now))
    }

    fn of(session: Session) -> Self {
        Self {
            session,
            domains: Domains::default(),
            questions: BTreeMap::new(),
            state_queries: BTreeSet::new(),
            items: VecDeque::new(),
        }
    }

    /// Processes bytes from the daemon. Call [`poll_item`](Self::poll_item) afterwards until it returns `None`.
    pub fn handle_input(&mut self, bytes: &[u8], now: Instant) {
        self.session.connection_mut().handle_input(bytes, now);
    }

    /// Handles the end of the stream, and returns what it means.
    pub fn handle_end(&mut self) -> SessionError {
        self.session.connection_mut().handle_end().into()
    }

    /// Handles the passing of time; call it when [`poll_timeout`](Self::poll_timeout) is reached.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Silent`](crate::ConnectionError::Silent) or
    /// [`ConnectionError::NoReply`](crate::ConnectionError::NoReply).
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.session.connection_mut().handle_timeout(now)?;
        self.domains.handle_timeout(now);
        self.ask(now);
        Ok(())
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let connection = self.session.connection().poll_timeout();
        self.domains.poll_timeout().map_or(connection, |domains| domains.min(connection))
    }

    /// Returns the next item.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`]; the connection is of no use then.
    pub fn poll_item(&mut self, now: Instant) -> Result<Option<FollowItem>, SessionError> {
        loop {
            if let Some(item) = self.items.pop_front().or_else(|| self.domains.poll_item()) {
                return Ok(Some(item));
            }
            let Some(output) = self.session.poll_output(now)? else { return Ok(None) };
            self.handle_output(output, now);
            self.ask(now);
        }
    }

    /// Returns the bytes to send to the daemon; report the sent ones to [`consume_transmit`](Self::consume_transmit).
    #[must_use]
    pub fn transmit(&self) -> &[u8] {
        self.session.connection().transmit()
    }

    /// Removes the first `sent_bytes` of [`transmit`](Self::transmit).
    pub fn consume_transmit(&mut self, sent_bytes: usize) {
        self.session.connection_mut().consume_transmit(sent_bytes);
    }

    /// Sends a QMP command to the domain's QEMU; `None` if the domain does not run. libvirt marks the domain as tainted.
    pub fn execute(&mut self, uuid: Uuid, command: &str, now: Instant) -> Option<CallId> {
        let domain = self.domains.domain(uuid)?.clone();
        Some(self.execute_on(domain, command, now))
    }

    /// As [`execute`](Self::execute), for a domain that another connection follows.
    pub fn execute_on(&mut self, domain: Domain, command: &str, now: Instant) -> CallId {
        let call = Call::MonitorCommand { domain, command: command.into() };
        self.session.connection_mut().call(call, now)
    }

    /// Queries the state of a domain without a change of its epoch; [`FollowItem::State`] follows. `None` if the domain does
    /// not run.
    pub fn query_state(&mut self, uuid: Uuid, now: Instant) -> Option<CallId> {
        let domain = self.domains.domain(uuid)?.clone();
        let call = self.session.connection_mut().call(Call::State(domain), now);
        self.state_queries.insert(call);
        Some(call)
    }

    /// Ends an epoch whose owner lost events, and opens the next with the domain's state.
    pub fn reopen(&mut self, uuid: Uuid, now: Instant) {
        self.domains.reopen(uuid);
        self.ask(now);
    }

    /// Asks whether a domain of an earlier session exists still; if not, [`FollowItem::Gone`] follows.
    pub fn look_up(&mut self, domain: Domain, now: Instant) {
        self.domains.look_up(domain);
        self.ask(now);
    }

    /// Asks the daemon to end the connection, so that it logs no error.
    pub fn close(&mut self, now: Instant) {
        self.session.connection_mut().call(Call::Close, now);
    }

    /// Returns when the daemon last sent anything.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.session.connection().heard_at()
    }

    /// Returns the bytes of memory that grow with what the daemon sends, without the events that wait for a state.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.session.connection().held_bytes()
    }

    fn handle_output(&mut self, output: SessionOutput, now: Instant) {
        match output {
            SessionOutput::Connected(info) => self.items.push_back(FollowItem::Connected(info)),
            SessionOutput::Domains(domains) => self.domains.handle_list(domains),
            SessionOutput::Event(event) => self.domains.handle_event(event, now),
            SessionOutput::Unknown(header) => self.items.push_back(FollowItem::Unknown(header)),
            SessionOutput::Reply { call, result } if self.state_queries.remove(&call) => {
                self.items.extend(state_reply(call, result));
            }
            SessionOutput::Reply { call, result } => match self.questions.remove(&call) {
                Some(question) => self.answer(&question, result, now),
                None => self.items.extend(command_reply(call, result)),
            },
        }
    }

    fn answer(&mut self, question: &Question, result: Result<Reply, RemoteError>, now: Instant) {
        match (question, result) {
            (Question::Control(domain), Ok(Reply::Control(control))) => {
                self.domains.handle_control(domain, Ok(control), now);
            }
            (Question::Control(domain), Err(error)) => self.domains.handle_control(domain, Err(error), now),
            (Question::State(domain), Ok(Reply::State(state))) => {
                self.domains.handle_state(domain, Ok(state));
            }
            (Question::State(domain), Err(error)) => self.domains.handle_state(domain, Err(error)),
            (Question::Exists(domain), Ok(Reply::State(state))) => {
                self.domains.handle_exists(domain, &Ok(state));
            }
            (Question::Exists(domain), Err(error)) => self.domains.handle_exists(domain, &Err(error)),
            // A reply has the form that its call demands.
            (_, Ok(_)) => {}
        }
    }

    /// Makes the calls that the domains need.
    fn ask(&mut self, now: Instant) {
        while let Some(question) = self.domains.poll_question() {
            let call = match &question {
                Question::Control(domain) => Call::Control(domain.clone()),
                Question::State(domain) | Question::Exists(domain) => Call::State(domain.clone()),
            };
            let call = self.session.connection_mut().call(call, now);
            self.questions.insert(call, question);
        }
    }
}

/// The reply to a query of the follower's owner.
fn state_reply(call: CallId, result: Result<Reply, RemoteError>) -> Option<FollowItem> {
    match result {
        Ok(Reply::State(state)) => Some(FollowItem::State { call, result: Ok(state) }),
        // A reply has the form that its call demands.
        Ok(_) => None,
        Err(error) => Some(FollowItem::State { call, result: Err(error) }),
    }
}

/// The reply to a command of the follower's owner; replies to other calls say nothing.
fn command_reply(call: CallId, result: Result<Reply, RemoteError>) -> Option<FollowItem> {
    match result {
        Ok(Reply::Text(reply)) => Some(FollowItem::Reply { call, result: Ok(reply) }),
        Ok(_) => None,
        Err(error) => Some(FollowItem::Reply { call, result: Err(error) }),
    }
}

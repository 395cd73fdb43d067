//! Drives a [`Publisher`] over a connection, which it opens when it is needed.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use qmp_host::{Backoff, clock};
use qmp_wire::Offset;

use super::error::FleetError;
use super::link::Link;
use super::message::Message;
use super::publisher::{Publisher, PublisherState, RepeatCause};
use super::server::ServerConfig;
use super::session::{Acknowledgement, Session, SessionEvent};
use super::sign_of_life::{SIGN_OF_LIFE_INTERVAL, SignOfLife};
use super::stream_config::StreamRequest;

/// How long messages may wait without any acknowledgement.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before an idle publisher connects again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The longest such pause.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// The part of a window whose acknowledgement is worth a return to the caller, who then adds records: a smaller one costs
/// time, and a larger one lets the window drain.
const RETURN_WINDOW_PART: usize = 4;

/// The interval in which a publisher looks whether its stream still has the acknowledged messages.
const STREAM_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Where and how a host publishes.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// The servers.
    pub server: ServerConfig,
    /// The stream.
    pub stream: StreamRequest,
    /// The name of the host.
    pub host: Box<str>,
    /// The name of its journal.
    pub journal: Box<str>,
    /// Messages that wait for their acknowledgement at once.
    pub window: usize,
    /// The interval in which the stream is looked at.
    pub check_every: Duration,
    /// The interval of the signs of life while there is nothing to publish.
    pub sign_every: Duration,
}

/// The state of a publisher for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishHealth {
    /// Whether there is a connection.
    pub is_connected: bool,
    /// The version of the server.
    pub server_version: Option<Box<str>>,
    /// Faults that do not stop the publisher, each with what to do.
    pub problems: Vec<Box<str>>,
}

/// The result of publishing some records.
#[derive(Debug)]
pub struct PublishOutcome {
    /// The number of records that are acknowledged, from the first on.
    pub published: usize,
    /// Why the next record is not.
    pub failure: Option<PublishFailure>,
}

/// Why a record is not published.
#[derive(Debug)]
pub enum PublishFailure {
    /// The server, the stream or the connection failed.
    Fleet(FleetError),
    /// The caller has to publish the records after this offset again.
    Repeat(Offset, RepeatCause),
}

/// What happened to an idle publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishEvent {
    /// The caller has to publish the records after this offset again.
    Repeat(Offset, RepeatCause),
    /// [`PublishDriver::health`] has changed.
    Health,
}

/// Publishes the records of one journal.
pub struct PublishDriver {
    config: PublishConfig,
    publisher: Publisher,
    session: Option<Session>,
    checked_at: Instant,
    /// When a sign of life is due.
    sign_at: Instant,
    health: PublishHealth,
    /// Whether the problems have a confirmation of records that this journal does not have.
    is_ahead: bool,
    /// Whether [`wait`](Self::wait) has not yet returned for the last change of the health.
    is_health_new: bool,
    backoff: Backoff,
}

impl PublishConfig {
    /// The interval of [`check_every`](Self::check_every) unless a test needs another.
    pub const CHECK_EVERY: Duration = STREAM_CHECK_INTERVAL;

    /// The interval of [`sign_every`](Self::sign_every) unless a test needs another.
    pub const SIGN_EVERY: Duration = SIGN_OF_LIFE_INTERVAL;
}

impl fmt::Debug for PublishDriver {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("PublishDriver")
            .field("config", &self.config)
            .field("publisher", &self.publisher)
            .finish_non_exhaustive()
    }
}

impl PublishDriver {
    /// A publisher that continues at `state`. It connects when it is first used.
    #[must_use]
    pub fn new(config: PublishConfig, state: PublisherState) -> Self {
        let publisher = Publisher::new(&config.journal, config.window, state);
        let seed =
            config.journal.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        Self {
            config,
            publisher,
            session: None,
            checked_at: Instant::now(),
            sign_at: Instant::now(),
            health: PublishHealth::default(),
            is_ahead: false,
            is_health_new: false,
            backoff: Backoff::new(RETRY_DELAY, RETRY_DELAY_MAX, seed),
        }
    }

    /// Publishes the records at `offsets`, which ascend; `message` writes the message of one by its index.
    ///
    /// Returns when all are acknowledged, or all are sent and many are acknowledged. Then the caller removes these, may add
    /// records, and calls again: messages that are in flight are not sent again, so the window stays full. Dropping the
    /// future loses nothing.
    pub async fn publish(
        &mut self,
        offsets: &[Offset],
        message: &(dyn Fn(usize, Link) -> Message + Send + Sync),
    ) -> PublishOutcome {
        if offsets.is_empty() {
            return PublishOutcome { published: 0, failure: None };
        }
        if let Err(error) = self.connect().await {
            return self.failed(0, error);
        }
        let in_flight = self.publisher.begin(offsets);
        if let Some((after, cause)) = self.publisher.poll_repeat() {
            return PublishOutcome { published: 0, failure: Some(PublishFailure::Repeat(after, cause)) };
        }
        let result = self.exchange(offsets, in_flight, message).await;
        let published = self.publisher.state().published;
        let count = offsets.iter().take_while(|offset| offset.0 <= published).count();
        match result {
            Ok(()) => {
                let repeat = self.publisher.poll_repeat();
                let failure = repeat.map(|(after, cause)| PublishFailure::Repeat(after, cause));
                PublishOutcome { published: count, failure }
            }
            Err(error) => self.failed(count, error),
        }
    }

    /// Waits until records are to be published again, or the state for operators changes. Every record in the journal is published.
    /// Keeps the connection meanwhile, and sends signs of life, if anything was published. Dropping the future loses nothing.
    pub async fn wait(&mut self) -> PublishEvent {
        loop {
            if let Some((after, cause)) = self.publisher.poll_repeat() {
                return PublishEvent::Repeat(after, cause);
            }
            if std::mem::take(&mut self.is_health_new) {
                return PublishEvent::Health;
            }
            if self.publisher.state().published == 0 {
                return std::future::pending().await;
            }
            if let Err(error) = self.connect().await {
                self.disconnect();
                let problems = vec![error.to_string().into()];
                self.set_health(PublishHealth { problems, ..PublishHealth::default() });
                if !self.is_health_new {
                    tokio::time::sleep(self.backoff.next_delay()).await;
                }
                continue;
            }
            self.set_problems(self.publisher.ahead());
            if self.is_health_new {
                continue;
            }
            if Instant::now() >= self.sign_at && self.publisher.repeat_cause().is_none() {
                self.sign().await;
                continue;
            }
            let Some(session) = &mut self.session else { continue };
            let due = [self.checked_at + self.config.check_every, self.sign_at].into_iter();
            let due = due.chain(self.publisher.next_timeout()).min().unwrap_or(self.sign_at);
            let event = tokio::select! {
                event = session.next() => Some(event),
                () = tokio::time::sleep_until(due.into()) => None,
            };
            let now = Instant::now();
            match event {
                Some(SessionEvent::Confirmation(confirmation)) => self.publisher.confirm(&confirmation, now),
                Some(SessionEvent::Acknowledgement(Acknowledgement { offset, outcome: Ok(sequence) })) => {
                    self.publisher.acknowledge(offset, sequence, now);
                }
                Some(SessionEvent::Acknowledgement(_)) => {}
                Some(SessionEvent::Failed(_)) => self.disconnect(),
                None => self.publisher.handle_timeout(now),
            }
        }
    }

    /// The state that outlives the process.
    #[must_use]
    pub const fn state(&self) -> &PublisherState {
        self.publisher.state()
    }

    /// The state for operators.
    #[must_use]
    pub const fn health(&self) -> &PublishHealth {
        &self.health
    }

    /// Sends a sign of life. One that is lost is followed by another one.
    async fn sign(&mut self) {
        let Some(session) = &self.session else { return };
        let published = Offset(self.publisher.state().published);
        let sign = SignOfLife::new(&self.config.journal, published, clock::now());
        match session.sign(&self.config.host, &sign).await {
            Ok(()) => self.sign_at = Instant::now() + self.config.sign_every,
            Err(_) => self.disconnect(),
        }
    }

    /// Opens a connection unless there is one, and checks the stream when it is due.
    async fn connect(&mut self) -> Result<(), FleetError> {
        if self.session.as_ref().is_some_and(Session::is_lost) {
            self.disconnect();
        }
        let PublishConfig { server, stream, host, check_every, .. } = &self.config;
        let now = Instant::now();
        if let Some(session) = &mut self.session {
            if now >= self.checked_at + *check_every {
                let seen = session.check_stream(stream, host).await?;
                self.publisher.observe_stream(seen);
                self.checked_at = now;
                let is_ahead = self.is_ahead.then(|| self.publisher.ahead()).flatten();
                self.set_problems(is_ahead);
            }
            return Ok(());
        }
        let mut session = Session::open(server, &stream.name, host).await?;
        let seen = session.check_stream(stream, host).await?;
        let confirmation = session.last_confirmation(&stream.name, host).await;
        self.publisher.observe_stream(seen);
        if let Some(confirmation) = confirmation {
            self.publisher.confirm(&confirmation, now);
        }
        self.set_health(PublishHealth {
            is_connected: true,
            server_version: Some(session.version().into()),
            problems: session.problems().collect(),
        });
        self.checked_at = now;
        self.backoff.reset();
        self.session = Some(session);
        Ok(())
    }

    /// Sends the messages after the first `next`, and takes acknowledgements until enough are there, an error occurs, or
    /// records are to be published again.
    async fn exchange(
        &mut self,
        offsets: &[Offset],
        mut next: usize,
        message: &(dyn Fn(usize, Link) -> Message + Send + Sync),
    ) -> Result<(), FleetError> {
        let (publisher, session) = match &mut self.session {
            Some(session) => (&mut self.publisher, session),
            None => return Err(FleetError::Lost),
        };
        let (mut refused, enough) = (None, self.config.window.div_ceil(RETURN_WINDOW_PART));
        let published_before = publisher.state().published;
        let mut acknowledged = 0;
        let mut deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
        loop {
            while refused.is_none() && next < offsets.len() && publisher.has_room() {
                let offset = offsets[next];
                let written = message(next, publisher.link(offset));
                if let Err(error) = session.check_size(&written) {
                    // The messages before it are waited for.
                    refused = Some(error);
                    break;
                }
                // After it: if this future is dropped before, the message was not sent.
                session.send(offset, written).await?;
                publisher.publish(offset);
                next += 1;
            }
            if !publisher.is_waiting() {
                return refused.map_or(Ok(()), Err);
            }
            let has_advanced = publisher.state().published > published_before;
            if next == offsets.len() && acknowledged >= enough && has_advanced {
                return Ok(());
            }
            let arrived = take_events(publisher, session, deadline).await?;
            if arrived > 0 {
                acknowledged += arrived;
                deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
            }
            publisher.handle_timeout(Instant::now());
            if publisher.repeat_cause().is_some() {
                return Ok(());
            }
        }
    }

    fn failed(&mut self, published: usize, error: FleetError) -> PublishOutcome {
        if !error.is_of_message() {
            self.disconnect();
        }
        PublishOutcome { published, failure: Some(PublishFailure::Fleet(error)) }
    }

    /// Closes the connection, and gives up the messages in flight: the next attempt checks the stream anew.
    fn disconnect(&mut self) {
        self.session = None;
        self.publisher.abandon();
        self.set_health(PublishHealth { is_connected: false, ..self.health.clone() });
    }

    /// Sets the problems of the session, and that of a confirmation of records that this journal does not have: only when all of its
    /// records are published.
    fn set_problems(&mut self, ahead: Option<Offset>) {
        self.is_ahead = ahead.is_some();
        let Some(session) = &self.session else { return };
        let ahead = ahead.map(|ahead| {
            format!(
                "a fleet hub has committed records of this journal up to offset {}, which it does not have: if it was replaced by an \
                 older copy, new records count as repetitions; move it away, so that the hub starts with a new journal",
                ahead.0
            )
        });
        let problems = session.problems().chain(ahead.map(Into::into)).collect();
        self.set_health(PublishHealth { problems, ..self.health.clone() });
    }

    fn set_health(&mut self, health: PublishHealth) {
        self.is_health_new |= self.health != health;
        self.health = health;
    }
}

/// Waits for an event until `deadline`, and takes all that have arrived; returns the number of acknowledgements. The messages
/// that have room by them are then written at once.
async fn take_events(
    publisher: &mut Publisher,
    session: &mut Session,
    deadline: Instant,
) -> Result<usize, FleetError> {
    let mut event = tokio::time::timeout_at(deadline.into(), session.next()).await.map_err(|_| {
        session.denied().unwrap_or_else(|| FleetError::Timeout {
            doing: "publish".into(),
            seconds: ACKNOWLEDGE_TIMEOUT.as_secs(),
        })
    })?;
    let now = Instant::now();
    let mut acknowledged = 0;
    loop {
        match event {
            SessionEvent::Acknowledgement(Acknowledgement { offset, outcome }) => {
                publisher.acknowledge(offset, outcome?, now);
                acknowledged += 1;
            }
            SessionEvent::Confirmation(confirmation) => publisher.confirm(&confirmation, now),
            SessionEvent::Failed(error) => return Err(error),
        }
        let Some(arrived) = session.next().now_or_never() else { return Ok(acknowledged) };
        event = arrived;
    }
}

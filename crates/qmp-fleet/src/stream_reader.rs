//! Reads a stream from a sequence number on, and publishes confirmations.
//!
//! The consumer is ephemeral and acknowledges nothing: the position belongs to the reader. It is made anew when messages or
//! heartbeats are missing.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::confirmation::Confirmation;
use super::error::FleetError;
use super::message::{MessageError, ReceivedMessage};
use super::server::{ConnectionEvents, ServerConfig};
use super::subject::{confirmation_stream, confirmation_subject, confirmation_subjects};

/// The interval in which the server reports that a consumer without messages is there. Two missing ones end the consumer.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long one request for messages lasts.
const PULL_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages of one request.
const PULL_RECORDS: usize = 1_000;

/// Bytes of the messages of one request: those that wait in memory. A server accepts messages of at most 64 MiB.
const PULL_BYTES: usize = 64 << 20;

/// How long the server keeps a consumer whose reader went away.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(60);

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct StreamMessage {
    /// Its sequence number.
    pub sequence: u64,
    /// The number of messages of the stream after it.
    pub pending: u64,
    /// Its subject.
    pub subject: Box<str>,
    /// Its payload.
    pub payload: Bytes,
    headers: HeaderMap,
}

/// Reads one stream. Cancellation of a call loses nothing.
pub struct StreamReader {
    server: ServerConfig,
    stream: Box<str>,
    filters: Vec<String>,
    /// The sequence number of the last message that was returned.
    position: u64,
    /// The time of the creation of the stream, in nanoseconds since the Unix epoch.
    created: Option<i128>,
    connection: Option<Connection>,
}

struct Connection {
    client: Client,
    context: Context,
    events: watch::Receiver<ConnectionEvents>,
    consumer: Option<ActiveConsumer>,
}

struct ActiveConsumer {
    messages: pull::Stream,
    /// The consumer's number of its last message.
    delivered: u64,
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, stream, filters, position, .. } = self;
        to.debug_struct("StreamReader")
            .field("server", server)
            .field("stream", stream)
            .field("filters", filters)
            .field("position", position)
            .finish_non_exhaustive()
    }
}

impl StreamMessage {
    /// Reads the record.
    ///
    /// # Errors
    ///
    /// Any [`MessageError`].
    pub fn decode(&self) -> Result<ReceivedMessage, MessageError> {
        let header = |name: &str| self.headers.get(name).map(async_nats::HeaderValue::as_str);
        ReceivedMessage::decode(&self.subject, header, &self.payload)
    }
}

impl StreamReader {
    /// A reader of `stream` after the message `position` (0: from the beginning), of the messages with one of the subjects
    /// `filters`; of all, if there is none. It connects at the first call of [`next`](Self::next).
    #[must_use]
    pub fn new(server: ServerConfig, stream: &str, filters: Vec<String>, position: u64) -> Self {
        Self { server, stream: stream.into(), filters, position, created: None, connection: None }
    }

    /// Connects, and makes a consumer, unless both are there. [`next`](Self::next) does the same.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]. The next call connects again.
    pub async fn open(&mut self) -> Result<(), FleetError> {
        let opened = self.try_open().await;
        if opened.is_err() {
            self.connection = None;
        }
        opened
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]. The next call connects again; the caller pauses in between.
    pub async fn next(&mut self) -> Result<StreamMessage, FleetError> {
        loop {
            let result = self.try_next().await;
            match result {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            }
        }
    }

    /// Publishes a confirmation for `host`.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`].
    pub async fn confirm(&mut self, host: &str, confirmation: &Confirmation) -> Result<(), FleetError> {
        let subject = confirmation_subject(&self.stream, host);
        let connection = self.connected().await?;
        let published = connection.context.publish(subject, confirmation.to_json().into()).await;
        let acknowledged = match published {
            Ok(acknowledgement) => acknowledgement.await.map(drop),
            Err(error) => Err(error),
        };
        acknowledged.map_err(|error| reply_error(&connection.events, "confirm", &error))
    }

    /// Creates the stream of the confirmations unless it exists: it keeps the last one for each host.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`].
    pub async fn create_confirmation_stream(&mut self, replicas: usize) -> Result<(), FleetError> {
        let (name, subjects) = (confirmation_stream(&self.stream), confirmation_subjects(&self.stream));
        let connection = self.connected().await?;
        let config = jetstream::stream::Config {
            name,
            subjects: vec![subjects],
            max_messages_per_subject: 1,
            num_replicas: replicas,
            ..jetstream::stream::Config::default()
        };
        let created = connection.context.get_or_create_stream(config).await;
        created
            .map(drop)
            .map_err(|error| reply_error(&connection.events, "create the stream of confirmations", &error))
    }

    /// The version of the server; `None` without a connection.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        self.connection.as_ref().map(|connection| connection.client.server_info().version)
    }

    /// The sequence number of the last message that was returned.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// `None` if the consumer is to be made anew.
    async fn try_next(&mut self) -> Result<Option<StreamMessage>, FleetError> {
        self.try_open().await?;
        let Some(Connection { events, consumer: slot, .. }) = &mut self.connection else { return Ok(None) };
        let Some(consumer) = slot else { return Ok(None) };
        let next = tokio::select! {
            next = consumer.messages.next() => next,
            _ = events.wait_for(|events| events.is_lost) => return Err(FleetError::Lost),
        };
        let message = next.and_then(Result::ok);
        let info = message.as_ref().and_then(|message| message.info().ok());
        let expected = consumer.delivered + 1;
        let info =
            info.filter(|info| info.consumer_sequence == expected && info.stream_sequence > self.position);
        let numbers = info.map(|info| (info.stream_sequence, info.pending));
        let (Some(message), Some((sequence, pending))) = (message, numbers) else {
            // Heartbeats or messages are missing, or the consumer was deleted.
            *slot = None;
            return Ok(None);
        };
        consumer.delivered = expected;
        self.position = sequence;
        let async_nats::Message { subject, headers, payload, .. } = message.message;
        let (subject, headers) = (subject.as_str().into(), headers.unwrap_or_default());
        Ok(Some(StreamMessage { sequence, pending, subject, payload, headers }))
    }

    async fn try_open(&mut self) -> Result<(), FleetError> {
        let is_open = self.connection.as_ref().is_some_and(|connection| connection.consumer.is_some());
        if is_open { Ok(()) } else { self.consume().await }
    }

    /// Makes a consumer after the position. The position is 0 if the stream was made anew or is shorter: the chains of the
    /// journals tell what is a repetition.
    async fn consume(&mut self) -> Result<(), FleetError> {
        let (name, filters, position) = (self.stream.clone(), self.filters.clone(), self.position);
        let known = self.created;
        let connection = self.connected().await?;
        let Connection { context, events, .. } = &*connection;
        let (context, events) = (context.clone(), events.clone());
        let found = context.get_stream(&*name).await;
        let stream = found.map_err(|error| reply_error(&events, "read the stream", &error))?;
        let Info { created, state, .. } = stream.cached_info();
        let created = created.unix_timestamp_nanos();
        let is_other = known.is_some_and(|known| known != created);
        let position = if is_other || state.last_sequence < position { 0 } else { position };
        let consumer = create_consumer(&stream, &events, &filters, position).await?;
        connection.consumer = Some(consumer);
        (self.position, self.created) = (position, Some(created));
        Ok(())
    }

    async fn connected(&mut self) -> Result<&mut Connection, FleetError> {
        let is_lost = |connection: &Connection| connection.events.borrow().is_lost;
        let open = match self.connection.take().filter(|connection| !is_lost(connection)) {
            Some(open) => open,
            None => {
                let (client, events) = self.server.connect().await?;
                let context = jetstream::new(client.clone());
                Connection { client, context, events, consumer: None }
            }
        };
        Ok(self.connection.insert(open))
    }
}

async fn create_consumer(
    stream: &Stream,
    events: &watch::Receiver<ConnectionEvents>,
    filters: &[String],
    position: u64,
) -> Result<ActiveConsumer, FleetError> {
    let failed = |error: &(dyn std::error::Error + 'static)| reply_error(events, "read the stream", error);
    let (filter_subject, filter_subjects) = match filters {
        [] => (String::new(), Vec::new()),
        [filter] => (filter.clone(), Vec::new()),
        several => (String::new(), several.to_vec()),
    };
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: position + 1 },
        ack_policy: AckPolicy::None,
        inactive_threshold: CONSUMER_TIMEOUT,
        memory_storage: true,
        num_replicas: 1,
        filter_subject: filter_subject.clone(),
        filter_subjects: filter_subjects.clone(),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
    let returned = &consumer.cached_info().config;
    if returned.filter_subject != filter_subject || returned.filter_subjects != filter_subjects {
        return Err(FleetError::Filter { requested: filters.join(", ").into() });
    }
    let pull = consumer.stream().heartbeat(HEARTBEAT_INTERVAL).expires(PULL_TIMEOUT);
    let pull = pull.max_messages_per_batch(PULL_RECORDS).max_bytes_per_batch(PULL_BYTES);
    let messages = pull.messages().await.map_err(|error| failed(&error))?;
    Ok(ActiveConsumer { messages, delivered: 0 })
}

/// The violation of a permission, if there was one, or the error.
fn reply_error(
    events: &watch::Receiver<ConnectionEvents>,
    doing: &str,
    error: &(dyn std::error::Error + 'static),
) -> FleetError {
    if let Some(violation) = events.borrow().denied.clone() {
        return FleetError::Denied { violation };
    }
    FleetError::Reply { doing: doing.into(), cause: error.to_string().into() }
}

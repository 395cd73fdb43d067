//! Reads a stream from a sequence number on, listens to signs of life, and publishes confirmations.
//!
//! The consumer is ephemeral and acknowledges nothing: the position belongs to the reader. It is made anew when messages or
//! heartbeats are missing.

use async_nats::jetstream::stream::Info;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use qmp_wire::UnixMicros;
use tokio::sync::watch;

use super::confirmation::Confirmation;
use super::error::FleetError;
use super::message::{MessageError, ReceivedMessage};
use super::server::{ConnectionEvents, ServerConfig};
use super::sign_of_life::SignOfLife;
use super::stream_consumer::{ConsumerStart, StreamConsumer, find_stream, reply_error};
use super::subject::{
    SIGN_OF_LIFE_SUBJECTS, confirmation_stream, confirmation_subject, confirmation_subjects,
    sign_of_life_host,
};

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

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// After the message with this sequence number; 0: at the first message.
    After(u64),
    /// After the last message that the stream has when it is opened.
    End,
    /// At the first message that the server got at this time or later.
    Time(UnixMicros),
}

/// A sign of life, and the host that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSign {
    /// The host, by the subject.
    pub host: Box<str>,
    /// The sign.
    pub sign: SignOfLife,
}

/// What a reader receives.
#[derive(Debug)]
pub enum StreamItem {
    /// The next message of the stream.
    Message(StreamMessage),
    /// A sign of life. It may overtake messages.
    Sign(HostSign),
}

/// Reads one stream. Cancellation of a call loses nothing.
pub struct StreamReader {
    server: ServerConfig,
    stream: Box<str>,
    filters: Vec<String>,
    /// Where to begin, until the first message is returned or the position is known.
    start: StreamStart,
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
    signs: Subscriber,
    consumer: Option<StreamConsumer>,
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
    /// A reader of `stream` from `start` on, of the messages with one of the subjects `filters`; of all, if there is none. It
    /// connects at the first call of [`next`](Self::next).
    #[must_use]
    pub fn new(server: ServerConfig, stream: &str, filters: Vec<String>, start: StreamStart) -> Self {
        let position = if let StreamStart::After(sequence) = start { sequence } else { 0 };
        Self { server, stream: stream.into(), filters, start, position, created: None, connection: None }
    }

    /// Connects, and makes a consumer, unless both are there. [`next`](Self::next) does the same.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]. The next call connects again.
    pub async fn open(&mut self) -> Result<(), FleetError> {
        let opened = self.try_open().await;
        // A server that does not filter is asked again without the filter.
        if opened.as_ref().is_err_and(|error| !matches!(error, FleetError::Filter { .. })) {
            self.connection = None;
        }
        opened
    }

    /// Waits for the next message. Signs of life are dropped.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]. The next call connects again; the caller pauses in between.
    pub async fn next(&mut self) -> Result<StreamMessage, FleetError> {
        loop {
            if let StreamItem::Message(message) = self.next_item().await? {
                return Ok(message);
            }
        }
    }

    /// Waits for the next message or sign of life.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]. The next call connects again; the caller pauses in between.
    pub async fn next_item(&mut self) -> Result<StreamItem, FleetError> {
        loop {
            let result = self.try_next().await;
            match result {
                Ok(Some(item)) => return Ok(item),
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            }
        }
    }

    /// Reads the messages with one of these subjects, from the next one on.
    pub fn set_filters(&mut self, filters: Vec<String>) {
        self.filters = filters;
        if let Some(connection) = &mut self.connection {
            connection.consumer = None;
        }
    }

    /// Removes the consumer and disconnects. Without it, the server removes the consumer after a minute.
    pub async fn close(&mut self) {
        if let Some(Connection { context, consumer: Some(consumer), .. }) = self.connection.take() {
            consumer.remove(&context).await;
        }
    }

    /// Publishes a confirmation for `host`.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`].
    pub async fn confirm(&mut self, host: &str, confirmation: &Confirmation) -> Result<(), FleetError> {
        self.confirm_all(&[(host.into(), confirmation.clone())]).await
    }

    /// Publishes confirmations for hosts, at most [`CONFIRMATIONS_MAX`](crate::CONFIRMATIONS_MAX), and then waits for all
    /// acknowledgements: that takes the time of one reply.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`]; some of them may be published.
    pub async fn confirm_all(
        &mut self,
        confirmations: &[(Box<str>, Confirmation)],
    ) -> Result<(), FleetError> {
        let stream = self.stream.clone();
        let connection = self.connected().await?;
        let failed = |error| reply_error(&connection.events, "confirm", &error);
        let mut sent = Vec::with_capacity(confirmations.len());
        for (host, confirmation) in confirmations {
            let subject = confirmation_subject(&stream, host);
            sent.push(
                connection.context.publish(subject, confirmation.to_json().into()).await.map_err(failed)?,
            );
        }
        for acknowledgement in sent {
            acknowledgement.await.map_err(failed)?;
        }
        Ok(())
    }

    /// Creates the stream of the confirmations unless it exists: it keeps the last one for each host, on as many servers as the
    /// stream itself.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`].
    pub async fn create_confirmation_stream(&mut self) -> Result<(), FleetError> {
        let (stream, name) = (self.stream.clone(), confirmation_stream(&self.stream));
        let subjects = confirmation_subjects(&stream);
        let Connection { context, events, .. } = self.connected().await?;
        let stream = find_stream(context, events, &stream).await?;
        let num_replicas = stream.cached_info().config.num_replicas;
        let config = jetstream::stream::Config {
            name,
            subjects: vec![subjects],
            max_messages_per_subject: 1,
            num_replicas,
            ..jetstream::stream::Config::default()
        };
        let doing = "create the stream of confirmations";
        let created = context.get_or_create_stream(config.clone()).await;
        let created = created.map_err(|error| reply_error(events, doing, &error))?;
        let found = &created.cached_info().config;
        if found.num_replicas >= num_replicas {
            return Ok(());
        }
        let config = jetstream::stream::Config { num_replicas, ..found.clone() };
        let updated = context.update_stream(config).await;
        updated.map(drop).map_err(|error| reply_error(events, "copy the stream of confirmations", &error))
    }

    /// The version of the server; `None` without a connection.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        self.connection.as_ref().map(|connection| connection.client.server_info().version)
    }

    /// When the stream was created, in nanoseconds since the Unix epoch; `None` before it was opened.
    #[must_use]
    pub const fn created(&self) -> Option<i128> {
        self.created
    }

    /// The sequence number of the last message that was returned.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Whether the server does not let this reader listen to signs of life.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        let is_denied = |connection: &Connection| {
            let events = connection.events.borrow();
            events.denied.as_ref().is_some_and(|violation| violation.contains(SIGN_OF_LIFE_SUBJECTS))
        };
        self.connection.as_ref().is_some_and(is_denied)
    }

    /// `None` if the consumer is to be made anew, or if what came is nothing.
    async fn try_next(&mut self) -> Result<Option<StreamItem>, FleetError> {
        self.try_open().await?;
        let Some(Connection { events, signs, consumer: slot, .. }) = &mut self.connection else {
            return Ok(None);
        };
        let Some(consumer) = slot else { return Ok(None) };
        let next = tokio::select! {
            next = consumer.messages.next() => next,
            sign = signs.next() => return sign.map(|sign| host_sign(&sign)).ok_or(FleetError::Lost),
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
        (self.start, self.position) = (StreamStart::After(sequence), sequence);
        let async_nats::Message { subject, headers, payload, .. } = message.message;
        let (subject, headers) = (subject.as_str().into(), headers.unwrap_or_default());
        Ok(Some(StreamItem::Message(StreamMessage { sequence, pending, subject, payload, headers })))
    }

    async fn try_open(&mut self) -> Result<(), FleetError> {
        let is_open = self.connection.as_ref().is_some_and(|connection| connection.consumer.is_some());
        if is_open { Ok(()) } else { self.consume().await }
    }

    /// Makes a consumer after the position. The position is 0 if the stream was made anew or is shorter: the chains of the
    /// journals tell what is a repetition.
    async fn consume(&mut self) -> Result<(), FleetError> {
        let (name, filters, known) = (self.stream.clone(), self.filters.clone(), self.created);
        let (begin, position) = (self.start, self.position);
        let connection = self.connected().await?;
        let Connection { context, events, .. } = &*connection;
        let (context, events) = (context.clone(), events.clone());
        let stream = find_stream(&context, &events, &name).await?;
        let Info { created, state, .. } = stream.cached_info();
        let created = created.unix_timestamp_nanos();
        let is_other = known.is_some_and(|known| known != created);
        let position = match begin {
            StreamStart::End => state.last_sequence,
            _ if is_other || state.last_sequence < position => 0,
            _ => position,
        };
        let start = match begin {
            StreamStart::Time(time) => ConsumerStart::Time(time),
            StreamStart::After(_) | StreamStart::End => ConsumerStart::Sequence(position + 1),
        };
        let consumer = StreamConsumer::create(&stream, &events, &filters, start).await?;
        connection.consumer = Some(consumer);
        if begin == StreamStart::End {
            self.start = StreamStart::After(position);
        }
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
                let signs = client.subscribe(SIGN_OF_LIFE_SUBJECTS).await.map_err(|_| FleetError::Lost)?;
                Connection { client, context, events, signs, consumer: None }
            }
        };
        Ok(self.connection.insert(open))
    }
}

/// Reads a sign of life; `None` if it is none.
fn host_sign(message: &async_nats::Message) -> Option<StreamItem> {
    let host = sign_of_life_host(message.subject.as_str()).ok()?;
    let sign = SignOfLife::from_json(&message.payload)?;
    Some(StreamItem::Sign(HostSign { host, sign }))
}

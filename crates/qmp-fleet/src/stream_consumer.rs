//! A consumer of a stream: ephemeral, in the memory of the server, without acknowledgements.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context};
use qmp_wire::UnixMicros;
use tokio::sync::watch;

use super::error::{FleetError, STREAM_NOT_FOUND, ServerError};
use super::server::ConnectionEvents;

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

/// How long the removal of a consumer may take.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A consumer whose messages are requested.
pub(crate) struct StreamConsumer {
    pub(crate) messages: pull::Stream,
    /// The consumer's number of its last message.
    pub(crate) delivered: u64,
    stream: Box<str>,
    name: Box<str>,
}

/// The first message of a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConsumerStart {
    /// The one with this sequence number, or the next one that exists.
    Sequence(u64),
    /// The first that the server got at this time or later.
    Time(UnixMicros),
}

impl StreamConsumer {
    /// Makes a consumer of the messages with one of the subjects `filters`, or of all if there is none.
    pub(crate) async fn create(
        stream: &Stream,
        events: &watch::Receiver<ConnectionEvents>,
        filters: &[String],
        start: ConsumerStart,
    ) -> Result<Self, FleetError> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| reply_error(events, "read the stream", error);
        let (filter_subject, filter_subjects) = match filters {
            [] => (String::new(), Vec::new()),
            [filter] => (filter.clone(), Vec::new()),
            several => (String::new(), several.to_vec()),
        };
        let deliver_policy = match start {
            ConsumerStart::Sequence(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
            ConsumerStart::Time(time) => DeliverPolicy::ByStartTime { start_time: system_time(time).into() },
        };
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_TIMEOUT,
            memory_storage: true,
            num_replicas: 1,
            filter_subject: filter_subject.clone(),
            filter_subjects: filter_subjects.clone(),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
        let jetstream::consumer::Info { name, stream_name, config: returned, .. } = consumer.cached_info();
        if returned.filter_subject != filter_subject || returned.filter_subjects != filter_subjects {
            // The server removes it later in any case.
            let _ = tokio::time::timeout(REMOVE_TIMEOUT, stream.delete_consumer(name)).await;
            return Err(FleetError::Filter { requested: filters.join(", ").into() });
        }
        let (stream, name) = (stream_name.as_str().into(), name.as_str().into());
        let pull = consumer.stream().heartbeat(HEARTBEAT_INTERVAL).expires(PULL_TIMEOUT);
        let pull = pull.max_messages_per_batch(PULL_RECORDS).max_bytes_per_batch(PULL_BYTES);
        let messages = pull.messages().await.map_err(|error| failed(&error))?;
        Ok(Self { messages, delivered: 0, stream, name })
    }

    /// Removes the consumer, if the server answers soon. It removes it otherwise when nothing has asked for messages for a
    /// while.
    pub(crate) async fn remove(self, context: &Context) {
        let Self { messages, stream, name, .. } = self;
        drop(messages);
        let removed = context.delete_consumer_from_stream(&*name, &*stream);
        let _ = tokio::time::timeout(REMOVE_TIMEOUT, removed).await;
    }
}

/// The time, or the Unix epoch for an earlier one, before which no server has got a message.
fn system_time(time: UnixMicros) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.0).unwrap_or_default())
}

/// Looks for a stream.
pub(crate) async fn find_stream(
    context: &Context,
    events: &watch::Receiver<ConnectionEvents>,
    name: &str,
) -> Result<Stream, FleetError> {
    let error = match context.get_stream(name).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let GetStreamErrorKind::JetStream(refused) = error.kind() else {
        return Err(reply_error(events, "read the stream", &error));
    };
    // The numbers are private to the client's type; both have the form of the server's reply.
    let reply = serde_json::to_value(&refused).ok().and_then(|reply| serde_json::from_value(reply).ok());
    let error: ServerError = reply.unwrap_or_default();
    if error.err_code == STREAM_NOT_FOUND {
        return Err(FleetError::NoSuchStream { stream: name.into() });
    }
    Err(FleetError::Server { doing: format!("read the stream {name}").into(), error })
}

/// The violation of a permission, if there was one, or the error.
pub(crate) fn reply_error(
    events: &watch::Receiver<ConnectionEvents>,
    doing: &str,
    error: &(dyn std::error::Error + 'static),
) -> FleetError {
    if let Some(violation) = events.borrow().denied.clone() {
        return FleetError::Denied { violation };
    }
    FleetError::Reply { doing: doing.into(), cause: error.to_string().into() }
}

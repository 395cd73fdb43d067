//! A connection of a publisher: its stream, its acknowledgements, and its confirmations.

use async_nats::client::RequestErrorKind;
use async_nats::jetstream;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{Client, HeaderMap, HeaderName, StatusCode, Subscriber};
use futures_util::StreamExt as _;
use qmp_wire::Offset;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::confirmation::Confirmation;
use super::error::{FleetError, STREAM_NOT_FOUND, ServerError};
use super::message::Message;
use super::publisher::StreamMark;
use super::server::{ConnectionEvents, REQUEST_TIMEOUT, ServerConfig};
use super::sign_of_life::SignOfLife;
use super::stream_config::{StreamRequest, covers};
use super::subject::{confirmation_stream, confirmation_subject, filter_subject, sign_of_life_subject};

/// The releases of the server that this program is tested with, from the first on.
const VERSION_MIN: (u32, u32) = (2, 9);

/// A connection to a server, with the subscriptions of a publisher.
pub(crate) struct Session {
    client: Client,
    events: watch::Receiver<ConnectionEvents>,
    stream: Box<str>,
    /// The prefix of the reply subjects; the offset of the record follows.
    inbox: String,
    acknowledgements: Subscriber,
    confirmations: Subscriber,
    /// Options of the stream, or of the server, that are not as configured.
    stream_problems: Vec<Box<str>>,
    /// Another stream that acknowledged a message.
    other_stream: Option<Box<str>>,
    /// Why the last confirmation could not be read.
    confirmation_problem: Option<Box<str>>,
}

/// The reply of the server to one message.
#[derive(Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) offset: Offset,
    /// The sequence number of the message in the stream.
    pub(crate) outcome: Result<u64, FleetError>,
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    Acknowledgement(Acknowledgement),
    Confirmation(Confirmation),
    Failed(FleetError),
}

/// A reply of the interface of `JetStream`.
#[derive(Deserialize)]
struct ApiReply {
    #[serde(default)]
    error: Option<ServerError>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    created: Box<str>,
    #[serde(default)]
    state: StreamState,
}

#[derive(Default, Deserialize)]
struct StreamState {
    #[serde(default)]
    first_seq: u64,
    #[serde(default)]
    last_seq: u64,
}

#[derive(Deserialize)]
struct AcknowledgementReply {
    #[serde(default)]
    stream: Box<str>,
    #[serde(default)]
    domain: Option<Box<str>>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    error: Option<ServerError>,
}

impl Session {
    /// Connects, and subscribes.
    pub(crate) async fn open(server: &ServerConfig, stream: &str, host: &str) -> Result<Self, FleetError> {
        let (client, events) = server.connect().await?;
        let inbox = format!("{}.", client.new_inbox());
        let lost = |_| FleetError::Lost;
        let acknowledgements = client.subscribe(format!("{inbox}*")).await.map_err(lost)?;
        let confirmations = client.subscribe(confirmation_subject(stream, host)).await.map_err(lost)?;
        Ok(Self {
            client,
            events,
            stream: stream.into(),
            inbox,
            acknowledgements,
            confirmations,
            stream_problems: Vec::new(),
            other_stream: None,
            confirmation_problem: None,
        })
    }

    /// What an operator has to correct.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Box<str>> {
        self.stream_problems.iter().chain(&self.confirmation_problem).cloned()
    }

    /// The version of the server.
    pub(crate) fn version(&self) -> String {
        self.client.server_info().version
    }

    /// Creates the stream unless it exists, and compares its configuration. The stream must take the records of `host`.
    pub(crate) async fn check_stream(
        &mut self,
        request: &StreamRequest,
        host: &str,
    ) -> Result<StreamMark, FleetError> {
        let name = &request.name;
        let mut reply = self.call(&format!("STREAM.INFO.{name}"), b"", "look for the stream").await?;
        if reply.error.as_ref().is_some_and(|error| error.err_code == STREAM_NOT_FOUND || error.code == 404) {
            let body = request.to_json().to_string();
            reply = self.call(&format!("STREAM.CREATE.{name}"), body.as_bytes(), "create the stream").await?;
        }
        if let Some(error) = reply.error {
            return Err(FleetError::Server { doing: format!("stream {name}").into(), error });
        }
        let wanted = filter_subject(Some(host), None, None, None);
        let subjects: Vec<&str> = reply
            .config
            .get("subjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !subjects.iter().any(|subject| covers(subject, &wanted)) {
            let subjects = subjects.join(", ").into();
            return Err(FleetError::StreamSubjects { stream: name.clone(), subjects, wanted: wanted.into() });
        }
        if let Some(option) = ["no_ack", "sealed"]
            .into_iter()
            .find(|option| reply.config.get(*option) == Some(&Value::Bool(true)))
        {
            return Err(FleetError::StreamOption { stream: name.clone(), option });
        }
        self.stream_problems = request
            .differences(&reply.config)
            .into_iter()
            .map(|difference| format!("stream {name}: {difference}: change the rule, or the stream").into())
            .chain(old_version(&self.version()))
            .chain(self.other_stream.as_deref().map(|other| other_stream(other, name)))
            .collect();
        let StreamState { first_seq, last_seq } = reply.state;
        Ok(StreamMark { created: reply.created, first: first_seq, last: last_seq })
    }

    /// Reads the last confirmation for `host`; `None`, with a problem, if it cannot be read.
    pub(crate) async fn last_confirmation(&mut self, stream: &str, host: &str) -> Option<Confirmation> {
        match self.read_confirmation(stream, host).await {
            Ok(confirmation) => confirmation,
            Err(error) => {
                let cause = self.violation().unwrap_or(error);
                let problem = format!("the last confirmation cannot be read: {cause}");
                self.confirmation_problem = Some(problem.into());
                None
            }
        }
    }

    async fn read_confirmation(&self, stream: &str, host: &str) -> Result<Option<Confirmation>, FleetError> {
        let (name, doing) = (confirmation_stream(stream), "read the stream of confirmations");
        // nats-server 2.9 crashes if a message is read while the stream is being created. Its state may be read, and has no
        // message until the stream is complete.
        let found = self.call(&format!("STREAM.INFO.{name}"), b"", doing).await?;
        if let Some(error) = found.error {
            let is_absent = error.code == 404;
            return if is_absent { Ok(None) } else { Err(FleetError::Server { doing: doing.into(), error }) };
        }
        if found.state.last_seq == 0 {
            return Ok(None);
        }
        let context = jetstream::new(self.client.clone());
        let invalid = |error: &dyn std::error::Error| FleetError::Reply {
            doing: doing.into(),
            cause: error.to_string().into(),
        };
        let confirmations = context.get_stream_no_info(name).await.map_err(|error| invalid(&error))?;
        match confirmations.get_last_raw_message_by_subject(&confirmation_subject(stream, host)).await {
            Ok(message) => Ok(Confirmation::from_json(&message.payload)),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(refused) if refused.code() == 404 => Ok(None),
                _ => Err(invalid(&error)),
            },
        }
    }

    /// Sends the message of the record at `offset`. The acknowledgement follows as an event.
    pub(crate) async fn send(&self, offset: Offset, message: Message) -> Result<(), FleetError> {
        let headers = message.headers.into_iter();
        let headers: HeaderMap =
            headers.map(|(name, value)| (HeaderName::from_static(name), value.into())).collect();
        let reply = format!("{}{}", self.inbox, offset.0);
        let sent = self.client.publish_with_reply_and_headers(
            message.subject,
            reply,
            headers,
            message.payload.into(),
        );
        sent.await.map_err(|_| FleetError::Lost)
    }

    /// Sends a sign of life of `host`, to those who listen.
    pub(crate) async fn sign(&self, host: &str, sign: &SignOfLife) -> Result<(), FleetError> {
        let sent = self.client.publish(sign_of_life_subject(host), sign.to_json().into());
        sent.await.map_err(|_| FleetError::Lost)
    }

    /// Fails if the server would not accept a message of this size.
    pub(crate) fn check_size(&self, message: &Message) -> Result<(), FleetError> {
        let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let (bytes, max) = (headers + message.payload.len() + 12, self.client.max_payload());
        if bytes > max { Err(FleetError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    /// Waits for the next event. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> SessionEvent {
        loop {
            tokio::select! {
                biased;
                message = self.acknowledgements.next() => match message {
                    Some(message) => if let Some(acknowledgement) = self.acknowledgement(&message) {
                        return SessionEvent::Acknowledgement(acknowledgement);
                    },
                    None => return SessionEvent::Failed(FleetError::Lost),
                },
                message = self.confirmations.next() => match message {
                    Some(message) => if let Some(confirmation) = Confirmation::from_json(&message.payload) {
                        return SessionEvent::Confirmation(confirmation);
                    },
                    None => return SessionEvent::Failed(FleetError::Lost),
                },
                changed = self.events.changed() => {
                    if changed.is_err() || self.is_lost() {
                        return SessionEvent::Failed(FleetError::Lost);
                    }
                    if let Some(denied) = self.denied() {
                        return SessionEvent::Failed(denied);
                    }
                }
            }
        }
    }

    /// Whether the connection was lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.events.borrow().is_lost
    }

    /// The last violation of a permission without which nothing can be published, if there was one.
    pub(crate) fn denied(&self) -> Option<FleetError> {
        let of_confirmations = format!(".{}\"", confirmation_stream(&self.stream));
        self.violation().filter(|violation| !violation.to_string().contains(&of_confirmations))
    }

    /// The last violation of a permission, if there was one.
    fn violation(&self) -> Option<FleetError> {
        let violation = self.events.borrow().denied.clone();
        violation.map(|violation| FleetError::Denied { violation })
    }

    /// Reads the acknowledgement of a message; `None` if it is one of another stream, which says nothing of this one.
    fn acknowledgement(&mut self, message: &async_nats::Message) -> Option<Acknowledgement> {
        let offset = Offset(message.subject.as_str().strip_prefix(&self.inbox)?.parse().ok()?);
        let outcome = match reply(message) {
            Ok(reply) if reply.stream != self.stream => {
                let domain = reply.domain.map(|domain| format!(" of the domain {domain}"));
                self.other_stream = Some(format!("{}{}", reply.stream, domain.unwrap_or_default()).into());
                return None;
            }
            reply => reply.map(|reply| reply.seq),
        };
        Some(Acknowledgement { offset, outcome })
    }

    async fn call(&self, subject: &str, body: &[u8], doing: &str) -> Result<ApiReply, FleetError> {
        let doing = || doing.to_owned().into_boxed_str();
        let request = self.client.request(format!("$JS.API.{subject}"), body.to_vec().into()).await;
        let reply = request.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => FleetError::NoJetStream,
            RequestErrorKind::TimedOut => self.violation().unwrap_or_else(|| FleetError::Timeout {
                doing: doing(),
                seconds: REQUEST_TIMEOUT.as_secs(),
            }),
            _ => FleetError::Lost,
        })?;
        serde_json::from_slice(&reply.payload)
            .map_err(|error| FleetError::Reply { doing: doing(), cause: error.to_string().into() })
    }
}

/// Reads the reply to a message.
fn reply(message: &async_nats::Message) -> Result<AcknowledgementReply, FleetError> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(FleetError::NoStream { subject: super::subject::RECORD_SUBJECTS.into() });
    }
    let read = serde_json::from_slice(&message.payload);
    match read
        .map_err(|error| FleetError::Reply { doing: "publish".into(), cause: error.to_string().into() })?
    {
        AcknowledgementReply { error: Some(error), .. } => {
            Err(FleetError::Server { doing: "publish".into(), error })
        }
        reply => Ok(reply),
    }
}

/// A sentence about another stream that takes the messages of this host, as over a leaf node between two sites.
fn other_stream(other: &str, stream: &str) -> Box<str> {
    format!(
        "the stream {other} takes the records for the stream {stream}, too: give it other subjects, or deny \
         {} at the leaf node between their servers",
        super::subject::RECORD_SUBJECTS
    )
    .into()
}

/// A sentence about a server of an early release.
fn old_version(version: &str) -> Option<Box<str>> {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    let found: (u32, u32) = (numbers.next()?, numbers.next()?);
    let (major, minor) = VERSION_MIN;
    (found < VERSION_MIN).then(|| {
        format!("nats-server {version} is older than {major}.{minor}: replace it by a later one").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_release_is_a_problem() {
        for (version, is_old) in
            [("2.8.4", true), ("1.4.1", true), ("2.9.10", false), ("2.15.1", false), ("x", false)]
        {
            assert_eq!(old_version(version).is_some(), is_old, "{version}");
        }
    }
}

//! NATS JetStream: each record is a message of a stream, and counts as delivered when the server has acknowledged it.
//!
//! An acknowledgement is not final: a server syncs later, and a fleet hub may miss messages. So the sink follows the
//! confirmations of fleet hubs, and the rule goes back if the stream has lost messages. Protocol and state machines are
//! those of `qmp-fleet`.
//!
//! | reply of the server | effect |
//! |---|---|
//! | acknowledgement | the record is delivered |
//! | unreachable, unauthorized, a missing permission, a full disk, a stream with other subjects | retried without end |
//! | the message is larger than the server accepts | the record is given up |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use qmp_fleet::{
    CloudEventAttributes, Link, Message, PUBLISH_WINDOW, PublishConfig, PublishDriver, PublishEvent,
    PublishFailure, PublisherState, RepeatCause, ServerAddress, ServerConfig, StreamRequest, SyncPolicy,
    sync_policy,
};
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};
use qmp_wire::Record;
use serde_json::Value;

use super::cloud_event;
use super::delivery::{
    Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink, SinkEvent, SinkEventFuture,
};
use super::http::{CA_FILE, PROGRAM, PersistentConnection, Target};
use super::kind::SinkKind;

pub(super) static KIND: SinkKind = SinkKind {
    variant: &Variant {
        key: &NATS,
        options: &[
            &STREAM,
            &REPLICAS,
            &STREAM_MAX_AGE,
            &STREAM_MAX_BYTES,
            &WINDOW,
            &CREDENTIALS_FILE,
            &CA_FILE,
            &CERTIFICATE,
            &MONITORING,
        ],
    },
    // A message is one record; a count of others has no place in the chain.
    may_hold_back: false,
    read,
};

static NATS: KeySchema = KeySchema::new(
    "nats",
    Form::OneOrList { item: &Form::Pattern("^(nats|tls)://."), min: 1 },
    "an address such as \"nats://127.0.0.1:4222\", or a list of the servers of one cluster",
    "Publishes each record to NATS JetStream at this server; `user:password@` or `token@` before the host is the login.",
)
.example("\"nats://127.0.0.1:4222\"");

static STREAM: KeySchema = KeySchema::new(
    "stream",
    Form::Pattern("^[^ .*>/\\\\]+$"),
    "the name of a stream, without blanks, `.`, `*`, `>` and slashes",
    "The stream; it is created unless it exists.",
)
.default("\"qmp\"")
.example("\"qmp\"");

static REPLICAS: KeySchema = KeySchema::new(
    "replicas",
    Form::Number { min: 1, max: NATS_REPLICAS_MAX },
    "a number",
    "How many servers of the cluster keep the stream.",
)
.absent("as the stream has them, or 1")
.example("3");

static STREAM_MAX_AGE: KeySchema = KeySchema::new(
    "stream-max-age",
    Form::Span { min: STREAM_AGE_MIN, max: Duration::MAX },
    "a span such as \"7d\"",
    "The age at which the server removes messages.",
)
.absent("as the stream has it, or no limit")
.example("\"7d\"");

static STREAM_MAX_BYTES: KeySchema = KeySchema::new(
    "stream-max-bytes",
    Form::Size { min_bytes: STREAM_MIN_BYTES, is_number: true },
    "a size such as \"100GiB\"",
    "The size from which the stream refuses messages; the records wait in the journal.",
)
.absent("as the stream has it, or no limit")
.example("\"100GiB\"");

static WINDOW: KeySchema = KeySchema::new(
    "window",
    Form::Number { min: 1, max: NATS_WINDOW_MAX },
    "a number",
    "How many messages wait for their acknowledgement at once.",
)
.default("1024")
.example("1024");

static CREDENTIALS_FILE: KeySchema = KeySchema::new(
    "credentials-file",
    Form::Path,
    "a path",
    "The file with the JWT and the seed of the user (`.creds`).",
)
.example("\"/etc/qmp-events/nats.creds\"");

static CERTIFICATE: KeySchema = KeySchema::new(
    "certificate",
    Form::Path,
    "a path",
    "The file with the client's certificate and its key, in PEM.",
)
.example("\"/etc/qmp-events/nats.pem\"");

static MONITORING: KeySchema = KeySchema::new(
    "monitoring",
    Form::Pattern("^https?://[^/?#@]+/?$"),
    "an address such as \"http://127.0.0.1:8222\"",
    "The monitoring address of the server: a warning says if the server acknowledges before it syncs.",
)
.example("\"http://127.0.0.1:8222\"");

/// The most replicas that JetStream keeps.
const NATS_REPLICAS_MAX: u32 = 5;

/// The largest window: with more messages in flight, a server is not faster.
const NATS_WINDOW_MAX: u32 = 4_096;

/// The shortest age: a fleet hub needs some time to read.
const STREAM_AGE_MIN: Duration = Duration::from_secs(60);

/// The smallest stream, in bytes: below, a single record might not fit.
const STREAM_MIN_BYTES: u64 = 1 << 20;

/// The interval in which the monitoring page of the server is read.
const MONITORING_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long the monitoring page may take.
const MONITORING_TIMEOUT: Duration = Duration::from_secs(2);

/// The page of the monitoring address with the configuration.
const MONITORING_PATH: &str = "/varz";

#[derive(Clone, Debug)]
struct Nats {
    server: ServerConfig,
    stream: StreamRequest,
    window: usize,
    monitoring: Option<Target>,
}

struct NatsSink {
    nats: Nats,
    origin: Arc<DeliveryOrigin>,
    driver: PublishDriver,
    monitoring: Option<Monitoring>,
}

/// The monitoring page of the server.
struct Monitoring {
    target: Target,
    connection: PersistentConnection,
    read_at: Option<Instant>,
    problem: Option<&'static str>,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let addresses = settings.texts(&NATS).unwrap_or_default();
    let parsed: Result<Vec<ServerAddress>, _> = addresses.iter().map(|address| address.parse()).collect();
    let addresses =
        parsed.inspect_err(|error| settings.problem(&NATS, &error.to_string())).unwrap_or_default();
    let stream = settings.text(&STREAM).unwrap_or("qmp");
    let is_invalid = |character: char| character.is_whitespace() || ".*>/\\".contains(character);
    if stream.contains(is_invalid) {
        settings.problem(&STREAM, "the name of a stream has no blanks, `.`, `*`, `>` or slashes");
    }
    let replicas = settings.number(&REPLICAS);
    let max_age = settings.span(&STREAM_MAX_AGE);
    if max_age.is_some_and(|age| age < STREAM_AGE_MIN) {
        settings.problem(&STREAM_MAX_AGE, "a fleet hub needs at least a minute");
    }
    let max_bytes = settings.size(&STREAM_MAX_BYTES);
    if max_bytes.is_some_and(|bytes| bytes < STREAM_MIN_BYTES) {
        settings.problem(&STREAM_MAX_BYTES, "a stream of less than 1MiB might not hold a single record");
    }
    let window = settings.number(&WINDOW).map_or(PUBLISH_WINDOW, |window| window as usize);
    let monitoring: Option<Target> = settings.parsed(&MONITORING);
    let server = ServerConfig {
        addresses,
        credentials_file: file(settings, &CREDENTIALS_FILE),
        ca_file: file(settings, &CA_FILE),
        certificate: file(settings, &CERTIFICATE),
        name: PROGRAM.into(),
    };
    if server.addresses.is_empty() {
        return None;
    }
    let monitoring = monitoring.map(|target| Target { path: MONITORING_PATH.into(), ..target });
    let stream = StreamRequest { name: stream.into(), replicas, max_age, max_bytes };
    Some(Arc::new(Nats { server, stream, window, monitoring }))
}

/// Reads the path of a file, which should be readable.
fn file(settings: &mut Settings<'_, '_>, key: &'static KeySchema) -> Option<PathBuf> {
    let path = settings.text(key).map(PathBuf::from)?;
    if let Err(error) = qmp_host::open_regular(&path) {
        settings.warn(key, &format!("{} cannot be read: {error}", path.display()));
    }
    Some(path)
}

impl Nats {
    fn driver(&self, origin: &DeliveryOrigin, state: PublisherState) -> PublishDriver {
        let config = PublishConfig {
            server: self.server.clone(),
            stream: self.stream.clone(),
            host: origin.host.clone(),
            journal: origin.journal.clone(),
            window: self.window,
            check_every: PublishConfig::CHECK_EVERY,
            sign_every: PublishConfig::SIGN_EVERY,
        };
        PublishDriver::new(config, state)
    }
}

impl RuleAction for Nats {
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        let driver = self.driver(&origin, PublisherState::default());
        let monitoring = self.monitoring.clone().map(|target| Monitoring {
            connection: PersistentConnection::new(target.clone(), None),
            target,
            read_at: None,
            problem: None,
        });
        Box::new(NatsSink { nats: self.clone(), origin, driver, monitoring })
    }

    fn target(&self) -> String {
        format!("{} stream {}", self.server.shown(), self.stream.name)
    }
}

impl Sink for NatsSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        Box::pin(async move {
            if let Some(monitoring) = &mut self.monitoring {
                monitoring.read_when_due().await;
            }
            let offsets: Vec<_> =
                deliveries.iter().map(|delivery| delivery.record.offset.unwrap_or_default()).collect();
            let origin = &*self.origin;
            let write = |index: usize, link: Link| message(&deliveries[index].record, link, origin);
            let outcome = self.driver.publish(&offsets, &write).await;
            let shown = self.nats.server.shown();
            match outcome.failure {
                None => DeliveryOutcome::done(outcome.published),
                Some(PublishFailure::Repeat(after, cause)) => {
                    DeliveryOutcome::repeat(outcome.published, after, reason(&shown, cause))
                }
                Some(PublishFailure::Fleet(error)) if error.is_of_message() => {
                    DeliveryOutcome::refused(outcome.published, format!("{shown}: {error}"))
                }
                Some(PublishFailure::Fleet(error)) => {
                    DeliveryOutcome::unavailable(outcome.published, format!("{shown}: {error}"))
                }
            }
        })
    }

    fn in_flight_max(&self) -> usize {
        self.nats.window
    }

    fn wait(&mut self) -> SinkEventFuture<'_> {
        Box::pin(async move {
            match self.driver.wait().await {
                PublishEvent::Repeat(after, cause) => {
                    SinkEvent::Repeat { after, reason: reason(&self.nats.server.shown(), cause) }
                }
                PublishEvent::Health => SinkEvent::Problem,
            }
        })
    }

    fn problem(&self) -> Option<String> {
        let shown = self.nats.server.shown();
        let server = self.driver.health().problems.iter().map(|problem| &**problem);
        let disk = self.monitoring.as_ref().and_then(|monitoring| monitoring.problem);
        let problems: Vec<&str> = server.chain(disk).collect();
        (!problems.is_empty()).then(|| format!("{shown}: {}", problems.join("; ")))
    }

    fn state(&self) -> Option<Value> {
        serde_json::to_value(self.driver.state()).ok()
    }

    fn restore(&mut self, state: &Value) {
        match serde_json::from_value(state.clone()) {
            Ok(state) => self.driver = self.nats.driver(&self.origin, state),
            Err(error) => tracing::warn!(
                "rule {}: the state of its publisher is invalid ({error}): fleet hubs ask for what they lack",
                self.origin.rule
            ),
        }
    }
}

impl Monitoring {
    async fn read_when_due(&mut self) {
        if self.read_at.is_some_and(|at| at.elapsed() < MONITORING_INTERVAL) {
            return;
        }
        self.read_at = Some(Instant::now());
        let request = Request::get(&*self.target.path).header(HOST, &*self.target.host_header);
        let Ok(request) = request.body(Full::<Bytes>::default()) else { return };
        self.problem = match self.connection.send(request, MONITORING_TIMEOUT).await {
            Ok(reply) if reply.status.is_success() => match sync_policy(&reply.body) {
                SyncPolicy::Always | SyncPolicy::Unknown => None,
                SyncPolicy::Interval => Some(
                    "the server acknowledges before it syncs its disk: after a power cut the rule publishes again what no \
                     fleet hub has confirmed; `sync_interval: always` of its JetStream avoids that",
                ),
            },
            _ => Some(
                "the monitoring address of the server does not answer: correct `monitoring`, or remove it",
            ),
        };
    }
}

fn reason(shown: &str, cause: RepeatCause) -> String {
    format!("{shown}: {cause}")
}

/// The message of a record.
fn message(record: &Record<'_>, link: Link, origin: &DeliveryOrigin) -> Message {
    let attributes = CloudEventAttributes {
        id: cloud_event::id(record, origin),
        source: cloud_event::source(record, origin),
        ty: cloud_event::ty(&record.body),
    };
    let message = Message::new(record, &origin.host, &origin.journal, link, &attributes);
    if origin.selects_all { message.of_all() } else { message }
}

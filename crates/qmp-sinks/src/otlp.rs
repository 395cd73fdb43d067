//! Logs by OTLP/HTTP: records are posted as protobuf, many a request, in order, over a persistent connection.
//!
//! The rule's cursor is the queue: a batch that the receiver did not take is sent again, and nothing is dropped. A record
//! has the same `log.record.uid` at each delivery, by which a receiver recognizes repetitions.
//!
//! | reply of the receiver | effect |
//! |---|---|
//! | 2xx | the records are delivered; those that a partial success rejects are counted as given up |
//! | unreachable, too slow, connection lost; 408, 425, 429, 5xx | the receiver is unavailable: retried without end |
//! | any other status | the batch is halved until one record is refused: retried as often as `attempts` says, then given up |
//!
//! Source: OpenTelemetry Protocol 1.10, "OTLP/HTTP". It lets a client give up after most of 5xx; a cursor can wait instead.

mod any_value;
mod log_record;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use qmp_host::blocking;
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};

use super::delivery::{
    Delivery, DeliveryFailure, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, Rejection, RuleAction, Sink,
};
use super::http::{self, CA_FILE, HEADERS, PROGRAM, PersistentConnection, Reply, Target};
use super::keys::{ATTEMPTS, TIMEOUT};
use super::kind::SinkKind;

pub(super) static KIND: SinkKind = SinkKind {
    variant: &Variant { key: &OTLP, options: &[&HEADERS, &CA_FILE, &TIMEOUT, &ATTEMPTS] },
    may_hold_back: true,
    read,
};

static OTLP: KeySchema = KeySchema::new(
    "otlp",
    Form::Pattern("^https?://[^/?#@]+([/?].*)?$"),
    "an address such as \"http://localhost:4318/v1/logs\"",
    "Posts records as OpenTelemetry logs (OTLP/HTTP, protobuf, gzip) to this address; without a path, to `/v1/logs`.",
)
.example("\"http://localhost:4318\"");

/// The path of logs, if the address has none.
const LOGS_PATH: &str = "/v1/logs";

/// How long a receiver may take for its reply unless the rule says otherwise.
const OTLP_TIMEOUT: Duration = Duration::from_secs(30);

/// Records in one request: the batch that collectors and back ends expect.
const OTLP_BATCH_RECORDS: usize = 512;

/// Bytes of the records in one request before compression; a longer record is sent alone.
const OTLP_BATCH_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Otlp {
    target: Target,
    headers: Vec<(HeaderName, HeaderValue)>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    attempts: u32,
}

struct OtlpSink {
    otlp: Otlp,
    origin: Arc<DeliveryOrigin>,
    connection: PersistentConnection,
    /// Records in the next request: fewer after a refusal, until the refused record is alone.
    batch_records: usize,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let target: Option<Target> = settings.parsed(&OTLP);
    let headers = headers(settings);
    let timeout = settings.span(&TIMEOUT).unwrap_or(OTLP_TIMEOUT);
    let attempts = settings.number(&ATTEMPTS).unwrap_or(1);
    let mut target = target?;
    let ca_file = http::ca_file(settings, &target, "receiver")?;
    if &*target.path == "/" {
        target.path = LOGS_PATH.into();
    }
    Some(Arc::new(Otlp { target, headers, ca_file, timeout, attempts }))
}

fn headers(settings: &mut Settings<'_, '_>) -> Vec<(HeaderName, HeaderValue)> {
    let parse = |text: &str| {
        let (name, value) = http::header(text)?;
        if value.contains("{{") {
            return Err("a request has many records: write the value itself".to_owned());
        }
        let value = value.parse().map_err(|_| format!("header {name}: control characters cannot be sent"))?;
        Ok((name, value))
    };
    let parsed = settings.texts(&HEADERS).unwrap_or_default().into_iter().map(parse);
    parsed.filter_map(|header| header.inspect_err(|error| settings.problem(&HEADERS, error)).ok()).collect()
}

impl RuleAction for Otlp {
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        let connection = PersistentConnection::new(self.target.clone(), self.ca_file.clone());
        Box::new(OtlpSink { otlp: self.clone(), origin, connection, batch_records: OTLP_BATCH_RECORDS })
    }

    fn target(&self) -> String {
        self.target.shown()
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Sink for OtlpSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        Box::pin(async {
            loop {
                let records = self.batch(deliveries);
                let count = records.len();
                let outcome = self.send(records).await;
                let is_refused = matches!(outcome.failure, Some(DeliveryFailure::Refused { .. }));
                if is_refused && count > 1 {
                    self.batch_records = count / 2;
                    continue;
                }
                if outcome.delivered > 0 {
                    self.batch_records = (self.batch_records * 2).min(OTLP_BATCH_RECORDS);
                }
                return outcome;
            }
        })
    }
}

impl OtlpSink {
    /// The records of the next request, at least one.
    fn batch(&self, deliveries: &[Delivery]) -> Vec<LogRecord> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for delivery in deliveries.iter().take(self.batch_records) {
            let record = log_record::of(delivery, &self.origin);
            bytes += record.encoded_len();
            if bytes > OTLP_BATCH_BYTES && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        records
    }

    async fn send(&mut self, log_records: Vec<LogRecord>) -> DeliveryOutcome {
        let count = log_records.len();
        let scope = Some(log_record::scope());
        let scope_logs = vec![ScopeLogs { scope, log_records, schema_url: String::new() }];
        let resource = Some(log_record::resource(&self.origin));
        let resource_logs = vec![ResourceLogs { resource, scope_logs, schema_url: String::new() }];
        let message = ExportLogsServiceRequest { resource_logs };
        let shown = self.otlp.target.shown();
        let body = blocking(move || compressed(&message.encode_to_vec())).await;
        let request = body.map_err(|error| error.to_string()).and_then(|body| self.request(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return DeliveryOutcome::unavailable(0, format!("{shown}: {error}")),
        };
        match self.connection.send(request, self.otlp.timeout).await {
            Ok(reply) => outcome(&reply, count, &shown),
            Err(error) => DeliveryOutcome::unavailable(0, format!("{shown}: {error}")),
        }
    }

    fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let Otlp { target, headers, .. } = &self.otlp;
        let request = Request::post(&*target.path).header(HOST, &*target.host_header);
        let mut request = request.body(Full::from(body)).map_err(|error| error.to_string())?;
        let own = [
            (USER_AGENT, HeaderValue::from_static(PROGRAM)),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
            (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        ];
        request.headers_mut().extend(own);
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }
}

fn compressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The outcome that a reply to so many records means.
fn outcome(reply: &Reply, records: usize, shown: &str) -> DeliveryOutcome {
    if let Some(failure) = http::failure(reply, shown) {
        return DeliveryOutcome { delivered: 0, rejected: None, failure: Some(failure) };
    }
    let mut outcome = DeliveryOutcome::done(records);
    // A body in another format says no more than the status.
    let message = ExportLogsServiceResponse::decode(&*reply.body).unwrap_or_default();
    let Some(partial) = message.partial_success else { return outcome };
    match u64::try_from(partial.rejected_log_records) {
        Ok(rejected @ 1..) => {
            let error = format!("{shown} rejected them: {}", partial.error_message);
            outcome.rejected = Some(Rejection { records: rejected.min(records as u64), error });
        }
        _ if partial.error_message.is_empty() => {}
        _ => tracing::warn!("{shown} accepted the records with a warning: {}", partial.error_message),
    }
    outcome
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn reply(status: u16, body: Vec<u8>) -> Reply {
        let status = StatusCode::from_u16(status).expect("a status");
        Reply { status, headers: HeaderMap::new(), body: body.into() }
    }

    fn partial(rejected_log_records: i64, error_message: &str) -> Vec<u8> {
        let partial_success =
            Some(ExportLogsPartialSuccess { rejected_log_records, error_message: error_message.into() });
        ExportLogsServiceResponse { partial_success }.encode_to_vec()
    }

    #[test]
    fn partial_success_is_a_rejection_of_as_many_records_as_it_says() {
        let cases = [
            ("no body", Vec::new(), None),
            ("another format", b"{\"partialSuccess\": {}}".to_vec(), None),
            ("nothing rejected", partial(0, ""), None),
            ("a warning", partial(0, "slow down"), None),
            ("a negative number", partial(-1, "odd"), None),
            ("some", partial(3, "too old"), Some((3, "http://x rejected them: too old"))),
            ("more than there are", partial(99, ""), Some((8, "http://x rejected them: "))),
        ];
        for (case, body, expected) in cases {
            let outcome = outcome(&reply(200, body), 8, "http://x");
            let rejected = outcome.rejected.as_ref().map(|found| (found.records, &*found.error));
            assert_eq!((outcome.delivered, rejected), (8, expected), "{case}");
            assert!(outcome.failure.is_none());
        }
    }

    #[test]
    fn failed_status_delivers_nothing() {
        for (status, is_refused) in [(400, true), (404, true), (413, true), (429, false), (503, false)] {
            let outcome = outcome(&reply(status, partial(1, "x")), 8, "http://x");
            let found = matches!(outcome.failure, Some(DeliveryFailure::Refused { .. }));
            assert_eq!(
                (outcome.delivered, found, outcome.rejected.is_none()),
                (0, is_refused, true),
                "{status}"
            );
        }
    }
}

//! A webhook: each record is posted as a CloudEvent, or as a body of the rule's own, one a request, in order, over a
//! persistent connection.
//!
//! Signed as Standard Webhooks requires: `webhook-id` (the CloudEvent's id), `webhook-timestamp` (of this attempt), and
//! `webhook-signature`, which proves that the sender knows the secret.
//!
//! | reply of the receiver | effect |
//! |---|---|
//! | 2xx | the record is delivered |
//! | unreachable, too slow, connection lost; 408, 425, 429, 5xx | the receiver is unavailable: retried without end |
//! | any other status, redirections too | the record is refused: retried as often as `attempts` says, then given up |

mod target;
mod signature;
mod connection;
mod values;
mod template;
mod header;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use qmp_host::clock;
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};
use serde_json::Value;

use super::cloud_event::{self, MEDIA_TYPE};
use super::delivery::{
    Delivery, DeliveryFailure, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink,
};
use super::keys::{ATTEMPTS, TIMEOUT};
use super::kind::SinkKind;
use connection::{PersistentConnection, Reply};
use header::Header;
use target::Target;
use template::Template;

pub(super) static KIND: SinkKind = SinkKind {
    variant: &Variant {
        key: &WEBHOOK,
        options: &[&BODY, &HEADERS, &SECRET_FILE, &CA_FILE, &TIMEOUT, &ATTEMPTS],
    },
    may_hold_back: true,
    read,
};

static WEBHOOK: KeySchema = KeySchema::new(
    "webhook",
    Form::Pattern("^https?://[^/?#@]+([/?].*)?$"),
    "an address such as \"https://example.org/hook\"",
    "Posts each record to this address, as a CloudEvent or with the `body` of the rule.",
)
.example("\"https://example.org/hook\"");

static BODY: KeySchema = KeySchema::new(
    "body",
    Form::Text,
    "a template",
    "A template of the body. {{ vm }} inserts a value of the record as text, and the filter `json` as JSON.",
)
.absent("a CloudEvent")
.example(r#"'{"text": {{ message | json }}}'"#);

static HEADERS: KeySchema = KeySchema::new(
    "headers",
    Form::OneOrList { item: &Form::Pattern("^[^{ :]+:"), min: 1 },
    "headers such as \"Title: {{ vm }}\"",
    "Further headers of each request, `Name: value`; values are templates like `body`.",
)
.example(r#"["Title: {{ vm }}", "Priority: high"]"#);

static SECRET_FILE: KeySchema = KeySchema::new(
    "secret-file",
    Form::Path,
    "a path",
    "The file with the secret that signs each request; it is read for each request.",
)
.absent("requests are not signed")
.example("\"/etc/qmp-events/tickets.secret\"");

static CA_FILE: KeySchema = KeySchema::new(
    "ca-file",
    Form::Path,
    "a path",
    "The file with the certificates of the authorities that are trusted instead of those of the system.",
)
.absent("the system's authorities")
.example("\"/etc/qmp-events/tickets-ca.pem\"");

/// The media types of bodies of the rule's own.
const JSON_MEDIA_TYPE: &str = "application/json";
const TEXT_MEDIA_TYPE: &str = "text/plain; charset=utf-8";

/// The value of `User-Agent`.
const PROGRAM: &str = concat!("qmp-events/", env!("CARGO_PKG_VERSION"));

/// How long a receiver may take for its reply unless the rule says otherwise.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Webhook {
    target: Target,
    body: Option<Template>,
    headers: Vec<Header>,
    secret_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    attempts: u32,
}

struct WebhookSink {
    webhook: Webhook,
    origin: Arc<DeliveryOrigin>,
    connection: PersistentConnection,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let target: Option<Target> = settings.parsed(&WEBHOOK);
    let body = settings.text(&BODY).and_then(|text| {
        Template::parse_body(text).inspect_err(|error| settings.problem(&BODY, &error.to_string())).ok()
    });
    let headers = headers(settings);
    let secret_file = settings.text(&SECRET_FILE).map(PathBuf::from);
    let ca_file = settings.text(&CA_FILE).map(PathBuf::from);
    let timeout = settings.span(&TIMEOUT).unwrap_or(WEBHOOK_TIMEOUT);
    let attempts = settings.number(&ATTEMPTS).unwrap_or(1);
    if let Some(warning) = secret_file.as_deref().and_then(signature::warning) {
        settings.warn(&SECRET_FILE, &warning);
    }
    if let Some(path) = &ca_file
        && let Err(error) = qmp_host::open_regular(path)
    {
        settings.warn(&CA_FILE, &format!("{} cannot be read: {error}", path.display()));
    }
    let target = target?;
    if !target.is_tls && ca_file.is_some() {
        settings.problem(&CA_FILE, "`ca-file` is for https; this webhook is http");
        return None;
    }
    Some(Arc::new(Webhook { target, body, headers, secret_file, ca_file, timeout, attempts }))
}

fn headers(settings: &mut Settings<'_, '_>) -> Vec<Header> {
    let texts = settings.texts(&HEADERS).unwrap_or_default();
    let parsed = texts.into_iter().map(Header::parse);
    parsed.filter_map(|header| header.inspect_err(|error| settings.problem(&HEADERS, error)).ok()).collect()
}

impl RuleAction for Webhook {
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        let connection = PersistentConnection::new(self.target.clone(), self.ca_file.clone());
        Box::new(WebhookSink { webhook: self.clone(), origin, connection })
    }

    fn target(&self) -> String {
        self.target.shown()
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Sink for WebhookSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        Box::pin(async {
            match deliveries.first() {
                Some(delivery) => self.deliver_one(delivery).await,
                None => DeliveryOutcome::done(0),
            }
        })
    }
}

impl WebhookSink {
    async fn deliver_one(&mut self, delivery: &Delivery) -> DeliveryOutcome {
        let request = match self.request(delivery) {
            Ok(request) => request,
            Err(error) => return DeliveryOutcome::unavailable(0, error),
        };
        let shown = self.webhook.target.shown();
        match self.connection.send(request, self.webhook.timeout).await {
            Ok(reply) => outcome(&reply, &shown),
            Err(error) => DeliveryOutcome::unavailable(0, format!("{shown}: {error}")),
        }
    }

    /// Creates the request, for each attempt: the secret may have been replaced, and the time advances.
    fn request(&self, delivery: &Delivery) -> Result<Request<Full<Bytes>>, String> {
        let Webhook { target, body, headers, secret_file, .. } = &self.webhook;
        let id = cloud_event::id(&delivery.record, &self.origin);
        let seconds = clock::now().0.div_euclid(1_000_000);
        let needs_values = body.is_some() || !headers.is_empty();
        let values = if needs_values { values::of(delivery, &self.origin) } else { Value::Null };
        let (media_type, text) = match body {
            None => (MEDIA_TYPE, cloud_event::of(&delivery.record, &self.origin).text),
            Some(body) => {
                let media_type = if body.is_json() { JSON_MEDIA_TYPE } else { TEXT_MEDIA_TYPE };
                (media_type, body.render(&values).into_bytes())
            }
        };
        let mut request = Request::post(&*target.path)
            .header(HOST, &*target.host_header)
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds);
        if let Some(path) = secret_file {
            let secret = signature::secret(path)?;
            request = request.header("webhook-signature", signature::sign(&secret, &id, seconds, &text));
        }
        if delivery.held_back > 0 {
            // In a header, not in the event: the same id must always have the same body.
            request = request.header("qmp-held-back", delivery.held_back);
        }
        let mut request = request.body(Full::from(text)).map_err(|error| error.to_string())?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        for header in headers {
            request.headers_mut().insert(&header.name, header.value(&values));
        }
        Ok(request)
    }
}

/// The outcome that a reply means.
fn outcome(reply: &Reply, shown: &str) -> DeliveryOutcome {
    let status = reply.status;
    if status.is_success() {
        return DeliveryOutcome::done(1);
    }
    let body = if reply.body.is_empty() { String::new() } else { format!(": {}", reply.body) };
    let error = format!("{shown} answered {status}{body}");
    let is_unavailable = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    if is_unavailable {
        let after = reply.headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        return DeliveryOutcome {
            delivered: 0,
            failure: Some(DeliveryFailure::Unavailable { error, after }),
        };
    }
    if status.is_redirection() {
        return DeliveryOutcome::refused(
            0,
            format!("{error}; redirections are not followed: use the final address"),
        );
    }
    DeliveryOutcome::refused(0, error)
}

/// The time that `Retry-After` asks to wait: seconds, or an HTTP date.
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", value).ok()?.to_datetime().ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    u64::try_from(at.saturating_sub(clock::now().0)).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_reply_decides_the_outcome() {
        let cases = [
            (200, "done"),
            (204, "done"),
            (301, "refused"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (410, "refused"),
            (408, "unavailable"),
            (425, "unavailable"),
            (429, "unavailable"),
            (500, "unavailable"),
            (503, "unavailable"),
        ];
        for (status, expected) in cases {
            let status = StatusCode::from_u16(status).expect("a status");
            let reply = Reply { status, headers: hyper::HeaderMap::new(), body: "why".into() };
            let found = match outcome(&reply, "http://x") {
                DeliveryOutcome { delivered: 1, failure: None } => "done",
                DeliveryOutcome { failure: Some(DeliveryFailure::Refused { .. }), .. } => "refused",
                DeliveryOutcome { failure: Some(DeliveryFailure::Unavailable { .. }), .. } => "unavailable",
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_parsed_as_seconds_or_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), None, "long ago");
        let far = retry_after("Tue, 31 Dec 2199 23:59:59 GMT").expect("a date");
        assert!(far > Duration::from_secs(365 * 86_400));
        for text in ["", "soon", "-5", "1e9"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}

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

mod signature;
mod values;
mod template;
mod header;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use qmp_host::clock;
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};
use serde_json::Value;

use super::cloud_event::{self, MEDIA_TYPE};
use super::delivery::{Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink};
use super::http::{self, CA_FILE, HEADERS, PROGRAM, PersistentConnection, Target};
use super::keys::{ATTEMPTS, TIMEOUT};
use super::kind::SinkKind;
use header::Header;
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

static SECRET_FILE: KeySchema = KeySchema::new(
    "secret-file",
    Form::Path,
    "a path",
    "The file with the secret that signs each request; it is read for each request.",
)
.absent("requests are not signed")
.example("\"/etc/qmp-events/tickets.secret\"");

/// The media types of bodies of the rule's own.
const JSON_MEDIA_TYPE: &str = "application/json";
const TEXT_MEDIA_TYPE: &str = "text/plain; charset=utf-8";

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
    let timeout = settings.span(&TIMEOUT).unwrap_or(WEBHOOK_TIMEOUT);
    let attempts = settings.number(&ATTEMPTS).unwrap_or(1);
    if let Some(warning) = secret_file.as_deref().and_then(signature::warning) {
        settings.warn(&SECRET_FILE, &warning);
    }
    let target = target?;
    let ca_file = http::ca_file(settings, &target, "webhook")?;
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
            Ok(reply) => match http::failure(&reply, &shown) {
                None => DeliveryOutcome::done(1),
                Some(failure) => DeliveryOutcome { delivered: 0, rejected: None, failure: Some(failure) },
            },
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

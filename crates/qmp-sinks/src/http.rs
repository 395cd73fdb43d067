//! The common parts of sinks that post to a receiver: its address, the connection to it, headers, and the meaning of its replies.

mod target;
mod connection;

use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderName, RETRY_AFTER};
use qmp_host::clock;
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema};

use super::delivery::DeliveryFailure;

pub(super) use connection::{PersistentConnection, Reply};
pub(super) use target::Target;

pub(super) static CA_FILE: KeySchema = KeySchema::new(
    "ca-file",
    Form::Path,
    "a path",
    "The file with the certificates of the authorities that are trusted instead of those of the system.",
)
.absent("the system's authorities")
.example("\"/etc/qmp-events/tickets-ca.pem\"");

pub(super) static HEADERS: KeySchema = KeySchema::new(
    "headers",
    Form::OneOrList { item: &Form::Pattern("^[^{ :]+:"), min: 1 },
    "headers such as \"Title: {{ vm }}\"",
    "Further headers of each request, `Name: value`; values of a webhook are templates like `body`.",
)
.example(r#"["Title: {{ vm }}", "Priority: high"]"#);

/// The value of `User-Agent`.
pub(super) const PROGRAM: &str = concat!("qmp-events/", env!("CARGO_PKG_VERSION"));

/// Headers that a request needs, which a rule cannot replace.
const OWN: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Reads the file of trusted authorities; `None` after a problem. `noun` is the receiver in messages.
pub(super) fn ca_file(
    settings: &mut Settings<'_, '_>,
    target: &Target,
    noun: &str,
) -> Option<Option<PathBuf>> {
    let ca_file = settings.text(&CA_FILE).map(PathBuf::from);
    if let Some(path) = &ca_file
        && let Err(error) = qmp_host::open_regular(path)
    {
        settings.warn(&CA_FILE, &format!("{} cannot be read: {error}", path.display()));
    }
    if !target.is_tls && ca_file.is_some() {
        settings.problem(&CA_FILE, &format!("`ca-file` is for https; this {noun} is http"));
        return None;
    }
    Some(ca_file)
}

/// Splits `Name: value` of a configuration.
pub(super) fn header(text: &str) -> Result<(HeaderName, &str), String> {
    let (name, value) = text
        .split_once(':')
        .filter(|(name, _)| !name.contains("{{"))
        .ok_or("expected a header such as \"Title: {{ vm }}\"")?;
    let parsed: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
    if OWN.contains(&parsed) || parsed.as_str().starts_with("webhook-") {
        return Err(format!("the request has its own {parsed}"));
    }
    Ok((parsed, value))
}

/// Why the receiver did not take what was sent; `None` if it did.
pub(super) fn failure(reply: &Reply, shown: &str) -> Option<DeliveryFailure> {
    let status = reply.status;
    if status.is_success() {
        return None;
    }
    let text = reply.text();
    let body = if text.is_empty() { String::new() } else { format!(": {text}") };
    let error = format!("{shown} answered {status}{body}");
    let is_unavailable = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    if is_unavailable {
        let after = reply.headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        return Some(DeliveryFailure::Unavailable { error, after });
    }
    let advice =
        if status.is_redirection() { "; redirections are not followed: use the final address" } else { "" };
    Some(DeliveryFailure::Refused { error: format!("{error}{advice}") })
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
            let found = match failure(&reply, "http://x") {
                None => "done",
                Some(DeliveryFailure::Refused { .. }) => "refused",
                Some(DeliveryFailure::Unavailable { .. }) => "unavailable",
                Some(DeliveryFailure::Repeat { .. }) => "repeat",
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

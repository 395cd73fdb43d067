//! HTTP requests to the hub, each over its own connection: to a unix socket, a loopback port, or over TLS.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use qmp_wire::UnixMicros;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::address::HubAddress;
use super::client::HubClient;
use super::error::HubError;
use super::info::ErrorInfo;
use super::{lines, tls};
use crate::filter::{RecordArgs, VmArgs};
use crate::output;
use crate::render::escape;
use crate::time::write;

/// The parameters of a request, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Adds a parameter; a name may be repeated.
    pub fn add(&mut self, name: &'static str, value: impl fmt::Display) {
        self.0.push((name, value.to_string()));
    }

    /// Adds the patterns of VMs and hosts.
    pub fn add_vms(&mut self, vms: &VmArgs) {
        vms.vm.iter().for_each(|pattern| self.add("vm", pattern));
        vms.host.iter().for_each(|pattern| self.add("host", pattern));
    }

    /// Adds the filters of records, received in a window.
    pub fn add_records(
        &mut self,
        records: &RecordArgs,
        since: Option<UnixMicros>,
        until: Option<UnixMicros>,
    ) {
        self.add_vms(&records.vms);
        records.events.event.iter().for_each(|pattern| self.add("event", pattern));
        records.events.wheres.iter().for_each(|place| self.add("where", place));
        records.kind.iter().for_each(|kind| self.add("kind", kind.name()));
        for (name, moment) in [("since", since), ("until", until)] {
            if let Some(moment) = moment {
                self.add(name, write::rfc3339(moment));
            }
        }
    }

    /// Returns a copy with one more parameter.
    pub fn with(&self, name: &'static str, value: impl fmt::Display) -> Self {
        let mut query = self.clone();
        query.add(name, value);
        query
    }
}

/// `?name=value&…`, or nothing.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={}", encoded(value))?;
        }
        Ok(())
    }
}

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a segment of a path or the value of a parameter.
pub(super) fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, &RESERVED)
}

/// The header with the time since when the hub's journal cannot be written.
const STALLED_HEADER: &str = "qmp-events-journal-stalled";

/// Prints a note, once in this process, that the hub's responses are old.
fn note_stall(since: &str) {
    static NOTED: std::sync::Once = std::sync::Once::new();
    NOTED.call_once(|| {
        output::note(format_args!(
            "note: the hub's journal cannot be written since {}; the state of VMs is as of then",
            escape::text(since)
        ));
    });
}

/// How long connecting to a hub on another host may take; the kernel alone would try for two minutes.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// How long a user at a terminal waits for the hub before a note is printed.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// How long a response of the hub may take to begin. The hub itself gives up after 30 s without memory. A command has its own
/// time limit.
const RESPONSE_MAX: Duration = Duration::from_secs(60);

/// Sends a request and returns the head of the response; a status other than success becomes an error.
pub(super) async fn send(
    client: &HubClient,
    method: Method,
    path: &str,
    json: Option<String>,
) -> Result<Response<Incoming>, HubError> {
    if method == Method::POST {
        return send_unlimited(client, method, path, json).await;
    }
    let mut sending = std::pin::pin!(send_unlimited(client, method, path, json));
    if let Ok(response) = tokio::time::timeout(NOTE_AFTER, &mut sending).await {
        return response;
    }
    if client.has_notes && std::io::stderr().is_terminal() {
        output::note(format_args!(
            "note: the hub at {} has not answered for {NOTE_AFTER:?}; giving up after {RESPONSE_MAX:?}",
            client.address
        ));
    }
    let late = |_| HubError::Unresponsive { address: client.address.to_string(), waited: RESPONSE_MAX };
    tokio::time::timeout(RESPONSE_MAX.saturating_sub(NOTE_AFTER), sending).await.map_err(late)?
}

async fn send_unlimited(
    client: &HubClient,
    method: Method,
    path: &str,
    json: Option<String>,
) -> Result<Response<Incoming>, HubError> {
    let not_running = |error| HubError::NotRunning { address: client.address.to_string(), error };
    let request = request(client, method, path, json)?;
    let response = match (&client.address, &client.tls) {
        (HubAddress::Unix(socket), _) => {
            let stream = qmp_host::connect_unix(socket).await.map_err(not_running)?;
            exchange(stream, request, client).await
        }
        (HubAddress::Tcp(port), _) => {
            exchange(TcpStream::connect(port).await.map_err(not_running)?, request, client).await
        }
        (HubAddress::Https { host, port }, Some(connector)) => {
            let made = tokio::time::timeout(CONNECT_MAX, async {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(not_running)?;
                let _ = stream.set_nodelay(true);
                tls::connect(connector, host, stream, &client.address.to_string()).await
            });
            let late = |_| not_running(std::io::ErrorKind::TimedOut.into());
            exchange(made.await.map_err(late)??, request, client).await
        }
        (HubAddress::Https { .. }, None) => unreachable!("a client of HTTPS is made with TLS"),
    }?;
    let stalled = response.headers().get(STALLED_HEADER).and_then(|since| since.to_str().ok());
    if let Some(since) = stalled.filter(|_| client.has_notes) {
        note_stall(since);
    }
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = lines::whole(response).await?;
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        error: ErrorInfo,
    }
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error: ErrorInfo { class, desc } }) => {
            Err(HubError::Refused { status: status.as_u16(), class, desc })
        }
        Err(_) => Err(HubError::NotAHub { what: format!("it answered {status} to {path}") }),
    }
}

fn request(
    client: &HubClient,
    method: Method,
    path: &str,
    json: Option<String>,
) -> Result<Request<Full<Bytes>>, HubError> {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(HOST, client.address.host()).header(CONTENT_TYPE, "application/json");
    if let Some(token) = &client.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = Full::new(Bytes::from(json.unwrap_or_default()));
    request.body(body).map_err(|error| HubError::NotAHub { what: error.to_string() })
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    client: &HubClient,
) -> Result<Response<Incoming>, HubError> {
    let lost = |error: hyper::Error| match of_tls(&error) {
        Some(alert) => tls::failed(&client.address.to_string(), std::io::Error::other(alert)),
        None if error.is_parse() => HubError::NotAHub { what: format!("it does not speak HTTP ({error})") },
        None => HubError::Lost { what: error.to_string() },
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // The connection ends by itself after the last byte of the response, or when the response is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(lost)
}

/// The error of TLS that ended the connection, if there is one.
fn of_tls(error: &hyper::Error) -> Option<rustls::Error> {
    let error = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    error.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn frozen_hub_is_an_error_after_the_limit() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("hub.sock");
        let _frozen = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let client = HubClient { address: HubAddress::Unix(path), token: None, tls: None, has_notes: true };
        let before = tokio::time::Instant::now();
        let error = client.info().await.unwrap_err();
        assert!(
            error.to_string().contains("accepted the connection and has not answered for 60s"),
            "{error}"
        );
        assert_eq!(before.elapsed(), RESPONSE_MAX);
    }

    #[test]
    fn query_is_percent_encoded() {
        let mut query = Query::default();
        assert_eq!(query.to_string(), "");
        query.add("vm", "web*");
        query.add("where", "info.type=hyper v&+ü");
        assert_eq!(
            query.with("after", 41).to_string(),
            "?vm=web%2A&where=info.type%3Dhyper%20v%26%2B%C3%BC&after=41"
        );
    }
}

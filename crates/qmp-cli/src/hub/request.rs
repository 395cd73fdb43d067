//! One HTTP request over one connection, to a unix socket or a loopback port.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use qmp_hub::HttpAddress;
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::{HubError, Refusal, lines};

/// The parameters of a request, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Adds a parameter; one that is added twice stands twice.
    pub fn add(&mut self, name: &'static str, value: impl fmt::Display) {
        self.0.push((name, value.to_string()));
    }

    /// The same with one parameter more.
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

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Sends a request and takes the head of the answer; an answer that is no success becomes an error.
pub(super) async fn send(
    address: &HttpAddress,
    method: Method,
    path: &str,
    json: Option<String>,
) -> Result<Response<Incoming>, HubError> {
    let not_running = |error| HubError::NotRunning { address: address.to_string(), error };
    let response = match address {
        HttpAddress::Unix(socket) => {
            exchange(connect_unix(socket).await.map_err(not_running)?, method, path, json).await
        }
        HttpAddress::Tcp(port) => {
            exchange(TcpStream::connect(port.get()).await.map_err(not_running)?, method, path, json).await
        }
    }?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = lines::whole(response).await?;
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        error: Refusal,
    }
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error: Refusal { class, desc } }) => {
            Err(HubError::Refused { status: status.as_u16(), class, desc })
        }
        Err(_) => Err(HubError::NotAHub { what: format!("it answered {status} to {path}") }),
    }
}

/// The longest path that fits a socket address, in bytes.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Connects to a unix socket. The path may be of any length: a long one is gone through a descriptor of the file.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
        return UnixStream::connect(path).await;
    }
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd())).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: Method,
    path: &str,
    json: Option<String>,
) -> Result<Response<Incoming>, HubError> {
    let lost = |error: hyper::Error| match error.is_parse() {
        true => HubError::NotAHub { what: format!("it does not speak HTTP ({error})") },
        false => HubError::Lost { what: error.to_string() },
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // Ends by itself with the last byte of the answer, or when the answer is dropped.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json.unwrap_or_default())))
        .map_err(|error| HubError::NotAHub { what: error.to_string() })?;
    sender.send_request(request).await.map_err(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_queries() {
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

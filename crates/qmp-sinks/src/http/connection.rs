//! The connection to a receiver, kept between requests.

use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use qmp_host::blocking;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::target::Target;
use crate::status::cut;

/// How long connecting to a receiver may take: name resolution, TCP, and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a reply that are read; a longer one closes the connection.
const REPLY_MAX_BYTES: usize = 64 << 10;

/// Bytes of a reply that an error contains.
const REPLY_SHOWN_MAX_BYTES: usize = 200;

/// The connection to one receiver, opened when it is needed.
pub(crate) struct PersistentConnection {
    target: Target,
    ca_file: Option<PathBuf>,
    tls: Option<Arc<ClientConfig>>,
    open: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Empty if it is longer than `REPLY_MAX_BYTES`.
    pub(crate) body: Bytes,
}

impl Reply {
    /// The beginning of the body as one line, for people.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words: Vec<&str> = text.split_whitespace().collect();
        cut(&words.join(" "), REPLY_SHOWN_MAX_BYTES)
    }
}

/// Why there is no reply.
enum SendError {
    Slow,
    Broken(String),
}

impl SendError {
    fn text(self, timeout: Duration) -> String {
        match self {
            Self::Slow => format!("no answer within {timeout:?}"),
            Self::Broken(error) => error,
        }
    }
}

impl PersistentConnection {
    pub(crate) fn new(target: Target, ca_file: Option<PathBuf>) -> Self {
        Self { target, ca_file, tls: None, open: None }
    }

    /// Sends a request and reads the reply, which may take `timeout`.
    ///
    /// A kept connection may have been closed meanwhile; then the request is sent once more over a new one, which at
    /// worst repeats it.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let kept = self.open.take();
        if let Some(connection) = kept {
            match self.try_over(connection, request.clone(), timeout).await {
                Ok(reply) => return Ok(reply),
                Err(SendError::Slow) => return Err(SendError::Slow.text(timeout)),
                Err(SendError::Broken(_)) => {}
            }
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
        let connection =
            connecting.await.map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))??;
        self.try_over(connection, request, timeout).await.map_err(|error| error.text(timeout))
    }

    async fn try_over(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Reply, SendError> {
        let exchange = async {
            connection.sender.ready().await?;
            let reply = connection.sender.send_request(request).await?;
            Ok(read(reply).await)
        };
        let exchanged = tokio::time::timeout(timeout, exchange).await.map_err(|_| SendError::Slow)?;
        let (reply, is_whole) = exchanged.map_err(|error| SendError::Broken(error_text(error)))?;
        if is_whole && !connection.sender.is_closed() {
            self.open = Some(connection);
        }
        Ok(reply)
    }

    async fn connect(&mut self) -> Result<Connection, String> {
        let Target { host, port, is_tls, .. } = &self.target;
        let stream = TcpStream::connect((&**host, *port)).await.map_err(|error| error.to_string())?;
        // A request is one write without a following one.
        let _ = stream.set_nodelay(true);
        if !is_tls {
            return start_http(stream).await;
        }
        let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
        let config = match &self.tls {
            Some(config) => Arc::clone(config),
            None => {
                let ca_file = self.ca_file.clone();
                let config = blocking(move || client_config(ca_file)).await?;
                Arc::clone(self.tls.insert(config))
            }
        };
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())?;
        start_http(stream).await
    }
}

async fn start_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(error_text)?;
    // An error of the connection is returned to the sender of a request.
    let driver = tokio::spawn(async { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, driver })
}

/// Reads the reply; returns whether the whole body was read.
async fn read(reply: Response<Incoming>) -> (Reply, bool) {
    let (parts, body) = reply.into_parts();
    let body = Limited::new(body, REPLY_MAX_BYTES).collect().await.map(|body| body.to_bytes());
    let is_whole = body.is_ok();
    let body = body.unwrap_or_default();
    (Reply { status: parts.status, headers: parts.headers, body }, is_whole)
}

/// An error with its cause, which has the details.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn error_text(error: hyper::Error) -> String {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The TLS configuration: trusts the certificates of the system, or only those of `ca_file`.
fn client_config(ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            let unreadable = |error: String| format!("cannot read the certificates in {shown}: {error}");
            let file = qmp_host::open_regular(&path).map_err(|error| unreadable(error.to_string()))?;
            for certificate in rustls::pki_types::CertificateDer::pem_reader_iter(BufReader::new(file)) {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("there is none".into()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err("this system has no trusted certificates: install them (ca-certificates), or name a ca-file".into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

//! One connection to a receiver, kept between requests.

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

/// How long it may take to reach a receiver: its name, TCP, and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer is read, in bytes. Nothing in it matters but what a person may want to know; a longer one costs
/// the connection.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// How much of an answer is told in an error, in bytes.
const ANSWER_SHOWN_MAX_BYTES: usize = 200;

/// The connection to one receiver.
pub(super) struct Connections {
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

/// An answer, with the beginning of its body as one line.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Why there is no answer.
enum Trouble {
    Slow,
    Broken(String),
}

impl Trouble {
    fn told(self, timeout: Duration) -> String {
        match self {
            Self::Slow => format!("no answer within {timeout:?}"),
            Self::Broken(error) => error,
        }
    }
}

impl Connections {
    pub(super) fn new(target: Target, ca_file: Option<PathBuf>) -> Self {
        Self { target, ca_file, tls: None, open: None }
    }

    /// Sends a request and reads the answer, which may take `timeout`.
    ///
    /// A connection that was kept may have been closed meanwhile; then the request is sent once more over another one,
    /// which at worst repeats it.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let kept = self.open.take();
        if let Some(connection) = kept {
            match self.try_over(connection, request.clone(), timeout).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Slow) => return Err(Trouble::Slow.told(timeout)),
                Err(Trouble::Broken(_)) => {}
            }
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
        let connection =
            connecting.await.map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))??;
        self.try_over(connection, request, timeout).await.map_err(|trouble| trouble.told(timeout))
    }

    async fn try_over(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Answer, Trouble> {
        let asking = async {
            connection.sender.ready().await?;
            let answer = connection.sender.send_request(request).await?;
            Ok(read(answer).await)
        };
        let asked = tokio::time::timeout(timeout, asking).await.map_err(|_| Trouble::Slow)?;
        let (answer, is_whole) = asked.map_err(|error| Trouble::Broken(told(error)))?;
        if is_whole && !connection.sender.is_closed() {
            self.open = Some(connection);
        }
        Ok(answer)
    }

    async fn connect(&mut self) -> Result<Connection, String> {
        let Target { host, port, is_tls, .. } = &self.target;
        let stream = TcpStream::connect((&**host, *port)).await.map_err(|error| error.to_string())?;
        // A request is one write, which nothing follows.
        let _ = stream.set_nodelay(true);
        if !is_tls {
            return over(stream).await;
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
        over(stream).await
    }
}

async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    // How it ends is told to whoever sends.
    let driver = tokio::spawn(async { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, driver })
}

/// The answer, and whether all of it was read.
async fn read(answer: Response<Incoming>) -> (Answer, bool) {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await.map(|body| body.to_bytes());
    let is_whole = body.is_ok();
    let text = String::from_utf8_lossy(body.as_deref().unwrap_or_default()).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let body = cut(&words.join(" "), ANSWER_SHOWN_MAX_BYTES);
    (Answer { status: parts.status, headers: parts.headers, body }, is_whole)
}

/// An error with its cause, which says more.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: hyper::Error) -> String {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Whom to trust: those of the system, or of `ca_file` alone.
fn client_config(ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            let unreadable = |error: String| format!("cannot read the certificates in {shown}: {error}");
            let found = rustls::pki_types::CertificateDer::pem_file_iter(&path)
                .map_err(|error| unreadable(error.to_string()))?;
            for certificate in found {
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
                return Err("this system trusts nobody: install its certificates (ca-certificates), or name a ca-file".into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

//! Connections: accepting, TLS where the endpoint has a certificate, and serving their requests.
//!
//! Unauthenticated connections are limited in number and time: see [`super::endpoint::EvictionQueue`]. The head of a
//! request is limited in time and size, and the number of connections is limited.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use qmp_host::{Budget, HTTP_SPARE_MAX, LogLimit};
use qmp_hub::Peer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::auth::ConnectionState;
use super::endpoint::EvictionQueue;
use super::endpoint_state::EndpointState;
use super::listen::{HttpListener, Socket};
use super::router::router;
use crate::state::ApiState;

/// Connections at one endpoint at a time; further ones are spare. The hub is measured with a thousand readers; each costs
/// a descriptor and a chunk of records. The limit of open files may permit fewer.
const HTTP_CONNECTIONS_MAX: usize = 4_096;

/// How long a connection may be idle, and how long the head of a request may take. Longer than the minute at which
/// metrics are usually fetched.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(90);

/// The longest head of a request, in bytes: a query of many filters has some thousand.
const HTTP_HEAD_MAX_BYTES: usize = 64 << 10;

/// The pause after the system refuses a connection, such as for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// An accepted connection.
enum AcceptedStream {
    Unix(UnixStream),
    Tcp(TcpStream, Peer),
}

/// Serves the requests of one connection.
struct ConnectionService {
    router: TowerToHyperService<Router>,
    connection: Arc<ConnectionState>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.connection));
        self.router.call(request)
    }
}

/// Serves until `ends` is true and every client has its responses.
pub async fn serve(listener: HttpListener, api: ApiState, mut ends: watch::Receiver<bool>) {
    let HttpListener { endpoint, credentials, socket } = listener;
    if matches!(socket, Socket::Tcp(_)) && endpoint.token_file().is_none() {
        tracing::warn!(
            "every user of this host may observe the VMs over {endpoint}; commands need a token there, and this address has \
             no `token-file`, or the hub's unix socket"
        );
    }
    let shared = EndpointState {
        endpoint,
        credentials,
        refused: LogLimit::default(),
        failed: LogLimit::default(),
        unauthenticated: Arc::default(),
        spare: Arc::new(EvictionQueue::new(HTTP_SPARE_MAX)),
        not_accepted: LogLimit::default(),
        evicted: LogLimit::default(),
        memory: api.reads.memory.clone(),
        open_files: Arc::clone(api.registry.clients()),
    };
    let (shared, router) = (Arc::new(shared), router(api));
    let mut connections = JoinSet::new();
    let spare_files = Arc::new(Budget::new(2 * HTTP_SPARE_MAX));
    let connection_ends = ends.clone();
    loop {
        tokio::select! {
            // An evicted spare connection ends a moment later: until then it holds its descriptor.
            accepted = socket.accept(), if spare_files.used() < 2 * HTTP_SPARE_MAX => match accepted {
                Ok(accepted) => {
                    let ends = connection_ends.clone();
                    let is_spare = connections.len() >= HTTP_CONNECTIONS_MAX;
                    let open_file = if is_spare { None } else { shared.open_files.take(1) };
                    let spare_file = if open_file.is_none() { spare_files.take(1) } else { None };
                    let (shared, router) = (Arc::clone(&shared), router.clone());
                    let service = serve_connection(accepted, open_file.is_none(), shared, router, ends);
                    connections.spawn(async move {
                        service.await;
                        drop((open_file, spare_file));
                    });
                }
                Err(error) => {
                    if let Some(more) = shared.not_accepted.pass(Instant::now()) {
                        tracing::warn!("cannot accept at {}: {error}{more}", shared.endpoint);
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            () = ended(&mut ends) => break,
        }
    }
    // No further connection is accepted while the last ones are served.
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Waits until the hub stops, or is dropped.
async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ = ends.wait_for(|ends| *ends).await;
}

impl Socket {
    async fn accept(&self) -> io::Result<AcceptedStream> {
        match self {
            Self::Unix { listener, .. } => Ok(AcceptedStream::Unix(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(AcceptedStream::Tcp(stream, Peer::Remote(peer)))
            }
        }
    }
}

/// Serves one connection from its beginning to its end.
async fn serve_connection(
    accepted: AcceptedStream,
    is_spare: bool,
    shared: Arc<EndpointState>,
    router: Router,
    mut ends: watch::Receiver<bool>,
) {
    let spare = is_spare.then(|| shared.spare.add());
    let credentials = shared.credentials.borrow().clone();
    let is_guarded = credentials.tls.is_some() || credentials.tokens.is_some();
    let unauthenticated = is_guarded.then(|| shared.unauthenticated.add());
    match accepted {
        AcceptedStream::Unix(stream) => match Peer::of(&stream) {
            Ok(peer) => {
                let connection = ConnectionState::new(shared, peer, unauthenticated, spare);
                serve_http(stream, connection, router, ends).await;
            }
            Err(error) => tracing::warn!("{}: cannot identify the client: {error}", shared.endpoint),
        },
        AcceptedStream::Tcp(stream, peer) => {
            // A single event must reach its reader without delay.
            let _ = stream.set_nodelay(true);
            let connection = ConnectionState::new(shared, peer, unauthenticated, spare);
            let Some(tls) = credentials.tls else {
                return serve_http(stream, connection, router, ends).await;
            };
            let acceptor = TlsAcceptor::from(tls);
            let encrypted = tokio::select! {
                encrypted = encrypt(stream, &acceptor, &connection) => encrypted,
                () = connection.revoked() => None,
                () = ended(&mut ends) => None,
            };
            if let Some(stream) = encrypted {
                serve_http(stream, connection, router, ends).await;
            }
        }
    }
}

/// Begins TLS; answers plain HTTP with an error and returns `None`.
async fn encrypt(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    connection: &ConnectionState,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    let peeked = stream.peek(&mut first).await;
    // The first letter of an HTTP method; TLS begins with the byte 22.
    if peeked.is_ok_and(|bytes| bytes == 1) && first[0].is_ascii_uppercase() {
        let _ = stream.write_all(plain_http_refused().as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            if let Some(more) = connection.shared.failed.pass(Instant::now()) {
                tracing::warn!(
                    "{}: no TLS with {}: {error}{more}",
                    connection.shared.endpoint,
                    connection.peer
                );
            }
            None
        }
    }
}

fn plain_http_refused() -> String {
    let body = r#"{"error":{"class":"TlsRequired","desc":"this port requires TLS; use https:// and the hub's name"}}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// Serves requests until the client disconnects, the hub stops, or the connection is revoked.
async fn serve_http<S>(
    stream: S,
    connection: ConnectionState,
    router: Router,
    mut ends: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let service =
        ConnectionService { router: TowerToHyperService::new(router), connection: Arc::clone(&connection) };
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .auto_date_header(has_date(SystemTime::now()))
        .header_read_timeout(HTTP_IDLE_MAX)
        .max_buf_size(HTTP_HEAD_MAX_BYTES)
        // Vectored writes send the text without a copy, which no budget would count.
        .writev(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    let mut revoked = pin!(connection.revoked());
    let mut is_ending = false;
    loop {
        tokio::select! {
            // An error of one client does not affect the others.
            _ = http.as_mut() => return,
            () = revoked.as_mut() => return,
            () = connection.recipient.evicted() => return connection.log_eviction(),
            () = ended(&mut ends), if !is_ending => {
                is_ending = true;
                http.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Whether a time has a date of HTTP, whose years have four digits. The writer of the header panics at others.
fn has_date(time: SystemTime) -> bool {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000)
}

impl ConnectionState {
    fn log_eviction(&self) {
        if let Some(more) = self.shared.evicted.pass(Instant::now()) {
            let endpoint = &self.shared.endpoint;
            tracing::warn!(
                "{endpoint}: {} was closed: it did not read, and others wait for memory{more}",
                self.peer
            );
        }
    }

    /// Completes when the connection stays unauthenticated for too long, is evicted for another, or its token is withdrawn.
    async fn revoked(&self) {
        let mut credentials = self.shared.credentials.clone();
        let evicted = async {
            match &self.unauthenticated {
                Some(entry) => entry.evicted().await,
                None => std::future::pending().await,
            }
        };
        let replaced = async {
            match &self.spare {
                Some(entry) => entry.evicted().await,
                None => std::future::pending().await,
            }
        };
        let withdrawn = async {
            while credentials.changed().await.is_ok() {
                if !self.is_authorized(&credentials.borrow_and_update()) {
                    return;
                }
            }
            // The credentials do not change any more.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = evicted => {}
            () = replaced => {}
            () = withdrawn => {}
        }
    }
}

#[cfg(test)]
mod tests;

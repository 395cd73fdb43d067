//! Connections: accepted, encrypted where the door has a certificate, and told from one another.
//!
//! What a peer can hold without saying who it is, is bounded: see [`super::door::Strangers`]. Heads of requests have
//! a time and a size, and there are so many connections at a time and no more.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use qmp_host::{Budget, HTTP_SPARE_MAX, Rarely};
use qmp_hub::Peer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::caller::Visit;
use super::door::Strangers;
use super::hall::Hall;
use super::listen::{Listening, Socket};
use super::router::router;
use crate::served::Served;

/// Connections at one door at a time; further ones are spare. A thousand readers are what the hub is measured with; each
/// costs a descriptor and a chunk of records. The limit of open files may permit fewer.
const HTTP_CONNECTIONS_MAX: usize = 4_096;

/// How long a connection may be idle, and how long the head of a request may take. Longer than the minute at which
/// figures are usually fetched.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(90);

/// The longest head of a request, in bytes: a query of many filters has some thousand.
const HTTP_HEAD_MAX_BYTES: usize = 64 << 10;

/// How long the door rests when the system refuses a connection, such as for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A connection that was accepted.
enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, Peer),
}

/// Answers requests of one visit.
struct Answering {
    router: TowerToHyperService<Router>,
    visit: Arc<Visit>,
}

impl Service<Request<Incoming>> for Answering {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.visit));
        self.router.call(request)
    }
}

/// Serves until `ends` is true and every client has what it asked for.
pub async fn serve(listening: Listening, served: Served, mut ends: watch::Receiver<bool>) {
    let Listening { door, keys, socket } = listening;
    if matches!(socket, Socket::Tcp(_)) && door.token_file().is_none() {
        tracing::warn!(
            "every user of this host may observe the VMs over {door}; commands need a token there, and this address has \
             no `token-file`, or the hub's unix socket"
        );
    }
    let hall = Hall {
        door,
        keys,
        refused: Rarely::default(),
        failed: Rarely::default(),
        strangers: Arc::default(),
        spare: Arc::new(Strangers::new(HTTP_SPARE_MAX)),
        not_accepted: Rarely::default(),
        evicted: Rarely::default(),
        memory: served.reads.memory.clone(),
        open_files: Arc::clone(served.fleet.clients()),
    };
    let (hall, router) = (Arc::new(hall), router(served));
    let mut connections = JoinSet::new();
    let spare_files = Arc::new(Budget::new(2 * HTTP_SPARE_MAX));
    let of_connections = ends.clone();
    loop {
        tokio::select! {
            // A spare one that is closed for another ends a moment later: until then it has its descriptor.
            accepted = socket.accept(), if spare_files.used() < 2 * HTTP_SPARE_MAX => match accepted {
                Ok(accepted) => {
                    let ends = of_connections.clone();
                    let is_spare = connections.len() >= HTTP_CONNECTIONS_MAX;
                    let open_file = if is_spare { None } else { hall.open_files.take(1) };
                    let spare_file = if open_file.is_none() { spare_files.take(1) } else { None };
                    let (hall, router) = (Arc::clone(&hall), router.clone());
                    let welcome = welcome(accepted, open_file.is_none(), hall, router, ends);
                    connections.spawn(async move {
                        welcome.await;
                        drop((open_file, spare_file));
                    });
                }
                Err(error) => {
                    if let Some(more) = hall.not_accepted.pass(Instant::now()) {
                        tracing::warn!("cannot accept at {}: {error}{more}", hall.door);
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            () = ended(&mut ends) => break,
        }
    }
    // Nobody else is let in while the last ones read on.
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Waits until the hub stops, or is gone.
async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ = ends.wait_for(|ends| *ends).await;
}

impl Socket {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix { listener, .. } => Ok(Accepted::Unix(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, Peer::Remote(peer)))
            }
        }
    }
}

/// One connection from its beginning to its end.
async fn welcome(
    accepted: Accepted,
    is_spare: bool,
    hall: Arc<Hall>,
    router: Router,
    mut ends: watch::Receiver<bool>,
) {
    let spare = is_spare.then(|| hall.spare.enter());
    let keys = hall.keys.borrow().clone();
    let is_guarded = keys.tls.is_some() || keys.tokens.is_some();
    let stranger = is_guarded.then(|| hall.strangers.enter());
    match accepted {
        Accepted::Unix(stream) => match Peer::of(&stream) {
            Ok(peer) => talk(stream, Visit::new(hall, peer, stranger, spare), router, ends).await,
            Err(error) => tracing::warn!("{}: cannot tell who connects: {error}", hall.door),
        },
        Accepted::Tcp(stream, peer) => {
            // A single event must reach its reader at once, and not when there is more to send.
            let _ = stream.set_nodelay(true);
            let visit = Visit::new(hall, peer, stranger, spare);
            let Some(tls) = keys.tls else { return talk(stream, visit, router, ends).await };
            let acceptor = TlsAcceptor::from(tls);
            let encrypted = tokio::select! {
                encrypted = encrypt(stream, &acceptor, &visit) => encrypted,
                () = visit.unwelcome() => None,
                () = ended(&mut ends) => None,
            };
            if let Some(stream) = encrypted {
                talk(stream, visit, router, ends).await;
            }
        }
    }
}

/// Begins TLS; whoever speaks plain HTTP is told so, and `None`.
async fn encrypt(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    visit: &Visit,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await;
    // A method of HTTP; TLS begins with a byte of 22.
    if seen.is_ok_and(|seen| seen == 1) && first[0].is_ascii_uppercase() {
        let _ = stream.write_all(plain_http_refused().as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            if let Some(more) = visit.hall.failed.pass(Instant::now()) {
                tracing::warn!("{}: no TLS with {}: {error}{more}", visit.hall.door, visit.peer);
            }
            None
        }
    }
}

fn plain_http_refused() -> String {
    let body = r#"{"error":{"class":"TlsRequired","desc":"this hub speaks TLS here; ask it at https:// and its name"}}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// Answers requests until the client goes, the hub stops, or the client is welcome no more.
async fn talk<S>(stream: S, visit: Visit, router: Router, mut ends: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let visit = Arc::new(visit);
    let answering = Answering { router: TowerToHyperService::new(router), visit: Arc::clone(&visit) };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_IDLE_MAX)
        .max_buf_size(HTTP_HEAD_MAX_BYTES)
        // A text is written from where it is: a copy of it would be counted nowhere.
        .writev(true)
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    let mut unwelcome = pin!(visit.unwelcome());
    let mut is_ending = false;
    loop {
        tokio::select! {
            // What goes wrong with one client concerns that client.
            _ = connection.as_mut() => return,
            () = unwelcome.as_mut() => return,
            () = visit.recipient.evicted() => return visit.log_eviction(),
            () = ended(&mut ends), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Visit {
    fn log_eviction(&self) {
        if let Some(more) = self.hall.evicted.pass(Instant::now()) {
            let door = &self.hall.door;
            tracing::warn!(
                "{door}: {} was closed: it did not read, and others wait for memory{more}",
                self.peer
            );
        }
    }

    /// Ends when the peer is a stranger for too long, or one too many, or its token was withdrawn.
    async fn unwelcome(&self) {
        let mut keys = self.hall.keys.clone();
        let strange = async {
            match &self.stranger {
                Some(stranger) => stranger.sent_away().await,
                None => std::future::pending().await,
            }
        };
        let replaced = async {
            match &self.spare {
                Some(spare) => spare.sent_away().await,
                None => std::future::pending().await,
            }
        };
        let withdrawn = async {
            while keys.changed().await.is_ok() {
                if !self.is_welcome(&keys.borrow_and_update()) {
                    return;
                }
            }
            // Nothing there that could change.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = strange => {}
            () = replaced => {}
            () = withdrawn => {}
        }
    }
}

#[cfg(test)]
mod tests;

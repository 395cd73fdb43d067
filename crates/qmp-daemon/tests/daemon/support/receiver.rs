//! A receiver of webhooks with scripted responses.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// The receiver's response to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Response {
    /// Status line and further headers.
    Status(&'static str, &'static str),
    /// Succeeds with a body.
    Body(&'static [u8]),
    /// Sends nothing until the client closes the connection.
    Hang,
    /// Closes the connection within the response.
    BreakOff,
    /// Responds, and closes the connection afterwards without notice.
    ThenClose,
}

/// A request that got a success response.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: String,
    state: Arc<State>,
    acceptor: AbortHandle,
}

struct State {
    script: Mutex<VecDeque<Response>>,
    deliveries: watch::Sender<Vec<Delivery>>,
    connections: watch::Sender<usize>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The name of the event in it.
    pub(crate) fn event(&self) -> String {
        self.json()["data"]["event"].as_str().unwrap_or_default().to_owned()
    }
}

impl Receiver {
    pub(crate) async fn start(script: &[Response]) -> Self {
        Self::at("127.0.0.1:0", script).await
    }

    pub(crate) async fn at(address: &str, script: &[Response]) -> Self {
        Self::over(TcpListener::bind(address).await.expect("binds"), script, None)
    }

    pub(crate) async fn with_tls(acceptor: TlsAcceptor) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").await.expect("binds"), &[], Some(acceptor))
    }

    fn over(listener: TcpListener, script: &[Response], tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            script: Mutex::new(script.iter().copied().collect()),
            deliveries: watch::Sender::default(),
            connections: watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let acceptor = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                shared.connections.send_modify(|connections| *connections += 1);
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, &state).await };
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &state).await;
                    }
                });
            }
        });
        Self { address, state, acceptor: acceptor.abort_handle() }
    }

    /// Waits until `count` requests have succeeded.
    pub(crate) async fn deliveries(&self, count: usize) -> Vec<Delivery> {
        let mut deliveries = self.state.deliveries.subscribe();
        let waiting = deliveries.wait_for(|deliveries| deliveries.len() >= count);
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(deliveries) => deliveries.expect("a running receiver").clone(),
            Err(_) => panic!("{count} requests did not arrive: {:?}", self.state.deliveries.borrow()),
        }
    }

    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut input = Vec::new();
    while let Some(delivery) = read(&mut stream, &mut input).await {
        let response = state.script.lock().expect("no panic").pop_front();
        let mut body: &[u8] = &[];
        let text = match response {
            None | Some(Response::ThenClose) => {
                state.deliveries.send_modify(|all| all.push(delivery));
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
            }
            Some(Response::Status(status, headers)) => {
                if status.starts_with('2') {
                    state.deliveries.send_modify(|all| all.push(delivery));
                }
                format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 3\r\n\r\nwhy")
            }
            Some(Response::Body(bytes)) => {
                state.deliveries.send_modify(|all| all.push(delivery));
                body = bytes;
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())
            }
            Some(Response::Hang) => {
                // Until the client closes.
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
            Some(Response::BreakOff) => "HTTP/1.1 200 O".to_owned(),
        };
        let _ = stream.write_all(&[text.as_bytes(), body].concat()).await;
        if matches!(response, Some(Response::BreakOff | Response::ThenClose)) {
            return;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>) -> Option<Delivery> {
    loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(input[..end].to_vec()).expect("text");
            let delivery = Delivery { head, body: Vec::new() };
            let length: usize =
                delivery.header("content-length").expect("a length").parse().expect("a number");
            let whole = end + 4 + length;
            if input.len() >= whole {
                let body = input[end + 4..whole].to_vec();
                input.drain(..whole);
                return Some(Delivery { body, ..delivery });
            }
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

//! An HTTP client over a unix socket or TCP.

use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// The lines of a response, read as they arrive.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The lines of `answer`.
    pub(crate) fn new(answer: Response<Incoming>) -> Self {
        Self { body: answer.into_body(), buffer: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8(line).expect("UTF-8").trim_end().to_owned());
            }
            let frame = self.body.frame().await?.expect("a complete response");
            self.buffer.extend_from_slice(frame.data_ref().expect("data"));
        }
    }
}

/// Sends a request over `stream`.
pub(crate) async fn send_request<S>(stream: S, request: Request<Full<Bytes>>) -> Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("a response")
}

/// `GET`s `path` of the hub in `home`.
pub(crate) async fn get(home: &Path, path: &str) -> Response<Incoming> {
    let request = Request::get(path).header("host", "hub").body(Full::default()).expect("a request");
    send_request(connect(home).await, request).await
}

/// `GET`s `path` and reads the response as JSON.
pub(crate) async fn get_json(home: &Path, path: &str) -> (u16, Value) {
    json(get(home, path).await).await
}

/// `GET`s `path` and reads the response line by line.
pub(crate) async fn get_lines(home: &Path, path: &str) -> Lines {
    let answer = get(home, path).await;
    assert_eq!(answer.status(), 200, "{path}");
    Lines::new(answer)
}

/// Executes `body` on a VM through the hub in `home`.
pub(crate) async fn execute(home: &Path, vm: &str, body: &str) -> (u16, Value) {
    let request = Request::post(format!("/v1/vms/{vm}/execute"))
        .header("host", "hub")
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .expect("a request");
    json(send_request(connect(home).await, request).await).await
}

/// Status and body of a JSON response.
pub(crate) async fn json(answer: Response<Incoming>) -> (u16, Value) {
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("a complete response").to_bytes();
    let value = serde_json::from_slice(&bytes);
    (status, value.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes))))
}

/// Connects to the hub in `home`.
pub(crate) async fn connect(home: &Path) -> UnixStream {
    UnixStream::connect(home.join("hub.sock")).await.expect("the hub listens")
}

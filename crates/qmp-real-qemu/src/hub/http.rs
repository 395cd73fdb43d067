//! The HTTP interface of a hub, over its unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use qmp_testing::PATIENCE;
use serde_json::Value;

/// The name of the VM in the journal.
pub(super) const VM: &str = "vm1";

/// Returns the VM's entry: `GET /v1/vms/NAME`.
pub(super) fn vm(socket: &Path) -> Value {
    answer(socket, &format!("GET /v1/vms/{VM} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n"))
}

/// Makes the hub execute a request on the VM: `POST /v1/vms/NAME/execute`; returns the reply.
pub(super) fn execute(socket: &Path, request: &Value) -> Value {
    let body = request.to_string();
    let length = body.len();
    let head = format!("POST /v1/vms/{VM}/execute HTTP/1.1\r\nhost: hub\r\nconnection: close");
    answer(
        socket,
        &format!("{head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
}

fn answer(socket: &Path, request: &str) -> Value {
    let mut stream = UnixStream::connect(socket).expect("the hub listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a time limit");
    stream.write_all(request.as_bytes()).expect("the hub reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the hub answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{request}{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

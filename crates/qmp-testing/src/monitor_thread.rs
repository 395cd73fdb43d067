//! A monitor on a thread, for tests without a runtime.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::peer::{GREETING_LINE, Peer, command_name, event};

/// A monitor on a thread, which serves one client after the other. By default it has the commands `query-status`, `stop`,
/// `cont`, `quit` and some for tests.
#[derive(Debug)]
pub struct MonitorThread {
    /// The socket.
    pub path: PathBuf,
}

impl MonitorThread {
    /// Listens at `path` until the process ends or a client sends `quit`.
    pub fn start(path: PathBuf) -> Self {
        Self::start_with(path, respond)
    }

    /// Listens at `path`; `respond` returns the messages for a command, the reply last, or none.
    pub fn start_with(path: PathBuf, respond: impl Fn(&str, &Value) -> Vec<String> + Send + 'static) -> Self {
        let listener = UnixListener::bind(&path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
                loop {
                    let peer = Peer::new(listener.accept().await.expect("a client").0);
                    // A client that closes early is no fault of the monitor.
                    if serve(peer, &respond).await.unwrap_or(false) {
                        return;
                    }
                }
            });
        });
        Self { path }
    }

    /// The address of the socket.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

/// Serves one client; returns whether it sent `quit`.
async fn serve(mut peer: Peer, respond: &impl Fn(&str, &Value) -> Vec<String>) -> std::io::Result<bool> {
    peer.stream.write_all(GREETING_LINE.as_bytes()).await?;
    while let Some(request) = peer.hear_or_end().await {
        let command = command_name(&request);
        for message in respond(command, &request) {
            // The reply gets the id of the request, as QEMU writes it.
            let id = request.get("id").map(|id| format!(", \"id\": {id}}}"));
            let is_reply = message.starts_with("{\"return\"") || message.starts_with("{\"error\"");
            let message = match id {
                Some(id) if is_reply => format!("{}{id}", &message[..message.len() - 1]),
                _ => message,
            };
            peer.stream.write_all(format!("{message}\r\n").as_bytes()).await?;
        }
        if command == "quit" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The default replies of a [`MonitorThread`].
#[must_use]
pub fn respond(command: &str, request: &Value) -> Vec<String> {
    let done = "{\"return\": {}}".to_owned();
    match command {
        "qmp_capabilities" => vec![done],
        "query-status" => vec!["{\"return\": {\"status\": \"running\", \"running\": true}}".into()],
        // Commands named query-… are not recorded, so that tests can count events only.
        "stop" | "query-stop" => vec![event("STOP", ""), done],
        "cont" | "query-cont" => vec![event("RESUME", ""), done],
        "quit" => vec![event("SHUTDOWN", "{\"guest\": false, \"reason\": \"host-qmp-quit\"}"), done],
        "say" => vec![event("VSERPORT_CHANGE", &request["arguments"]["data"].to_string()), done],
        "echo" => vec![format!("{{\"return\": {}}}", request["arguments"])],
        "hang" => vec![],
        "fail" => {
            vec!["{\"error\": {\"class\": \"GenericError\", \"desc\": \"it \\u001b[31mfailed\"}}".into()]
        }
        _ => vec![format!(
            "{{\"error\": {{\"class\": \"CommandNotFound\", \"desc\": \"The command {command} has not been found\"}}}}"
        )],
    }
}

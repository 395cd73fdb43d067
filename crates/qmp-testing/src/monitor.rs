//! A monitor that emulates a simple VM.
//!
//! The monitor sends a greeting, answers `qmp_capabilities` and every `query-…`, and executes a few commands: `stop` and
//! `cont` emit their event before the reply, as QEMU does; `burst` and `query-burst` emit the number of events in their
//! argument `count` and reply in the same write; `refuse` gets an error; `silence` gets no reply.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::peer::{GREETING_LINE, Peer, command_name, event_line};

/// A socket at which a VM can be attached.
#[derive(Debug)]
pub struct Monitor {
    path: PathBuf,
    listener: UnixListener,
}

/// One client's connection to a monitor.
#[derive(Debug)]
pub struct Session {
    out: mpsc::UnboundedSender<Order>,
    /// The received commands, other than `qmp_capabilities` and queries.
    commands: mpsc::UnboundedReceiver<String>,
    /// The number of received `query-status` commands.
    queries: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Send(String),
    RunState(&'static str),
    Hang,
    GoOn,
    Close,
}

impl Monitor {
    /// Listens at `home`/`vm`.sock.
    #[must_use]
    pub fn bind(home: &Path, vm: &str) -> Self {
        let path = home.join(format!("{vm}.sock"));
        let listener = UnixListener::bind(&path).expect("binds");
        Self { path, listener }
    }

    /// Waits for a client and emulates the VM for it.
    pub async fn accept(&self) -> Session {
        let stream = self.accept_raw().await;
        let (out, orders) = mpsc::unbounded_channel();
        let (commands_in, commands) = mpsc::unbounded_channel();
        let (queries_in, queries) = watch::channel(0);
        Session { out, commands, queries, task: tokio::spawn(play(stream, orders, commands_in, queries_in)) }
    }

    /// Waits for a client and sends nothing to it.
    pub async fn accept_raw(&self) -> UnixStream {
        self.listener.accept().await.expect("a client").0
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Session {
    /// Sends `text` unchanged.
    pub fn send(&self, text: impl Into<String>) {
        // The write fails if the client has closed the connection; the test notices that elsewhere.
        let _ = self.out.send(Order::Send(text.into()));
    }

    /// Emits an event, without data if `data` is empty.
    pub fn emit(&self, name: &str, data: &str) {
        self.send(event_line(name, data));
    }

    /// Changes the run state that `query-status` returns, without an event.
    pub fn run_state(&self, run_state: &'static str) {
        let _ = self.out.send(Order::RunState(run_state));
    }

    /// Reads and answers nothing until [`Self::go_on`], like a stopped QEMU.
    pub fn hang(&self) {
        let _ = self.out.send(Order::Hang);
    }

    /// Continues after [`Self::hang`].
    pub fn go_on(&self) {
        let _ = self.out.send(Order::GoOn);
    }

    /// Waits for `more` further `query-status` commands.
    pub async fn wait_for_queries(&mut self, more: u64) {
        let expected = *self.queries.borrow() + more;
        self.queries.wait_for(|queries| *queries >= expected).await.expect("a connected client");
    }

    /// Closes the connection after all earlier messages.
    pub async fn close(self) {
        let _ = self.out.send(Order::Close);
        self.task.await.expect("the monitor did not panic");
    }

    /// Waits until the client closes the connection.
    pub async fn left(self) {
        self.task.await.expect("the monitor did not panic");
    }

    /// The received commands that [`Self::command`] has not returned.
    pub fn commands_so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }

    /// The next received command, other than `qmp_capabilities` and queries.
    pub async fn command(&mut self) -> String {
        self.commands.recv().await.expect("a command")
    }
}

async fn play(
    stream: UnixStream,
    mut orders: mpsc::UnboundedReceiver<Order>,
    commands: mpsc::UnboundedSender<String>,
    queries: watch::Sender<u64>,
) {
    let (mut peer, mut run_state) = (Peer::new(stream), "running");
    send(&mut peer, GREETING_LINE).await;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(text)) => send(&mut peer, &text).await,
                Some(Order::RunState(next)) => run_state = next,
                Some(Order::Hang) => while !matches!(orders.recv().await, Some(Order::GoOn) | None) {},
                Some(Order::GoOn) => {}
                Some(Order::Close) | None => return,
            },
            request = peer.hear_or_end() => {
                let Some(request) = request else { return };
                let command = command_name(&request);
                queries.send_modify(|queries| *queries += u64::from(command == "query-status"));
                if command != "qmp_capabilities" && !command.starts_with("query-") {
                    let _ = commands.send(command.to_owned());
                }
                let text = reply(command, &request, run_state);
                send(&mut peer, &text).await;
            }
        }
    }
}

async fn send(peer: &mut Peer, text: &str) {
    // The client may have closed the connection; the next read reports that.
    let _ = peer.stream.write_all(text.as_bytes()).await;
}

/// The events of a command and its reply, for one write.
fn reply(command: &str, request: &Value, run_state: &str) -> String {
    let id = &request["id"];
    let done = format!("{{\"return\": {{}}, \"id\": {id}}}\r\n");
    match command {
        "stop" => event_line("STOP", "") + &done,
        "cont" => event_line("RESUME", "") + &done,
        "burst" | "query-burst" => {
            let count = request["arguments"]["count"].as_u64().expect("a count");
            let events = (0..count).map(|n| event_line("RTC_CHANGE", &format!("{{\"offset\": {n}}}")));
            events.collect::<String>() + &done
        }
        "refuse" => {
            let error = r#"{"class": "GenericError", "desc": "not today"}"#;
            format!("{{\"id\": {id}, \"error\": {error}}}\r\n")
        }
        "silence" => String::new(),
        "query-status" => {
            let running = run_state == "running";
            format!(
                "{{\"return\": {{\"status\": \"{run_state}\", \"running\": {running}}}, \"id\": {id}}}\r\n"
            )
        }
        _ => done,
    }
}

//! A monitor that emulates a simple VM.
//!
//! The monitor sends a greeting, answers `qmp_capabilities` and every `query-…`, and executes a few commands: `stop` and
//! `cont` emit their event before the reply, as QEMU does; `burst` and `query-burst` emit the number of events in their
//! argument `count` and reply in the same write; `refuse` gets an error; `silence` gets no reply.

use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) const GREETING: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "#,
    r#""capabilities": ["oob"]}}"#,
    "\r\n"
);

/// A socket at which a VM can be attached.
pub(crate) struct Monitor {
    path: PathBuf,
    listener: UnixListener,
}

/// One client's connection to a monitor.
pub(crate) struct Session {
    out: mpsc::UnboundedSender<Order>,
    /// The received commands, other than `qmp_capabilities` and queries.
    commands: mpsc::UnboundedReceiver<String>,
    /// The number of received `query-status` commands.
    queries: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

enum Order {
    Send(String),
    RunState(&'static str),
    Hang,
    GoOn,
    Close,
}

impl Monitor {
    pub(crate) fn bind(home: &Path, vm: &str) -> Self {
        let path = home.join(format!("{vm}.sock"));
        let listener = UnixListener::bind(&path).expect("binds");
        Self { path, listener }
    }

    /// Waits for a client and emulates the VM for it.
    pub(crate) async fn accept(&self) -> Session {
        let stream = self.accept_raw().await;
        let (out, orders) = mpsc::unbounded_channel();
        let (commands_in, commands) = mpsc::unbounded_channel();
        let (queries_in, queries) = watch::channel(0);
        Session { out, commands, queries, task: tokio::spawn(play(stream, orders, commands_in, queries_in)) }
    }

    /// Waits for a client and sends nothing to it.
    pub(crate) async fn accept_raw(&self) -> UnixStream {
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
    pub(crate) fn send(&self, text: impl Into<String>) {
        // The write fails if the client has closed the connection; the test notices that elsewhere.
        let _ = self.out.send(Order::Send(text.into()));
    }

    /// Emits an event, without data if `data` is empty.
    pub(crate) fn emit(&self, name: &str, data: &str) {
        self.send(event(name, data));
    }

    /// Changes the run state that `query-status` returns, without an event.
    pub(crate) fn run_state(&self, run_state: &'static str) {
        let _ = self.out.send(Order::RunState(run_state));
    }

    /// Reads and answers nothing until [`Self::go_on`], like a stopped QEMU.
    pub(crate) fn hang(&self) {
        let _ = self.out.send(Order::Hang);
    }

    /// Continues after [`Self::hang`].
    pub(crate) fn go_on(&self) {
        let _ = self.out.send(Order::GoOn);
    }

    /// Waits for `more` further `query-status` commands.
    pub(crate) async fn wait_for_queries(&mut self, more: u64) {
        let expected = *self.queries.borrow() + more;
        self.queries.wait_for(|queries| *queries >= expected).await.expect("a connected client");
    }

    /// Closes the connection after all earlier messages.
    pub(crate) async fn close(self) {
        let _ = self.out.send(Order::Close);
        self.task.await.expect("the monitor did not panic");
    }

    /// Waits until the client closes the connection.
    pub(crate) async fn left(self) {
        self.task.await.expect("the monitor did not panic");
    }

    /// The received commands that [`Self::command`] has not returned.
    pub(crate) fn commands_so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }

    /// The next received command, other than `qmp_capabilities` and queries.
    pub(crate) async fn command(&mut self) -> String {
        self.commands.recv().await.expect("a command")
    }
}

/// An event as QEMU writes it.
pub(crate) fn event(name: &str, data: &str) -> String {
    let data = if data.is_empty() { String::new() } else { format!(", \"data\": {data}") };
    let timestamp = r#"{"seconds": 1767323045, "microseconds": 678001}"#;
    format!("{{\"timestamp\": {timestamp}, \"event\": \"{name}\"{data}}}\r\n")
}

async fn play(
    stream: UnixStream,
    mut orders: mpsc::UnboundedReceiver<Order>,
    commands: mpsc::UnboundedSender<String>,
    queries: watch::Sender<u64>,
) {
    let (mut reader, mut writer) = stream.into_split();
    send(&mut writer, GREETING).await;
    let (mut input, mut run_state) = (Vec::new(), "running");
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(text)) => send(&mut writer, &text).await,
                Some(Order::RunState(next)) => run_state = next,
                Some(Order::Hang) => while !matches!(orders.recv().await, Some(Order::GoOn) | None) {},
                Some(Order::GoOn) => {}
                Some(Order::Close) | None => return,
            },
            read = read_more(&mut reader, &mut input) => {
                if !read {
                    return;
                }
                for request in take_requests(&mut input) {
                    queries.send_modify(|queries| *queries += u64::from(request.get().contains("\"query-status\"")));
                    obey(&request, run_state, &mut writer, &commands).await;
                }
            }
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, text: &str) {
    // The client may have closed the connection; the next read reports that.
    let _ = writer.write_all(text.as_bytes()).await;
}

async fn read_more(reader: &mut OwnedReadHalf, input: &mut Vec<u8>) -> bool {
    reader.read_buf(input).await.is_ok_and(|bytes| bytes > 0)
}

fn take_requests(input: &mut Vec<u8>) -> Vec<Box<RawValue>> {
    let mut values = serde_json::Deserializer::from_slice(input).into_iter::<Box<RawValue>>();
    let requests: Vec<_> = values.by_ref().map_while(Result::ok).collect();
    let taken = values.byte_offset();
    input.drain(..taken);
    requests
}

async fn obey(
    request: &RawValue,
    run_state: &str,
    writer: &mut OwnedWriteHalf,
    commands: &mpsc::UnboundedSender<String>,
) {
    let request: Value = serde_json::from_str(request.get()).expect("JSON");
    let command = request["execute"].as_str().or(request["exec-oob"].as_str()).expect("a command");
    let id = &request["id"];
    let done = format!("{{\"return\": {{}}, \"id\": {id}}}\r\n");
    if command != "qmp_capabilities" && !command.starts_with("query-") {
        let _ = commands.send(command.to_owned());
    }
    let text = match command {
        "stop" => event("STOP", "") + &done,
        "cont" => event("RESUME", "") + &done,
        "burst" | "query-burst" => {
            let count = request["arguments"]["count"].as_u64().expect("a count");
            let events = (0..count).map(|n| event("RTC_CHANGE", &format!("{{\"offset\": {n}}}")));
            events.collect::<String>() + &done
        }
        "refuse" => {
            format!(
                "{{\"id\": {id}, \"error\": {{\"class\": \"GenericError\", \"desc\": \"not today\"}}}}\r\n"
            )
        }
        "silence" => String::new(),
        "query-status" => {
            let running = run_state == "running";
            format!(
                "{{\"return\": {{\"status\": \"{run_state}\", \"running\": {running}}}, \"id\": {id}}}\r\n"
            )
        }
        _ => done,
    };
    send(writer, &text).await;
}

//! A monitor that plays a simple VM.
//!
//! It greets, answers `qmp_capabilities` and every `query-…`, and obeys a few commands: `stop` and `cont` raise
//! their event before the reply, as QEMU does; `burst` and `query-burst` raise as many events as their argument
//! `count` says and reply in the same write; `refuse` is refused; `silence` is never answered.

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

/// One client's visit to a monitor.
pub(crate) struct Session {
    out: mpsc::UnboundedSender<Order>,
    /// The commands that came, other than `qmp_capabilities` and queries.
    commands: mpsc::UnboundedReceiver<String>,
    /// How often the monitor was asked for its status.
    asked: watch::Receiver<u64>,
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

    /// Waits for a client and plays the VM for it.
    pub(crate) async fn accept(&self) -> Session {
        let stream = self.accept_raw().await;
        let (out, orders) = mpsc::unbounded_channel();
        let (commands_in, commands) = mpsc::unbounded_channel();
        let (asking, asked) = watch::channel(0);
        Session { out, commands, asked, task: tokio::spawn(play(stream, orders, commands_in, asking)) }
    }

    /// Waits for a client and says nothing to it.
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
    /// Sends `text` as it is.
    pub(crate) fn send(&self, text: impl Into<String>) {
        // A client that left does not read it, which is for the test to notice.
        let _ = self.out.send(Order::Send(text.into()));
    }

    /// Raises an event, with data or an empty text.
    pub(crate) fn emit(&self, name: &str, data: &str) {
        self.send(event(name, data));
    }

    /// Changes the run state that `query-status` returns, without an event.
    pub(crate) fn run_state(&self, run_state: &'static str) {
        let _ = self.out.send(Order::RunState(run_state));
    }

    /// Reads and answers nothing from here on, as a QEMU that was stopped.
    pub(crate) fn hang(&self) {
        let _ = self.out.send(Order::Hang);
    }

    /// Goes on after [`Self::hang`].
    pub(crate) fn go_on(&self) {
        let _ = self.out.send(Order::GoOn);
    }

    /// Waits until the monitor was asked for its status so many times more than it is by now.
    pub(crate) async fn asked(&mut self, more: u64) {
        let wanted = *self.asked.borrow() + more;
        self.asked.wait_for(|asked| *asked >= wanted).await.expect("the client is there");
    }

    /// Closes the connection, after everything before was sent.
    pub(crate) async fn close(self) {
        let _ = self.out.send(Order::Close);
        self.task.await.expect("the monitor did not panic");
    }

    /// Waits until the client leaves.
    pub(crate) async fn left(self) {
        self.task.await.expect("the monitor did not panic");
    }

    /// The commands that came and were not looked at.
    pub(crate) fn commands_so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }

    /// The next command that is none of the usual questions.
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
    asking: watch::Sender<u64>,
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
                    asking.send_modify(|asked| *asked += u64::from(request.get().contains("\"query-status\"")));
                    obey(&request, run_state, &mut writer, &commands).await;
                }
            }
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, text: &str) {
    // The client may have left, which the next read tells.
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
            let status = serde_json::json!({"status": run_state, "running": run_state == "running"});
            format!("{{\"return\": {status}, \"id\": {id}}}\r\n")
        }
        _ => done,
    };
    send(writer, &text).await;
}

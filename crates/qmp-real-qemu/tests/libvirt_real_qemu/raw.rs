//! The second monitor of a domain's QEMU, read to lines by nothing of this project's libraries.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use qmp_testing::{Libvirt, wait_for};
use serde_json::{Value, json};

use crate::watched_hub::PlainEvent;

/// A connection that a thread reads until QEMU ends.
pub(crate) struct RawMonitor {
    stream: UnixStream,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: JoinHandle<()>,
    /// Number of lines of each kind that were waited for, by the name of the event; replies have none.
    taken: BTreeMap<String, usize>,
}

impl RawMonitor {
    /// Connects, and leaves the negotiation of capabilities.
    pub(crate) fn connect(libvirt: &Libvirt) -> Self {
        let stream = wait_for("a second monitor", || UnixStream::connect(libvirt.path("raw.sock")).ok());
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let mut reader = BufReader::new(stream.try_clone().expect("clones"));
        let found = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let line = serde_json::from_slice(&std::mem::take(&mut line)).expect("JSON");
                found.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut raw = Self { stream, lines, reader, taken: BTreeMap::new() };
        raw.execute("qmp_capabilities", &json!({}));
        raw
    }

    /// Writes a command, whose reply is not awaited. QEMU may have ended.
    pub(crate) fn send(&mut self, command: &str, arguments: &Value) {
        let text = json!({"execute": command, "arguments": arguments});
        let _ = self.stream.write_all(format!("{text}\n").as_bytes());
    }

    /// Executes a command, and returns QEMU's reply.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Value {
        self.send(command, arguments);
        let reply = self.next(command, "");
        assert!(reply.get("error").is_none(), "{command}: {reply}");
        reply["return"].clone()
    }

    /// Executes a line of the human monitor.
    pub(crate) fn human(&mut self, line: &str) {
        self.execute("human-monitor-command", &json!({"command-line": line}));
    }

    /// Writes to a port, as the guest does it, until the event follows: the firmware may not have set the device up yet.
    pub(crate) fn write_port(mut self, write: &str, event: &str) {
        let replied = self.count("");
        let mut sent = 0;
        wait_for(event, || {
            // QEMU sends the event of a write before the reply to it.
            let (is_replied, is_there) = (self.count("") == replied + sent, self.count(event) > 0);
            if is_replied && !is_there {
                self.send("human-monitor-command", &json!({"command-line": write}));
                sent += 1;
            }
            is_there.then_some(())
        });
    }

    /// Waits until QEMU has replied to that many commands.
    pub(crate) fn wait_for_replies(&self, count: usize) {
        wait_for("replies", || (self.count("") >= count).then_some(()));
    }

    /// Waits for an event that none of the calls before has returned.
    pub(crate) fn until(&mut self, event: &str) {
        self.next(event, event);
    }

    /// Reads until QEMU ends, and returns all events.
    pub(crate) fn end(self) -> Vec<PlainEvent> {
        self.reader.join().expect("reads");
        self.lines.lock().expect("no panic").iter().filter_map(event).collect()
    }

    /// Waits for the next line of a kind.
    fn next(&mut self, what: &str, event: &str) -> Value {
        let taken = self.taken.entry(event.to_owned()).or_default();
        let _said = LastLines(&self.lines);
        let line = wait_for(what, || {
            let lines = self.lines.lock().expect("no panic");
            lines.iter().filter(|line| is_of(line, event)).nth(*taken).cloned()
        });
        *taken += 1;
        line
    }

    /// Number of lines of a kind.
    fn count(&self, event: &str) -> usize {
        let lines = self.lines.lock().expect("no panic");
        lines.iter().filter(|line| is_of(line, event)).count()
    }
}

/// Prints the last lines of QEMU if a wait for one fails.
struct LastLines<'l>(&'l Mutex<Vec<Value>>);

impl Drop for LastLines<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines[lines.len().saturating_sub(10)..].iter().for_each(|line| eprintln!("QEMU: {line}"));
        }
    }
}

/// Whether the line is an event of this name or, with an empty one, a reply.
fn is_of(line: &Value, event: &str) -> bool {
    match line["event"].as_str() {
        Some(name) => name == event,
        None => event.is_empty() && line.get("QMP").is_none(),
    }
}

fn event(line: &Value) -> Option<PlainEvent> {
    let name = line["event"].as_str()?.to_owned();
    let at = |member: &str| line["timestamp"][member].as_i64().expect("a number");
    let micros = u32::try_from(at("microseconds")).expect("microseconds");
    Some((name, at("seconds"), micros, line["data"].clone()))
}

//! `qmp exec`: one command for a VM, directly or through the hub.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use qmp_client::{Address, EventItem, ExecuteError};
use qmp_wire::{Body, Epoch, Record, Seq, UnixMicros};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::left;
use crate::exit::{Exit, Failure};
use crate::hub::{ErrorInfo, ExecuteReply, HubArgs, HubError, VmInfo};
use crate::render::{Renderer, compact, escape, pretty};
use crate::target::{Target, names_of};
use crate::terminal::Terminal;
use crate::time::span;
use crate::{arguments, live, output};

/// How long a user at a terminal waits for a reply before a note is printed.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// The hint if the command was sent and no reply was received.
const MAY_EXECUTE: &str = "the VM may still execute the command";

/// How long the hub may take to explain why a VM does not answer.
const WHY_MAX: Duration = Duration::from_millis(500);

/// Execute a QMP command on a VM and print what it returns
///
/// Values that are JSON are sent as JSON (delay=10, force=true), others as strings (device=drive0); a dot in
/// a key goes one level down (backing.driver=file). Through the hub, every event that the VM sent before its
/// reply is in the journal when the reply is printed, and "since" is the offset for qmp wait --since.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Exec {
    /// A monitor's address, or the name of a VM of the hub
    #[arg(value_name = "ADDR|NAME")]
    target: Target,

    /// The command, such as query-status
    command: String,

    /// Its arguments: key=value, or one JSON object, or - to read the object from the standard input
    #[arg(value_name = "key=value|JSON")]
    arguments: Vec<String>,

    /// Execute out of band: at once, before queued commands (only some commands allow it)
    #[arg(long)]
    oob: bool,

    /// Print one line of JSON (the default when the output is not a terminal)
    #[arg(long)]
    json: bool,

    /// Give up after this long, with exit code 3; 0 waits for ever. The VM may still execute the command
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span::parse_or_seconds)]
    timeout: Duration,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp exec web1 query-status
  qmp exec web1 device_del id=net1
  qmp exec /run/web1.sock blockdev-add driver=qcow2 node-name=d1 file.driver=file file.filename=/srv/d1.qcow2
  qmp exec web1 balloon '{\"value\": 1073741824}'
  qmp wait web1 SHUTDOWN --since \"$(qmp exec web1 system_powerdown --json | jq .since)\"";

impl Exec {
    /// Executes the command and prints the result; the exit code says whether it succeeded.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let arguments = self.arguments()?;
        let executing = async {
            match &self.target {
                Target::Address(address) => {
                    let address = address.as_ref().map_err(Failure::usage)?;
                    self.execute_straight(address, arguments.as_deref(), terminal).await
                }
                Target::Name(name) => self.execute_through_hub(name, arguments.as_deref(), terminal).await,
            }
        };
        let reply = self.with_timeout(executing, terminal).await?;
        self.print(&reply, terminal)
    }

    /// Waits for the reply, up to `--timeout`.
    async fn with_timeout(
        &self,
        executing: impl Future<Output = Result<ExecuteReply, Failure>>,
        terminal: &Terminal,
    ) -> Result<ExecuteReply, Failure> {
        let (mut executing, begun) = (pin!(executing), Instant::now());
        let mut left = if self.timeout.is_zero() { Duration::MAX } else { self.timeout };
        if terminal.stderr_is_terminal() && left > NOTE_AFTER {
            match tokio::time::timeout(NOTE_AFTER, &mut executing).await {
                Ok(reply) => return reply,
                Err(_) => {
                    let why = self.why_unresponsive().await;
                    output::note(format_args!("{}", self.waiting_note(why.as_deref())));
                }
            }
            left = left.saturating_sub(begun.elapsed());
        }
        match tokio::time::timeout(left, executing).await {
            Ok(reply) => reply,
            Err(_) => {
                let message = format_args!("no reply to {} within {:?}", self.command, self.timeout);
                Err(Failure::timed_out(message).hint(MAY_EXECUTE))
            }
        }
    }

    /// Why the VM does not answer, if the hub can say so at once.
    async fn why_unresponsive(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Vm {
            unresponsive: Option<String>,
        }
        let Target::Name(name) = &self.target else { return None };
        let client = self.hub.client().ok()?;
        let vm = tokio::time::timeout(WHY_MAX, client.vm_json(name)).await.ok()?.ok()?;
        serde_json::from_str::<Vm>(vm.get()).ok()?.unresponsive
    }

    fn waiting_note(&self, why: Option<&str>) -> String {
        let name = match &self.target {
            Target::Name(name) => name.as_str(),
            Target::Address(_) => "the VM",
        };
        let until = match self.timeout {
            Duration::ZERO => "; waiting for ever".to_owned(),
            timeout => format!("; giving up after {timeout:?} (--timeout)"),
        };
        let why = why.map(|why| format!(": {}", escape::text(why))).unwrap_or_default();
        format!("note: {name} has not answered {} for {NOTE_AFTER:?}{why}{until}", self.command)
    }

    fn arguments(&self) -> Result<Option<String>, Failure> {
        let wrong = |error: arguments::ArgumentsError| {
            Failure::usage(error).hint(
                "write them as device=drive0 force=true, or as '{\"device\": \"drive0\", \"force\": true}'",
            )
        };
        if self.arguments == ["-"] {
            let mut json = String::new();
            std::io::stdin()
                .read_to_string(&mut json)
                .map_err(|error| Failure::failed(format_args!("cannot read the standard input: {error}")))?;
            return arguments::object(&json).map(Some).map_err(wrong);
        }
        arguments::parse(&self.arguments).map_err(wrong)
    }

    async fn execute_straight(
        &self,
        address: &Address,
        arguments: Option<&str>,
        terminal: &Terminal,
    ) -> Result<ExecuteReply, Failure> {
        let (monitor, mut events) = match qmp_client::connect(address).await {
            Ok(connected) => connected,
            Err(error) if error.is_monitor_in_use() => return Err(self.taken(address).await),
            Err(error) => return Err(live::connect_failure(&error)),
        };
        let result = match self.oob {
            true if !monitor.out_of_band() => {
                return Err(Failure::failed(format_args!("{address} does not offer out-of-band execution")));
            }
            true => monitor.commander().execute_raw_out_of_band(&self.command, arguments).await,
            false => monitor.execute_raw(&self.command, arguments).await,
        };
        if terminal.stdout_is_terminal() && !self.json {
            let name = names_of(std::slice::from_ref(address)).remove(0);
            let mut shown = Renderer::human(terminal.stderr_palette(), terminal.zone());
            let mut lines = Vec::new();
            while let Some(EventItem::Event(event)) = events.try_next() {
                shown.record(&record_of(&name, event), &mut lines);
            }
            let _ = std::io::stderr().write_all(&lines);
        }
        match result {
            Ok(value) => Ok(ExecuteReply {
                value: RawValue::from_string(value.into()).ok(),
                ..ExecuteReply::default()
            }),
            Err(ExecuteError::Refused(refusal)) => Ok(ExecuteReply {
                error: Some(ErrorInfo { class: refusal.class.into(), desc: refusal.desc.into() }),
                ..ExecuteReply::default()
            }),
            Err(error @ (ExecuteError::Closed { .. } | ExecuteError::NotAttached)) => {
                Err(Failure::gone(error))
            }
            Err(error) => Err(Failure::failed(error)),
        }
    }

    /// The failure that the monitor accepts connections and does not greet, with the holder if this host shows it.
    async fn taken(&self, address: &Address) -> Failure {
        let vms = async { self.hub.client().ok()?.vms().await.ok() };
        let vms = tokio::time::timeout(WHY_MAX, vms).await.ok().flatten().unwrap_or_default();
        let is_held = |vm: &&VmInfo| {
            vm.is_attached() && vm.address.parse().is_ok_and(|of_vm| is_same_socket(&of_vm, address))
        };
        let advice = vms.iter().find(is_held).map(|vm| {
            let (vm, command) = (&vm.vm, &self.command);
            format!("the hub has this monitor as {vm}: `qmp exec {vm} {command}` goes through the hub")
        });
        let at = address.clone();
        let cause = move || qmp_hub::no_greeting_cause(&at, advice.as_deref());
        let cause = tokio::task::spawn_blocking(cause).await.unwrap_or_default();
        Failure::failed(format_args!("no greeting from {address}: {cause}"))
    }

    async fn execute_through_hub(
        &self,
        name: &str,
        arguments: Option<&str>,
        terminal: &Terminal,
    ) -> Result<ExecuteReply, Failure> {
        let verb = if self.oob { "exec-oob" } else { "execute" };
        let command = serde_json::Value::from(self.command.as_str());
        let request = match arguments {
            Some(arguments) => format!(r#"{{"{verb}":{command},"arguments":{arguments}}}"#),
            None => format!(r#"{{"{verb}":{command}}}"#),
        };
        let client = self.hub.client()?;
        match client.execute(name, request, self.timeout).await {
            Err(error) if error.is_unknown_vm() => {
                Err(left::failure(&client, name, &terminal.zone(), error.into()).await)
            }
            // The hub stopped, or the token was withdrawn.
            Err(error @ HubError::Lost { .. }) => Err(Failure::from(error).hint(MAY_EXECUTE)),
            other => Ok(other?),
        }
    }

    fn print(&self, reply: &ExecuteReply, terminal: &Terminal) -> Result<Exit, Failure> {
        if self.json || !terminal.stdout_is_terminal() {
            output::print(&json_line(reply))?;
        } else if let Some(value) = &reply.value {
            output::print(&format!("{}\n", pretty(value.get())))?;
        }
        match &reply.error {
            None => Ok(Exit::Done),
            Some(refusal) => Err(Failure::failed(format_args!("{}: {}", refusal.class, refusal.desc))),
        }
    }
}

/// Whether two addresses are one socket, also under different paths.
fn is_same_socket(one: &Address, other: &Address) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match (one, other) {
        (Address::Unix { path: one, .. }, Address::Unix { path: other, .. }) => {
            one == other || file(one).is_some_and(|one| file(other) == Some(one))
        }
        (one, other) => one == other,
    }
}

/// The reply as one line: `{"return": …}` or `{"error": …}`, with the offsets if there is a journal.
fn json_line(reply: &ExecuteReply) -> String {
    let mut line = String::from("{");
    match (&reply.value, &reply.error) {
        (_, Some(ErrorInfo { class, desc })) => {
            let error = serde_json::json!({"class": class, "desc": desc});
            line += &format!("\"error\":{error}");
        }
        (value, None) => {
            line += &format!("\"return\":{}", compact(value.as_ref().map_or("{}", |value| value.get())));
        }
    }
    for (name, offset) in [("since", reply.since), ("offset", reply.offset)] {
        if let Some(offset) = offset {
            line += &format!(",\"{name}\":{offset}");
        }
    }
    if reply.overrun {
        line += ",\"overrun\":true";
    }
    if reply.journaled == Some(false) {
        line += ",\"journaled\":false";
    }
    line + "}\n"
}

fn record_of(vm: &str, event: qmp_client::ReceivedEvent) -> Record<'_> {
    let received = event.received_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Record {
        offset: None,
        vm: vm.into(),
        epoch: Epoch(1),
        seq: Seq(0),
        received: UnixMicros(i64::try_from(received.as_micros()).unwrap_or(i64::MAX)),
        body: Body::Event {
            name: event.name.into_string().into(),
            sent_name: None,
            timestamp: event.timestamp,
            data: event.data.map(|data| data.into_string().into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_overrun_and_journaled() {
        let reply = ExecuteReply { overrun: true, journaled: Some(false), ..ExecuteReply::default() };
        assert_eq!(json_line(&reply), "{\"return\":{},\"overrun\":true,\"journaled\":false}\n");
    }

    #[test]
    fn reply_is_one_line_of_json() {
        let value = |json: &str| RawValue::from_string(json.to_owned()).ok();
        let refusal = ErrorInfo { class: "GenericError".into(), desc: "no \"x\"".into() };
        let cases = [
            (value("{\"a\":\r\n 1}"), None, None, "{\"return\":{\"a\":1}}\n"),
            (value("{}"), None, Some(40), "{\"return\":{},\"since\":40,\"offset\":42}\n"),
            (
                None,
                Some(refusal),
                None,
                "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no \\\"x\\\"\"}}\n",
            ),
        ];
        for (value, error, since, expected) in cases {
            let offset = since.map(|since| since + 2);
            assert_eq!(
                json_line(&ExecuteReply { value, error, since, offset, ..ExecuteReply::default() }),
                expected
            );
        }
    }
}

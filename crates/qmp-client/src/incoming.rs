//! A QEMU that dialled in, and reports its name and UUID before a follower takes its connection.

use std::sync::Arc;
use std::time::SystemTime;

use qmp_wire::{Address, ClientOutput, CommandError, RawEvent};
use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::close_reason::CloseReason;
use crate::connect_config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::events::ReceivedEvent;
use crate::limits::{EVENT_OVERHEAD_BYTES, HELD_MAX_BYTES};
use crate::snapshot::GreetingInfo;
use crate::socket::Socket;

/// A UUID that was not set.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// A stream that the caller accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptedStream {
    /// Accepted at a unix socket.
    Unix(UnixStream),
    /// Accepted at a TCP port.
    Tcp(TcpStream),
}

/// A monitor in command mode whose VM is identified. No event is lost: the follower that takes it yields them.
#[derive(Debug)]
pub struct IncomingMonitor {
    /// The VM's name (`-name`), if it has one.
    pub name: Option<String>,
    /// Its UUID, if it has one.
    pub uuid: Option<String>,
    pub(crate) connection: Connection,
    pub(crate) greeting: GreetingInfo,
    pub(crate) events: Vec<ReceivedEvent>,
}

/// Sends monitors that dialled in to the follower of their VM.
#[derive(Clone, Debug)]
pub struct IncomingMonitors {
    sender: mpsc::Sender<Box<IncomingMonitor>>,
}

impl IncomingMonitor {
    /// Reads the greeting, goes to command mode, and queries name and UUID. To limit the time of the whole, drop the
    /// future.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] from `NoGreeting`.
    pub async fn identify(
        stream: AcceptedStream,
        address: &Address,
        config: &ConnectConfig,
    ) -> Result<Box<Self>, ConnectError> {
        let socket = match stream {
            AcceptedStream::Unix(stream) => Socket::Unix(stream),
            AcceptedStream::Tcp(stream) => Socket::tcp(stream).map_err(|error| {
                ConnectError::Unreachable { address: address.clone(), error: Arc::new(error) }
            })?,
        };
        let connection = Connection::new(socket, None, Arc::new(address.clone()), config);
        let greeting = GreetingInfo::default();
        let mut monitor = Box::new(Self { name: None, uuid: None, connection, greeting, events: Vec::new() });
        monitor.negotiate(address).await?;
        monitor
            .query_identity()
            .await
            .map_err(|reason| ConnectError::Ended { address: address.clone(), reason })?;
        Ok(monitor)
    }

    async fn negotiate(&mut self, address: &Address) -> Result<(), ConnectError> {
        let mut held_bytes = 0;
        while !self.connection.is_negotiated() {
            let step = match self.connection.poll_output() {
                Ok(None) => self.connection.drive().await,
                Ok(Some(output)) => {
                    match output {
                        ClientOutput::Greeting(greeting) => self.greeting = GreetingInfo::from(greeting),
                        ClientOutput::Event(event) => hold(&mut self.events, &mut held_bytes, &event),
                        _ => {}
                    }
                    Ok(())
                }
                Err(reason) => Err(reason),
            };
            step.map_err(|reason| self.connection.connect_error(reason))?;
            if held_bytes > HELD_MAX_BYTES {
                return Err(ConnectError::Flooded { address: address.clone(), limit_bytes: HELD_MAX_BYTES });
            }
        }
        Ok(())
    }

    async fn query_identity(&mut self) -> Result<(), CloseReason> {
        let mut held_bytes = self.events.iter().map(cost_bytes).sum();
        let name = self.connection.execute("query-name", None);
        let uuid = self.connection.execute("query-uuid", None);
        let mut missing = 2;
        while missing > 0 && held_bytes <= HELD_MAX_BYTES {
            match self.connection.poll_output()? {
                None => self.connection.drive().await?,
                Some(ClientOutput::Event(event)) => hold(&mut self.events, &mut held_bytes, &event),
                Some(ClientOutput::Reply { id, result }) if id == name => {
                    missing -= 1;
                    self.name =
                        parse_identity(result).and_then(|reply| reply.name).filter(|name| !name.is_empty());
                }
                Some(ClientOutput::Reply { id, result }) if id == uuid => {
                    missing -= 1;
                    self.uuid =
                        parse_identity(result).and_then(|reply| reply.uuid).filter(|uuid| uuid != NO_UUID);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The reply to `query-name` or `query-uuid`.
#[derive(Deserialize)]
struct VmIdentity {
    name: Option<String>,
    #[serde(rename = "UUID")]
    uuid: Option<String>,
}

fn parse_identity(result: Result<&str, CommandError>) -> Option<VmIdentity> {
    serde_json::from_str(result.ok()?).ok()
}

fn hold(events: &mut Vec<ReceivedEvent>, held_bytes: &mut usize, event: &RawEvent<'_>) {
    let event = ReceivedEvent::from_raw(event, SystemTime::now());
    *held_bytes += cost_bytes(&event);
    events.push(event);
}

fn cost_bytes(event: &ReceivedEvent) -> usize {
    event.size_bytes() + EVENT_OVERHEAD_BYTES
}

impl IncomingMonitors {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Box<IncomingMonitor>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { sender }, receiver)
    }

    /// Sends a monitor to the follower, which takes it when the connection before it has ended.
    ///
    /// # Errors
    ///
    /// Returns the monitor if another one waits already, or if the follower was dropped.
    pub fn send(&self, monitor: Box<IncomingMonitor>) -> Result<(), Box<IncomingMonitor>> {
        self.sender.try_send(monitor).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(monitor) | mpsc::error::TrySendError::Closed(monitor) => monitor,
        })
    }
}

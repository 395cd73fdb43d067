//! A QEMU that dialled in somewhere, and is asked who it is before anybody follows it.

use qmp_wire::{CommandError, Output, RawEvent};
use serde::Deserialize;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::follow::{EVENT_OVERHEAD_BYTES, HELD_MAX_BYTES};
use crate::snapshot::Greeted;
use crate::socket::Socket;
use crate::{Address, ConnectConfig, ConnectError, Connection, Event, Gone};

/// A UUID that was not set.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// A stream that somebody else accepted.
#[derive(Debug)]
pub enum Stream {
    /// Of a unix socket.
    Unix(UnixStream),
    /// Of a TCP port.
    Tcp(TcpStream),
}

/// A monitor in command mode that said who it is. Nothing of what it said is lost: its events are handed out once it is
/// followed.
#[derive(Debug)]
pub struct Caller {
    /// The VM's name (`-name`), if it has one.
    pub name: Option<String>,
    /// Its UUID, if it has one.
    pub uuid: Option<String>,
    pub(crate) connection: Connection,
    pub(crate) greeted: Greeted,
    pub(crate) events: Vec<Event>,
}

/// Hands callers over to who follows their VM.
#[derive(Clone, Debug)]
pub struct Callers {
    sender: mpsc::Sender<Box<Caller>>,
}

impl Caller {
    /// Greets, goes to command mode, and asks who it is.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] from `NoGreeting`. Whoever limits the time of the whole drops this.
    pub async fn meet(
        stream: Stream,
        address: &Address,
        config: &ConnectConfig,
    ) -> Result<Box<Self>, ConnectError> {
        let socket = match stream {
            Stream::Unix(stream) => Socket::Unix(stream),
            Stream::Tcp(stream) => Socket::tcp(stream).map_err(|error| ConnectError::Unreachable {
                address: address.clone(),
                error: Arc::new(error),
            })?,
        };
        let connection = Connection::new(socket, None, Arc::new(address.clone()), config);
        let greeted = Greeted::default();
        let mut caller = Box::new(Self { name: None, uuid: None, connection, greeted, events: Vec::new() });
        caller.negotiate(address).await?;
        caller.ask().await.map_err(|gone| ConnectError::Ended { address: address.clone(), gone })?;
        Ok(caller)
    }

    async fn negotiate(&mut self, address: &Address) -> Result<(), ConnectError> {
        let mut held_bytes = 0;
        while !self.connection.is_negotiated() {
            let step = match self.connection.poll_output() {
                Ok(None) => self.connection.drive().await,
                Ok(Some(output)) => {
                    match output {
                        Output::Greeting(greeting) => self.greeted = Greeted::from(greeting),
                        Output::Event(event) => keep(&mut self.events, &mut held_bytes, &event),
                        _ => {}
                    }
                    Ok(())
                }
                Err(gone) => Err(gone),
            };
            step.map_err(|gone| self.connection.connect_error(gone))?;
            if held_bytes > HELD_MAX_BYTES {
                return Err(ConnectError::Flooded { address: address.clone(), limit_bytes: HELD_MAX_BYTES });
            }
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), Gone> {
        let mut held_bytes = self.events.iter().map(cost_bytes).sum();
        let name = self.connection.execute("query-name", None);
        let uuid = self.connection.execute("query-uuid", None);
        let mut waiting = 2;
        while waiting > 0 && held_bytes <= HELD_MAX_BYTES {
            match self.connection.poll_output()? {
                None => self.connection.drive().await?,
                Some(Output::Event(event)) => keep(&mut self.events, &mut held_bytes, &event),
                Some(Output::Reply { id, result }) if id == name => {
                    waiting -= 1;
                    self.name = read(result).and_then(|told| told.name).filter(|name| !name.is_empty());
                }
                Some(Output::Reply { id, result }) if id == uuid => {
                    waiting -= 1;
                    self.uuid = read(result).and_then(|told| told.uuid).filter(|uuid| uuid != NO_UUID);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What a VM says of itself.
#[derive(Deserialize)]
struct Told {
    name: Option<String>,
    #[serde(rename = "UUID")]
    uuid: Option<String>,
}

fn read(result: Result<&str, CommandError>) -> Option<Told> {
    serde_json::from_str(result.ok()?).ok()
}

fn keep(events: &mut Vec<Event>, held_bytes: &mut usize, event: &RawEvent<'_>) {
    let event = Event::from_raw(event, SystemTime::now());
    *held_bytes += cost_bytes(&event);
    events.push(event);
}

fn cost_bytes(event: &Event) -> usize {
    event.size_bytes() + EVENT_OVERHEAD_BYTES
}

impl Callers {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Box<Caller>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { sender }, receiver)
    }

    /// Hands a caller over; gives it back if another one waits, or nobody follows any more.
    ///
    /// It is not read before the connection of the one before it has ended.
    ///
    /// # Errors
    ///
    /// The caller.
    pub fn hand_over(&self, caller: Box<Caller>) -> Result<(), Box<Caller>> {
        self.sender.try_send(caller).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(caller) | mpsc::error::TrySendError::Closed(caller) => caller,
        })
    }
}

//! One client: its socket, its side of the protocol, and the output that waits to be written.

use std::{io::IoSliceMut, mem::MaybeUninit, os::fd::OwnedFd, sync::Arc};

use qmp_host::poller::{Interest, PollRegistration};
use qmp_wire::server::{Profile, Server};
use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg},
};

use crate::{
    caller::{Caller, DESCRIPTORS_MAX, is_unix},
    outgoing::Outgoing,
    slow_reader::SlowReader,
    socket,
};

/// Settings of the service for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) profile: Arc<Profile>,
    pub(crate) slow_reader: SlowReader,
}

/// Identifies a connection, also after it was closed and its slot reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    pub(crate) slot: u32,
    pub(crate) number: u32,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: ConnectionKey,
    pub(crate) server: Server,
    pub(crate) outgoing: Outgoing,
    /// Whether the client has ended its input.
    pub(crate) input_ended: bool,
    /// Whether it is counted among those in command mode.
    pub(crate) listens: bool,
    pub(crate) service: Service,
    pub(crate) caller: Caller,
    socket: PollRegistration,
    /// Whether descriptors can arrive with the bytes.
    is_unix: bool,
}

/// The client has disconnected.
#[derive(Debug)]
pub(crate) struct ClientDisconnect;

impl Connection {
    /// Starts with the output of `server`. The socket is watched for reading.
    pub(crate) fn new(
        socket: PollRegistration,
        key: ConnectionKey,
        service: Service,
        caller: Caller,
        server: Server,
    ) -> Self {
        socket::prepare(&socket);
        let mut connection = Self {
            key,
            server,
            outgoing: Outgoing::default(),
            input_ended: false,
            listens: false,
            service,
            caller,
            is_unix: is_unix(&socket),
            socket,
        };
        connection.collect();
        connection
    }

    /// Reads once. Returns `None` if no bytes have arrived.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ClientDisconnect> {
        match self.receive(buffer) {
            Ok(0) => {
                self.input_ended = true;
                Ok(None)
            }
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(_) => Err(ClientDisconnect),
        }
    }

    /// Moves the output of the protocol to the bytes that wait to be written.
    pub(crate) fn collect(&mut self) {
        let output = self.server.output();
        let length = output.len();
        self.outgoing.push_reply(output);
        self.server.consume_output(length);
    }

    /// Writes events straight from the caller's buffer, as far as the socket accepts them.
    pub(crate) fn write_events(
        &mut self,
        lines: &[u8],
        ends: &[usize],
        start: usize,
    ) -> Result<(), ClientDisconnect> {
        let mut written = 0;
        if self.outgoing.is_empty() {
            written = self.send(lines)?;
        }
        if written < lines.len() {
            let first = ends.partition_point(|end| end - start <= written);
            let mut line_start = if first == 0 { 0 } else { ends[first - 1] - start };
            for end in &ends[first..] {
                let line = &lines[line_start..end - start];
                self.outgoing.push_event(line, written.saturating_sub(line_start));
                line_start = end - start;
            }
        }
        Ok(())
    }

    /// Writes the waiting bytes, as far as the socket accepts them.
    pub(crate) fn flush(&mut self) -> Result<(), ClientDisconnect> {
        while !self.outgoing.is_empty() {
            let written = self.send(self.outgoing.bytes())?;
            if written == 0 {
                break;
            }
            self.outgoing.consume(written);
        }
        Ok(())
    }

    /// Watches the socket for the currently relevant conditions.
    pub(crate) fn watch(&mut self, reads: bool) -> Result<(), ClientDisconnect> {
        let interest = Interest { read: reads && !self.input_ended, write: !self.outgoing.is_empty() };
        self.socket.set_interest(interest).map_err(|_| ClientDisconnect)
    }

    /// Returns the socket, which this side leaves open.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket.into_socket()
    }

    /// Returns whether the loop waits for bytes of the client.
    pub(crate) fn is_read(&self) -> bool {
        self.socket.interest().read
    }

    /// Returns whether the client has ended its input and has all replies.
    pub(crate) fn is_done(&self) -> bool {
        self.input_ended && self.outgoing.is_empty() && !self.server.is_busy() && self.server.wants_input()
    }

    /// Receives bytes, and the descriptors that arrive with them.
    fn receive(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if !self.is_unix {
            return recv(&self.socket, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, socket::RECEIVE)?;
        let received = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        // A descriptor that could be inherited is closed instead.
        let safe = received.flatten().filter(|descriptor| socket::close_on_exec(descriptor).is_ok());
        let received: std::collections::VecDeque<_> = safe.collect();
        if !received.is_empty() {
            self.caller.keep_descriptors(received);
        }
        Ok(message.bytes)
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, ClientDisconnect> {
        match socket::send(&self.socket, bytes) {
            Ok(written) => Ok(written),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(0),
            // A client that stopped reading may still send: the end of its input ends the connection.
            Err(_) => Err(ClientDisconnect),
        }
    }
}

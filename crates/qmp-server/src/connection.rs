//! One client: its socket, its side of the protocol, what waits to be written.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use qmp_wire::server::{Profile, Server};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recv, recvmsg, send},
};

use crate::{
    caller::{Caller, DESCRIPTORS_MAX, is_unix},
    outgoing::Outgoing,
    slow_reader::SlowReader,
};

/// How a connection is served.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) profile: Arc<Profile>,
    pub(crate) slow_reader: SlowReader,
}

/// Names a connection, also after it is gone and another one has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    pub(crate) place: u32,
    pub(crate) number: u32,
}

impl ConnectionKey {
    #[expect(clippy::cast_possible_truncation, reason = "each half has its place")]
    pub(crate) fn from_token(token: u64) -> Self {
        Self { place: token as u32, number: (token >> 32) as u32 }
    }

    pub(crate) fn token(self) -> EventData {
        EventData::new_u64(u64::from(self.number) << 32 | u64::from(self.place))
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: ConnectionKey,
    pub(crate) server: Server,
    pub(crate) outgoing: Outgoing,
    /// The client sends no more.
    pub(crate) input_ended: bool,
    /// Whether it is counted among those in command mode.
    pub(crate) listens: bool,
    pub(crate) service: Service,
    pub(crate) caller: Caller,
    socket: OwnedFd,
    /// Whether descriptors can come with the bytes.
    is_unix: bool,
    watched: EventFlags,
}

/// The client is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Connection {
    /// Starts with what `server` has to say, and is watched from here on.
    pub(crate) fn new(
        socket: OwnedFd,
        key: ConnectionKey,
        service: Service,
        caller: Caller,
        server: Server,
        epoll: &OwnedFd,
    ) -> rustix::io::Result<Self> {
        // A message is worth a packet. A socket that is no TCP refuses, and has no need of it.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let watched = EventFlags::IN;
        epoll::add(epoll, &socket, key.token(), watched)?;
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
            watched,
        };
        connection.collect();
        Ok(connection)
    }

    /// Reads once. `None` if nothing is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Gone> {
        match self.receive(buffer) {
            Ok(0) => {
                self.input_ended = true;
                Ok(None)
            }
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(_) => Err(Gone),
        }
    }

    /// Moves what the protocol has to say to what waits to be written.
    pub(crate) fn collect(&mut self) {
        let output = self.server.output();
        let length = output.len();
        self.outgoing.push_reply(output);
        self.server.consume_output(length);
    }

    /// Writes events: straight from the caller's buffer as far as the socket takes them.
    pub(crate) fn write_events(&mut self, lines: &[u8], ends: &[usize], start: usize) -> Result<(), Gone> {
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

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        while !self.outgoing.is_empty() {
            let written = self.send(self.outgoing.bytes())?;
            if written == 0 {
                break;
            }
            self.outgoing.consume(written);
        }
        Ok(())
    }

    /// Watches the socket for what matters at this moment.
    pub(crate) fn watch(&mut self, epoll: &OwnedFd, reads: bool) -> Result<(), Gone> {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, reads && !self.input_ended);
        wanted.set(EventFlags::OUT, !self.outgoing.is_empty());
        if wanted != self.watched {
            epoll::modify(epoll, &self.socket, self.key.token(), wanted).map_err(|_| Gone)?;
            self.watched = wanted;
        }
        Ok(())
    }

    /// The socket, which this side leaves open.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Whether bytes of the client are waited for.
    pub(crate) fn is_read(&self) -> bool {
        self.watched.contains(EventFlags::IN)
    }

    /// Whether the client said its last, and everything is answered.
    pub(crate) fn is_done(&self) -> bool {
        self.input_ended && self.outgoing.is_empty() && !self.server.is_busy() && self.server.wants_input()
    }

    /// Receives bytes, and the descriptors that come with them.
    fn receive(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if !self.is_unix {
            return recv(&self.socket, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        let received = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let received: std::collections::VecDeque<_> = received.flatten().collect();
        if !received.is_empty() {
            self.caller.keep_descriptors(received);
        }
        Ok(message.bytes)
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, Gone> {
        match send(self.socket.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(written) => Ok(written),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(0),
            // Whoever reads no more can still be heard: the end of the input ends the connection.
            Err(_) => Err(Gone),
        }
    }
}

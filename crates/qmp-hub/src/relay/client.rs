//! The task of one client of a relay: reads from its socket, sends to it, and waits.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::session::ClientSession;
use super::socket;

/// How long a client may take to read its last output.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientExit {
    /// The client left, or sent its last command and got the reply.
    Left,
    /// The VM detached, or the relay ended.
    Ended,
    /// The client did not read.
    Slow,
}

/// One client.
pub(super) struct Client {
    stream: UnixStream,
    session: ClientSession,
}

impl Client {
    pub(super) const fn new(stream: UnixStream, session: ClientSession) -> Self {
        Self { stream, session }
    }

    /// Serves until the client leaves or the VM detaches.
    pub(super) async fn run(mut self) -> ClientExit {
        loop {
            self.session.take_items();
            let outbox = &self.session.outbox;
            if outbox.is_overflowed() || outbox.recipient.is_evicted() {
                return ClientExit::Slow;
            }
            if self.step_replay().await.is_err() || self.run_requests().is_err() {
                return ClientExit::Left;
            }
            if self.session.is_ending() {
                return self.last_words().await;
            }
            if self.session.is_done() {
                return ClientExit::Left;
            }
            if self.session.has_more() {
                continue;
            }
            if self.wait().await.is_err() {
                return ClientExit::Left;
            }
        }
    }

    /// Runs the requests of a client that reads its output.
    fn run_requests(&mut self) -> io::Result<()> {
        loop {
            // Replies first: the end of a client is noticed before its next command is run.
            self.session.push_server_output();
            self.send()?;
            if !self.session.run_next_request() {
                return Ok(());
            }
        }
    }

    async fn step_replay(&mut self) -> io::Result<()> {
        let has_room = self.session.has_room();
        let Some(replay) = self.session.replay.as_mut().filter(|_| has_room) else { return Ok(()) };
        let next = replay.next().await;
        match next {
            Ok(lines) if lines.is_empty() => self.session.end_replay(),
            Ok(lines) => self.session.push(lines),
            Err(error) => {
                tracing::error!(vm = %self.session.relay.line.vm, "cannot repeat events: {error}");
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    /// Waits for anything to do.
    async fn wait(&mut self) -> io::Result<()> {
        let reads = self.session.wants_input();
        let interest = match (reads, self.session.output().is_empty()) {
            (true, true) => Some(Interest::READABLE),
            (true, false) => Some(Interest::READABLE | Interest::WRITABLE),
            (false, false) => Some(Interest::WRITABLE),
            (false, true) => None,
        };
        let socket_ready = async {
            match interest {
                Some(interest) => self.stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        let outbox = &self.session.outbox;
        let ready = tokio::select! {
            () = outbox.more() => return Ok(()),
            () = outbox.recipient.evicted() => return Ok(()),
            ready = socket_ready => ready?,
        };
        if ready.is_readable() && reads { self.receive() } else { Ok(()) }
    }

    fn receive(&mut self) -> io::Result<()> {
        let received = match socket::receive(&self.stream) {
            Err(error) if is_passing(&error) => return Ok(()),
            received => received?,
        };
        // A client that closed only its sending side still gets its replies. When both sides are closed, its commands that
        // were not sent are cancelled.
        if received.bytes.is_empty() && socket::is_closed(&self.stream) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.session.receive(received);
        Ok(())
    }

    /// Sends as much output as the socket accepts.
    fn send(&mut self) -> io::Result<()> {
        while !self.session.output().is_empty() {
            match socket::send(&self.stream, self.session.output().iter()) {
                Ok(sent) => self.session.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets the client read its last output.
    async fn last_words(mut self) -> ClientExit {
        let all_sent = async {
            while self.send().is_ok() && !self.session.output().is_empty() {
                if self.stream.writable().await.is_err() {
                    break;
                }
            }
        };
        match tokio::time::timeout(LAST_WORDS_MAX, all_sent).await {
            Ok(()) => ClientExit::Ended,
            Err(_) => ClientExit::Slow,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

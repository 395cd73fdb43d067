//! Serves a recording on its own thread.
//!
//! One client at a time, as a QEMU does; others wait in the backlog. A client that disconnects before the end of
//! its session pauses the tape: the next client gets the rest.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use qmp_events::Release;
use qmp_server::Listener;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, SocketFlags, accept_with, recv, send, shutdown},
};

use super::{
    client::Client,
    recording::Recording,
    session::Session,
    tape::{OUTPUT_MAX_BYTES, Tape},
};

/// Time without requests after which the connection is closed after the last event: a client may still be querying
/// the state of the machine, and takes a missing reply for a loss.
pub const QUIET_BEFORE_END: Duration = Duration::from_secs(1);

/// The claimed release if the recording contains none.
const UNKNOWN_RELEASE: Release = Release::stable(11, 1, 3);

/// Settings of a replay.
#[derive(Clone, Debug)]
pub struct Replay {
    recording: Recording,
    speed: f64,
    release: Release,
    stays: bool,
}

impl Replay {
    /// Replays a recording at its recorded speed.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        Self { recording, speed: 1.0, release: UNKNOWN_RELEASE, stays: false }
    }

    /// Sets the speed factor; 0 for as fast as the client reads.
    #[must_use]
    pub fn speed(mut self, factor: f64) -> Self {
        self.speed = factor;
        self
    }

    /// Sets the claimed release for sessions without a recorded greeting.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Continues to reply to commands after the last event, until the replay is stopped.
    #[must_use]
    pub fn stay(mut self, stays: bool) -> Self {
        self.stays = stays;
        self
    }

    /// Serves the recording at `listener`. The tape starts when the first client has negotiated.
    ///
    /// # Errors
    ///
    /// A system error if no descriptor or thread is available.
    pub fn start(self, listener: impl Into<Listener>) -> io::Result<ReplayHandle> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let server = ReplayServer { replay: self, listener: listener.into(), stop: Arc::clone(&stop) };
        let thread = thread::Builder::new().name("replay".into()).spawn(move || server.run())?;
        Ok(ReplayHandle { stop, thread: Some(thread) })
    }
}

/// A running replay. Dropping it stops it.
#[derive(Debug)]
pub struct ReplayHandle {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl ReplayHandle {
    /// Waits until everything was replayed.
    ///
    /// # Errors
    ///
    /// The system error that ended the replay early.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// Returns a function that stops the replay from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let stop = Arc::clone(&self.stop);
        // The counter is far from full.
        move || {
            let _ = rustix::io::write(&*stop, &1_u64.to_ne_bytes());
        }
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread of the replay panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for ReplayHandle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stopper()();
            // The result is reported by `wait`.
            let _ = self.join();
        }
    }
}

struct ReplayServer {
    replay: Replay,
    listener: Listener,
    stop: Arc<OwnedFd>,
}

/// Why the service of a client ended.
enum EndReason {
    Left,
    Over,
    Stopped,
}

impl ReplayServer {
    fn run(self) -> io::Result<()> {
        let sessions = &self.replay.recording.sessions;
        for (number, session) in (1..).zip(sessions) {
            let stays = self.replay.stays && number == sessions.len();
            let mut tape = Tape::default();
            loop {
                let Some(socket) = self.accept()? else { return Ok(()) };
                match self.serve(&socket, session, &mut tape, stays)? {
                    EndReason::Left if !tape.is_at_end(session) || stays => tape.pause(session),
                    EndReason::Left | EndReason::Over => break,
                    EndReason::Stopped => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Accepts the next client; returns `None` when the replay is stopped.
    fn accept(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            let mut watched =
                [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&*self.stop, PollFlags::IN)];
            wait(&mut watched, None)?;
            if !watched[1].revents().is_empty() {
                return Ok(None);
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => return Ok(Some(socket)),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn serve(
        &self,
        socket: &OwnedFd,
        session: &Session,
        tape: &mut Tape,
        stays: bool,
    ) -> io::Result<EndReason> {
        let mut client = Client::new(session, self.replay.release);
        let mut quiet_since = Instant::now();
        let mut bytes = vec![0; 64 << 10];
        loop {
            if client.in_command_mode() {
                tape.play(session, self.replay.speed, &mut client.output);
            }
            if flush(socket, &mut client.output).is_err() {
                return Ok(EndReason::Left);
            }
            if std::mem::take(&mut client.has_request)
                || !client.output.is_empty()
                || !tape.is_over(session, self.replay.speed)
            {
                quiet_since = Instant::now();
            }
            let is_over = client.in_command_mode() && tape.is_over(session, self.replay.speed) && !stays;
            let quiet_for = quiet_since.elapsed();
            let timeout = match is_over {
                true if quiet_for >= QUIET_BEFORE_END => {
                    close(socket, &self.stop);
                    return Ok(EndReason::Over);
                }
                true => Some(QUIET_BEFORE_END.saturating_sub(quiet_for)),
                // Output that waits for the socket wakes the loop by itself.
                false if client.output.len() < OUTPUT_MAX_BYTES => tape.timeout(session, self.replay.speed),
                false => None,
            };
            let mut interest = PollFlags::IN;
            interest.set(PollFlags::OUT, !client.output.is_empty());
            let mut watched = [PollFd::new(socket, interest), PollFd::new(&*self.stop, PollFlags::IN)];
            wait(&mut watched, timeout)?;
            if !watched[1].revents().is_empty() {
                return Ok(EndReason::Stopped);
            }
            match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(EndReason::Left),
                Ok((count, _)) => client.handle_input(&bytes[..count], session),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return Ok(EndReason::Left),
            }
        }
    }
}

/// Closes a connection so that the client can read all sent bytes: reads and discards its further input.
fn close(socket: &OwnedFd, stop: &OwnedFd) {
    let begin = Instant::now();
    let _ = shutdown(socket, Shutdown::Write);
    let mut bytes = [0; 4096];
    while let Some(remaining) = QUIET_BEFORE_END.checked_sub(begin.elapsed()) {
        let mut watched = [PollFd::new(socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        if wait(&mut watched, Some(remaining)).is_err() || !watched[1].revents().is_empty() {
            return;
        }
        match recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Writes as much as the socket accepts.
fn flush(socket: &OwnedFd, output: &mut Vec<u8>) -> Result<(), Errno> {
    let mut sent = 0;
    while sent < output.len() {
        match send(socket, &output[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    output.drain(..sent);
    Ok(())
}

fn wait(watched: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(watched, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

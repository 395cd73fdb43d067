//! A fault stage with sockets: accepts clients and connects each to the machine.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use qmp_host::lock;
use qmp_server::Listener;
use rustix::{
    event::{PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
    net::{Shutdown, SocketFlags, accept_with, shutdown},
};

use super::{
    requests::Requests,
    rule::Faults,
    stage::{Stage, StageOutput},
};

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Connects to the machine.
type Dial = Box<dyn Fn() -> io::Result<OwnedFd> + Send>;

/// Proxy between a machine and its clients that applies faults. Dropping it closes all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    stop: Arc<OwnedFd>,
    open: OpenSockets,
    /// Disconnects when the last connection ends.
    over: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The sockets of the open connections, to close them from another thread.
type OpenSockets = Arc<Mutex<Vec<Arc<OwnedFd>>>>;

impl FaultProxy {
    /// Serves clients that connect to `listener`; `dial` connects to the machine, once for each client.
    ///
    /// # Errors
    ///
    /// A system error if no descriptor or thread is available.
    pub fn start<S: Into<OwnedFd>>(
        listener: impl Into<Listener>,
        faults: Faults,
        dial: impl Fn() -> io::Result<S> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?);
        let open = OpenSockets::default();
        let (connected, over) = mpsc::channel();
        let acceptor = Acceptor {
            listener: listener.into(),
            faults,
            dial: Box::new(move || dial().map(Into::into)),
            stop: Arc::clone(&stop),
            open: Arc::clone(&open),
            connected,
            begin: Instant::now(),
        };
        let thread = thread::Builder::new().name("faults".into()).spawn(move || acceptor.run())?;
        Ok(Self { stop, open, over: Mutex::new(over), thread: Some(thread) })
    }

    /// Accepts no more clients and waits up to `at_most` until the connected clients have received the bytes under
    /// way. For use after the machine has closed its side.
    pub fn finish(mut self, at_most: Duration) {
        self.refuse();
        let over = lock(&self.over);
        // No value is ever sent: the receiver returns when the last connection ends or at the time limit.
        let _ = over.recv_timeout(at_most);
    }

    fn refuse(&mut self) {
        // The counter is far from full.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.refuse();
        for socket in lock(&self.open).drain(..) {
            let _ = shutdown(&*socket, Shutdown::Both);
        }
    }
}

struct Acceptor {
    listener: Listener,
    faults: Faults,
    dial: Dial,
    stop: Arc<OwnedFd>,
    open: OpenSockets,
    connected: Sender<()>,
    begin: Instant,
}

impl Acceptor {
    fn run(self) {
        for number in 1.. {
            let Some(client) = self.accept() else { return };
            let Ok(machine) = (self.dial)() else {
                // The machine has exited: the client sees the end of the stream.
                continue;
            };
            let (client, machine) = (Arc::new(client), Arc::new(machine));
            {
                let mut open = lock(&self.open);
                // Only this list holds the sockets of ended connections.
                open.retain(|socket| Arc::strong_count(socket) > 1);
                open.extend([Arc::clone(&client), Arc::clone(&machine)]);
            }
            let stage = Stage::new(&self.faults, number);
            let begin = self.begin;
            let (from, to) = (Arc::clone(&client), Arc::clone(&machine));
            let requests = stage.requests();
            // If no thread can be made, the connection does not respond: another fault, but no crash.
            let _ = thread::Builder::new()
                .name("faults-in".into())
                .spawn(move || forward_requests(&from, &to, &requests));
            let connected = self.connected.clone();
            let forwarder = Forwarder { client, machine, stage, begin, _connected: connected };
            let _ = thread::Builder::new().name("faults-out".into()).spawn(move || forwarder.run());
        }
    }

    /// Accepts the next client; returns `None` when the proxy ends.
    fn accept(&self) -> Option<OwnedFd> {
        loop {
            let mut watched =
                [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&*self.stop, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
            if !watched[1].revents().is_empty() {
                return None;
            }
            match accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(client) => return Some(client),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Forwards the bytes from the client to the machine.
fn forward_requests(client: &OwnedFd, machine: &OwnedFd, requests: &Requests) {
    let mut bytes = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = read(client, &mut bytes) {
        // Record the requests before the machine can reply.
        requests.handle_input(&bytes[..count]);
        if write_all(machine, &bytes[..count]).is_err() {
            break;
        }
    }
    // The replies that are still under way take the other direction.
    let _ = shutdown(machine, Shutdown::Write);
}

/// Forwards the bytes from the machine to the client, through the fault stage.
struct Forwarder {
    client: Arc<OwnedFd>,
    machine: Arc<OwnedFd>,
    stage: Stage,
    begin: Instant,
    _connected: Sender<()>,
}

impl Forwarder {
    fn run(mut self) {
        // Both sides see the end with any result.
        let _ = self.pass();
        let _ = shutdown(&*self.client, Shutdown::Both);
        let _ = shutdown(&*self.machine, Shutdown::Both);
    }

    fn pass(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let mut is_open = true;
        loop {
            while let Some(output) = self.stage.poll_output(self.begin.elapsed()) {
                match output {
                    StageOutput::Bytes(bytes) => write_all(&self.client, &bytes)?,
                    StageOutput::Close => return Ok(()),
                }
            }
            let timeout = self.stage.poll_timeout().map(|at| at.saturating_sub(self.begin.elapsed()));
            if !is_open {
                thread::sleep(timeout.unwrap_or_default());
                continue;
            }
            if !is_readable(&self.machine, timeout)? {
                continue;
            }
            match read(&self.machine, &mut bytes) {
                Ok(count) if count > 0 => self.stage.handle_input(&bytes[..count], self.begin.elapsed()),
                _ => {
                    is_open = false;
                    self.stage.handle_end(self.begin.elapsed());
                }
            }
        }
    }
}

fn is_readable(socket: &OwnedFd, timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(socket.as_fd(), &mut *bytes) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_all(socket: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(socket.as_fd(), bytes, rustix::net::SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

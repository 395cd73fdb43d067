//! A client's connection to a machine in memory.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use super::driver::Driver;
use crate::fault::{Faults, Stage, StageOutput};

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// A client's connection to a [`MemoryMachine`](crate::MemoryMachine).
///
/// A request is processed, and replied to, before the write of its last byte returns.
pub struct MemoryStream {
    driver: Arc<Driver>,
    /// The client's end of a pair of sockets, which bounds the bytes under way as any connection does.
    socket: UnixStream,
    stage: Stage,
    /// Elapses when the stage has output.
    delay: Option<Pin<Box<Sleep>>>,
    /// Output of the stage for the client.
    received: VecDeque<u8>,
    /// Whether the machine closed the connection.
    ended: bool,
    /// Whether the client sees the end once `received` is empty.
    closed: bool,
}

impl MemoryStream {
    pub(super) fn connect(driver: Arc<Driver>, faults: &Faults) -> io::Result<Self> {
        let socket = driver.monitored.connect()?;
        socket.set_nonblocking(true)?;
        let stage = Stage::new(faults, driver.next_connection());
        // The greeting.
        driver.update();
        Ok(Self {
            driver,
            socket,
            stage,
            delay: None,
            received: VecDeque::new(),
            ended: false,
            closed: false,
        })
    }

    /// Passes the next bytes of the machine, or the end, to the stage.
    fn poll_machine(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; READ_BYTES];
        let count = ready!(self.attempt(context, |mut socket| socket.read(&mut bytes)))?;
        let now = self.driver.elapsed();
        if count == 0 {
            self.ended = true;
            self.stage.handle_end(now);
        } else {
            self.stage.handle_input(&bytes[..count], now);
            // The monitor may send more.
            self.driver.update();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the stage has output.
    fn poll_delay(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.stage.poll_timeout() else { return Poll::Pending };
        let at = self.driver.moment(at);
        let delay = self.delay.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if delay.deadline() != at {
            delay.as_mut().reset(at);
        }
        delay.as_mut().poll(context)
    }

    /// Reads or writes; registers the task if it has to wait.
    fn attempt(
        &self,
        context: &Context<'_>,
        mut attempt: impl FnMut(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut is_registered = false;
        loop {
            match attempt(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if is_registered {
                        return Poll::Pending;
                    }
                    // Another thread may have run the machine before the task was registered.
                    self.driver.register(context.waker());
                    is_registered = true;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        loop {
            if !stream.received.is_empty() {
                let count = stream.received.read(buffer.initialize_unfilled())?;
                buffer.advance(count);
                return Poll::Ready(Ok(()));
            }
            if stream.closed {
                return Poll::Ready(Ok(()));
            }
            match stream.stage.poll_output(stream.driver.elapsed()) {
                Some(StageOutput::Bytes(bytes)) => stream.received.extend(bytes),
                Some(StageOutput::Close) => {
                    stream.closed = true;
                    // It fails if the machine has closed its end.
                    let _ = stream.socket.shutdown(Shutdown::Both);
                    stream.driver.update();
                }
                None => {
                    if !stream.ended
                        && let Poll::Ready(passed) = stream.poll_machine(context)
                    {
                        passed?;
                        continue;
                    }
                    ready!(stream.poll_delay(context));
                }
            }
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(self.attempt(context, |mut socket| socket.write(bytes)))?;
        self.stage.requests().handle_input(&bytes[..count]);
        self.driver.update();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.socket.shutdown(Shutdown::Write);
        self.driver.update();
        Poll::Ready(result)
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        // It fails if the machine has closed its end.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.driver.update();
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

//! A connected stream: a unix or TCP socket, or any other stream of bytes.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Most descriptors that one command can have: as many as QEMU receives at once.
///
/// Source: QEMU `chardev/char-socket.c`, `TCP_MAX_FDS`.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// How long a TCP connection is idle before the kernel probes the other host: as long as the hub lets a monitor be quiet
/// before it probes the VM.
pub(crate) const TCP_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);

/// How long the kernel waits before the next probe.
pub(crate) const TCP_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How many probes without a reply break the connection: 90 s after the last message, so that the connection survives
/// the restart of a switch.
pub(crate) const TCP_KEEP_ALIVE_COUNT: u32 = 6;

/// A connected stream.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Other(Box<OtherStream>),
}

/// A stream that the operating system did not make: see [`connect_stream`](crate::connect_stream) and
/// [`Dial`](crate::Dial).
pub(crate) struct OtherStream {
    stream: Pin<Box<dyn ByteStream>>,
    /// Bytes were written and not flushed yet.
    unflushed: bool,
}

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}

impl Socket {
    /// A TCP connection that sends commands without delay, and ends when the other host vanishes.
    ///
    /// # Errors
    ///
    /// Those of setting the options.
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        // A command is small and its sender waits for the reply.
        stream.set_nodelay(true)?;
        set_socket_keepalive(&stream, true)?;
        set_tcp_keepidle(&stream, TCP_KEEP_ALIVE_IDLE)?;
        set_tcp_keepintvl(&stream, TCP_KEEP_ALIVE_INTERVAL)?;
        set_tcp_keepcnt(&stream, TCP_KEEP_ALIVE_COUNT)?;
        Ok(Self::Tcp(stream))
    }

    /// Any other stream.
    pub(crate) fn other(stream: Pin<Box<dyn ByteStream>>) -> Self {
        Self::Other(Box::new(OtherStream { stream, unflushed: false }))
    }

    /// Reads once.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Other(other) => other.stream.as_mut().poll_read(cx, buffer),
        }
    }

    /// Sends as much of `bytes` as the socket accepts, and `descriptors` with the first byte.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptors: &[OwnedFd],
    ) -> Poll<io::Result<usize>> {
        loop {
            let attempt = match self {
                Self::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || send_with(stream.as_fd(), bytes, descriptors))
                }
                Self::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_io(Interest::WRITABLE, || Ok(send(&*stream, bytes, SendFlags::NOSIGNAL)?))
                }
                Self::Other(other) => {
                    let sent = ready!(other.stream.as_mut().poll_write(cx, bytes));
                    other.unflushed = true;
                    return Poll::Ready(sent);
                }
            };
            match attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Flushes what was written. Sockets have no buffer to flush.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Other(other) = self
            && other.unflushed
        {
            ready!(other.stream.as_mut().poll_flush(cx))?;
            other.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the socket can pass descriptors.
    pub(crate) fn passes_descriptors(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Debug for OtherStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OtherStream").finish_non_exhaustive()
    }
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    if descriptors.is_empty() {
        return Ok(send(socket, bytes, SendFlags::NOSIGNAL)?);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let fits = control.push(SendAncillaryMessage::ScmRights(&borrowed));
    assert!(fits, "the number of descriptors is checked when the command is queued");
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

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

/// Most descriptors that go along with one command: what QEMU receives at once.
///
/// Source: QEMU `chardev/char-socket.c`, `TCP_MAX_FDS`.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// How long a TCP connection is idle before the kernel asks whether the other host is still there. As long as the hub
/// lets a monitor be quiet before it asks the VM.
pub(crate) const TCP_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);

/// How long the kernel waits before it asks again.
pub(crate) const TCP_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the kernel asks in vain before the connection is broken: with the idle time 90 s, which a switch that is
/// started anew takes.
pub(crate) const TCP_KEEP_ALIVE_COUNT: u32 = 6;

/// A connected stream.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Other(Box<OtherStream>),
}

/// A stream that was not made here.
pub(crate) struct OtherStream {
    stream: Pin<Box<dyn ByteStream>>,
    /// Bytes were written and not flushed yet.
    unflushed: bool,
}

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}

impl Socket {
    /// A TCP connection that sends commands at once, and ends when the other host is gone without a word.
    ///
    /// # Errors
    ///
    /// What the system says of the options.
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

    /// Reads what there is, once.
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

    /// Sends as much of `bytes` as the socket takes, and `descriptors` with the first of them.
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

    /// Whether descriptors can go along.
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

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_nodelay};
    use tokio::net::TcpListener;

    use crate::dial::Dialer;
    use crate::{Address, ConnectConfig};

    use super::*;

    #[tokio::test]
    async fn tcp_connections_have_keep_alive_on_both_ways_to_make_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let address = Address::Tcp { host: "127.0.0.1".into(), port, listen: false };
        let mut dialer = Dialer::new(address.into());
        let dialled = dialer.dial(&ConnectConfig::default()).await.expect("connects");
        let accepted = crate::listen::Listener::Tcp(listener).accept().await.expect("accepts");
        for (way, socket) in [("dialled", dialled), ("accepted", accepted)] {
            let Socket::Tcp(stream) = &socket else { panic!("{way}: {socket:?}") };
            assert_eq!(options(stream), (true, 30, 10, 6, true), "{way}");
        }
    }

    /// Keep-alive, idle time and interval in seconds, count; without delay.
    fn options(stream: &TcpStream) -> (bool, u64, u64, u32, bool) {
        (
            socket_keepalive(stream).expect("an option"),
            tcp_keepidle(stream).expect("an option").as_secs(),
            tcp_keepintvl(stream).expect("an option").as_secs(),
            tcp_keepcnt(stream).expect("an option"),
            tcp_nodelay(stream).expect("an option"),
        )
    }
}

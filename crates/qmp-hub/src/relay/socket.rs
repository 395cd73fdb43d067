//! A client's socket: bytes, and descriptors that were sent with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How much is read at once, in bytes. Commands are short; QEMU itself reads them byte by byte.
const READ_BYTES: usize = 16 << 10;

/// Most descriptors that come with one message. Source: QEMU `chardev/char-socket.c`, `TCP_MAX_FDS`.
const DESCRIPTORS_MAX: usize = 16;

/// Pieces that go into one system call.
const PIECES_MAX: usize = 16;

/// The result of one read; without bytes at the end of the stream.
#[derive(Debug)]
pub(super) struct ReadResult {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Reads once, without waiting.
pub(super) fn receive(stream: &UnixStream) -> io::Result<ReadResult> {
    stream.try_io(Interest::READABLE, || {
        let mut bytes = vec![0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let message = recvmsg(stream, buffers, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        bytes.truncate(message.bytes);
        Ok(ReadResult { bytes, descriptors })
    })
}

/// Sends as much as the socket accepts, without waiting.
pub(super) fn send<'a>(stream: &UnixStream, pieces: impl Iterator<Item = &'a Bytes>) -> io::Result<usize> {
    let pieces: Vec<_> = pieces.take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
    stream.try_io(Interest::WRITABLE, || {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(stream, &pieces, &mut SendAncillaryBuffer::default(), flags)?)
    })
}

/// Whether the client closed its socket, and not only its sending side.
pub(super) fn is_closed(stream: &UnixStream) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_err()
        || asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

//! The link messages of the SPICE protocol.
//!
//! Source: "SPICE remote computing protocol definition", the channel connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::ticket;

/// Channel types.
pub(super) const MAIN: u8 = 1;
pub(super) const INPUTS: u8 = 3;

const MAGIC: &[u8] = b"REDQ";
/// Bytes of magic, version and size; the message follows.
const HEADER_BYTES: usize = 16;
/// Bytes of the link message without capabilities: connection, channel, counts of capabilities, their place.
const LINK_BYTES: u32 = 18;
/// In the reply: an error code, then a public key of RSA, 1024 bits, in DER.
const KEY: std::ops::Range<usize> = 4..166;
/// In a message: serial, type, size, and list of sub-messages; that is the header without capabilities.
const MESSAGE_HEADER_BYTES: usize = 18;
/// The message in which the main channel tells the session.
const MAIN_INIT: u16 = 103;

/// Links a channel, without a password.
pub(super) fn link(stream: &mut TcpStream, session: u32, channel: u8) {
    let mut message = Vec::from(MAGIC);
    for number in [2, 2, LINK_BYTES, session] {
        message.extend(number.to_le_bytes());
    }
    message.extend([channel, 0]);
    for number in [0, 0, LINK_BYTES] {
        message.extend(number.to_le_bytes());
    }
    stream.write_all(&message).expect("QEMU reads");

    let header = read(stream, HEADER_BYTES);
    assert_eq!(&header[..4], MAGIC);
    let size = u32::from_le_bytes(header[12..].try_into().expect("four bytes"));
    let reply = read(stream, size as usize);
    assert_eq!(reply[..4], [0; 4], "the link is refused");
    stream.write_all(&ticket::empty(&reply[KEY])).expect("QEMU reads");
    assert_eq!(read(stream, 4), [0; 4], "the ticket is refused");
}

/// The session that the main channel tells.
pub(super) fn session(main: &mut TcpStream) -> u32 {
    loop {
        let header = read(main, MESSAGE_HEADER_BYTES);
        let kind = u16::from_le_bytes([header[8], header[9]]);
        let size = u32::from_le_bytes(header[10..14].try_into().expect("four bytes"));
        let body = read(main, size as usize);
        if kind == MAIN_INIT {
            return u32::from_le_bytes(body[..4].try_into().expect("four bytes"));
        }
    }
}

fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).expect("QEMU answers");
    read
}

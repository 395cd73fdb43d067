//! The tokens of the loop's sockets.

use crate::caller::{DialerId, ListenerId};

/// Identifies a socket in the reports of the poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The connection in this slot.
    Connection(u32),
    Listener(ListenerId),
    /// The attempt of this dialer.
    Dialer(DialerId),
}

/// Number of kinds: the lowest digit of a token in this base is its kind. The highest kind is unused, since the
/// poller reserves the highest tokens.
const KINDS: usize = 4;

#[expect(clippy::cast_possible_truncation, reason = "no process adds that many")]
impl From<Token> for usize {
    fn from(token: Token) -> Self {
        match token {
            Token::Connection(slot) => slot as usize * KINDS,
            Token::Listener(id) => id.0 as usize * KINDS + 1,
            Token::Dialer(id) => id.0 as usize * KINDS + 2,
        }
    }
}

impl Token {
    #[expect(clippy::cast_possible_truncation, reason = "it was a slot")]
    pub(super) fn from_usize(token: usize) -> Self {
        let number = token / KINDS;
        match token % KINDS {
            0 => Self::Connection(number as u32),
            1 => Self::Listener(ListenerId(number as u64)),
            _ => Self::Dialer(DialerId(number as u64)),
        }
    }
}

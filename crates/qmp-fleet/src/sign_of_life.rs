//! A sign of life: a host says that it is there, and up to which record it has published everything.
//!
//! A host without events publishes no record. Its sign is no message of a stream: it goes to those who listen, and the next one
//! follows soon.

use std::time::Duration;

use qmp_wire::{Offset, UnixMicros};
use serde::{Deserialize, Serialize};

/// The interval of the signs of life of a host that has nothing to publish.
pub const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a record may take from its receipt to its publication, on a host that has nothing else to publish: a stalled disk
/// delays it.
const PUBLISH_DELAY_MAX: Duration = Duration::from_secs(5);

/// That a host is there. Published on the subject [`sign_of_life_subject`](crate::sign_of_life_subject) of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOfLife {
    /// The journal of the host.
    pub journal: Box<str>,
    /// The last record that the host published.
    #[serde(with = "super::confirmation::offset")]
    pub offset: Offset,
    /// Every record that the host received before, in microseconds since the Unix epoch, is published.
    #[serde(with = "micros")]
    pub upto: UnixMicros,
}

impl SignOfLife {
    /// The sign of a host that has published everything in its journal at `now`, up to `offset`.
    pub(crate) fn new(journal: &str, offset: Offset, now: UnixMicros) -> Self {
        let delay = i64::try_from(PUBLISH_DELAY_MAX.as_micros()).unwrap_or(i64::MAX);
        Self { journal: journal.into(), offset, upto: UnixMicros(now.0.saturating_sub(delay)) }
    }

    /// The payload of the message.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a text and numbers can be written as JSON")
    }

    /// Reads the payload of a message; `None` if it is not a sign of life.
    #[must_use]
    pub fn from_json(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

mod micros {
    use qmp_wire::UnixMicros;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(at: &UnixMicros, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixMicros, D::Error> {
        i64::deserialize(from).map(UnixMicros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_of_life_is_written_and_read() {
        let sign = SignOfLife::new("5f", Offset(7), UnixMicros(1_000_000_005_000_007));
        let json = r#"{"journal":"5f","offset":7,"upto":1000000000000007}"#;
        assert_eq!(String::from_utf8(sign.to_json()).as_deref(), Ok(json));
        assert_eq!(SignOfLife::from_json(json.as_bytes()), Some(sign));
        for other in ["", "{}", r#"{"journal":"5f","offset":7}"#] {
            assert_eq!(SignOfLife::from_json(other.as_bytes()), None, "{other}");
        }
    }
}

//! A confirmation: up to which offset a fleet hub has committed the records of a host.

use qmp_wire::Offset;
use serde::{Deserialize, Serialize};

/// Confirmations that are published before their acknowledgements are waited for. The client of NATS waits at 5,000.
pub const CONFIRMATIONS_MAX: usize = 1_024;

/// What a fleet hub has committed of one journal. Published on the subject
/// [`confirmation_subject`](crate::confirmation_subject) of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The journal.
    pub journal: Box<str>,
    #[serde(with = "offset")]
    /// All messages of the journal up to this offset are committed.
    pub offset: Offset,
    /// Whether the host has to publish everything after it again: the fleet hub has found a hole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

impl Confirmation {
    /// The payload of the message.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a text and numbers can be written as JSON")
    }

    /// Reads the payload of a message; `None` if it is not a confirmation.
    #[must_use]
    pub fn from_json(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

pub(super) mod offset {
    use qmp_wire::Offset;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(crate) fn serialize<S: Serializer>(offset: &Offset, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(offset.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Offset, D::Error> {
        u64::deserialize(from).map(Offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmation_is_written_and_read() {
        let cases = [
            (false, r#"{"journal":"5f","offset":7}"#),
            (true, r#"{"journal":"5f","offset":7,"again":true}"#),
        ];
        for (again, json) in cases {
            let confirmation = Confirmation { journal: "5f".into(), offset: Offset(7), again };
            assert_eq!(String::from_utf8(confirmation.to_json()).as_deref(), Ok(json));
            assert_eq!(Confirmation::from_json(json.as_bytes()), Some(confirmation));
        }
        for other in ["", "{}", r#"{"journal":"5f","offset":-1}"#] {
            assert_eq!(Confirmation::from_json(other.as_bytes()), None, "{other}");
        }
    }
}

//! `MESSAGE_ID`: one for each kind of message, the same on every host and in every release.
//!
//! The id is the UUID (version 5, RFC 9562) of the name `https://qmp-events.github.io/message/WHAT` in the namespace of
//! URLs, without dashes, where WHAT is the event's name, `finding/KIND`, `attached` or `detached`. To compute it:
//!
//! ```sh
//! uuidgen --sha1 --namespace @url --name https://qmp-events.github.io/message/GUEST_PANICKED | tr -d -
//! ```

use qmp_wire::Body;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The namespace of URLs, RFC 9562 section 6.6.
const NAMESPACE_URL: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

const NAME_PREFIX: &str = "https://qmp-events.github.io/message/";

/// The `MESSAGE_ID` of records of a kind: 32 hexadecimal digits.
///
/// `what` is the name of an event, `finding/KIND`, `attached` or `detached`.
#[must_use]
pub fn message_id(what: &str) -> String {
    let name = [&NAMESPACE_URL[..], NAME_PREFIX.as_bytes(), what.as_bytes()].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &name);
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash.as_ref()[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x50;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `MESSAGE_ID` of a record.
pub(super) fn of(body: &Body<'_>) -> String {
    match body {
        Body::Event { name, .. } => message_id(name),
        Body::Finding { finding, .. } => message_id(&format!("finding/{finding}")),
        Body::Attached { .. } | Body::Detached { .. } => message_id(body.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are computed by Python's `uuid.uuid5`.
    #[test]
    fn message_id_is_the_uuid_of_the_name() {
        let cases = [
            ("GUEST_PANICKED", "021cffe8286e580a8b5c27f200f79d0d"),
            ("STOP", "af83d489a5a55186949aa883a63e8ef4"),
            ("finding/why-ended", "7164479ca84c5d158ec3af34552055f6"),
            ("attached", "09c9cbd7f287538da3fcb4bc388b4298"),
            ("ü x", "ec76cb29568a598d866b57e00b45a949"),
        ];
        for (what, expected) in cases {
            assert_eq!(message_id(what), expected, "{what}");
        }
    }
}

//! XDR, as far as libvirt's protocol uses it: numbers are big-endian words of 4 or 8 bytes, texts are padded to 4.
//!
//! Source: RFC 4506; the limits are those of libvirt's `remote_protocol.x`.

use crate::uuid::{UUID_LENGTH, Uuid};

/// Maximum length of a text, in bytes: libvirt sends and accepts no longer one.
pub(crate) const TEXT_MAX_BYTES: usize = 4 << 20;

/// Bytes of a word, to which everything is padded.
const WORD: usize = 4;

/// Errors of decoding a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XdrError {
    /// The payload ends before the value does.
    #[error("{needed} bytes are needed and {left} are left")]
    Short {
        /// Bytes of the value.
        needed: usize,
        /// Bytes left in the payload.
        left: usize,
    },
    /// A text longer than 4 MiB.
    #[error("a text of {bytes} bytes, and at most {TEXT_MAX_BYTES} are allowed")]
    LongText {
        /// Its length.
        bytes: u32,
    },
    /// An array longer than its limit.
    #[error("an array of {count} entries, and at most {max} are allowed")]
    LongArray {
        /// Its entries.
        count: u32,
        /// Most entries that it may have.
        max: u32,
    },
    /// The word before an optional value is neither 0 nor 1.
    #[error("{word} in place of the word before an optional value")]
    BadOption {
        /// The word.
        word: u32,
    },
    /// The payload goes on after its last value.
    #[error("{bytes} bytes after the last value")]
    Trailing {
        /// Bytes that are left.
        bytes: usize,
    },
}

/// Reads values from a payload.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, XdrError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, XdrError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, XdrError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, XdrError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, XdrError> {
        self.array::<UUID_LENGTH>().map(Uuid::from_bytes)
    }

    /// Reads a text. Bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn text(&mut self) -> Result<Box<str>, XdrError> {
        let bytes = self.u32()?;
        let length = usize::try_from(bytes).ok().filter(|length| *length <= TEXT_MAX_BYTES);
        let length = length.ok_or(XdrError::LongText { bytes })?;
        let text = &self.take(length.next_multiple_of(WORD))?[..length];
        Ok(String::from_utf8_lossy(text).into())
    }

    /// Reads a value that may be absent.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, XdrError>,
    ) -> Result<Option<T>, XdrError> {
        match self.u32()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            word => Err(XdrError::BadOption { word }),
        }
    }

    /// Reads an array. The memory follows the bytes that are there, not the count.
    pub(crate) fn entries<T>(
        &mut self,
        max: u32,
        read: impl Fn(&mut Self) -> Result<T, XdrError>,
    ) -> Result<Vec<T>, XdrError> {
        let count = self.u32()?;
        if count > max {
            return Err(XdrError::LongArray { count, max });
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(read(self)?);
        }
        Ok(entries)
    }

    /// Checks that the payload is used up.
    pub(crate) fn finish(self) -> Result<(), XdrError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(XdrError::Trailing { bytes }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], XdrError> {
        let left = self.rest.len();
        let (taken, rest) = self.rest.split_at_checked(needed).ok_or(XdrError::Short { needed, left })?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Writes values to a payload.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn u32(mut self, number: u32) -> Self {
        self.bytes.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, number: i32) -> Self {
        self.bytes.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn uuid(mut self, uuid: Uuid) -> Self {
        self.bytes.extend(uuid.as_bytes());
        self
    }

    /// Writes a text, which the caller keeps below 4 GiB.
    pub(crate) fn text(self, text: &str) -> Self {
        let mut this = self.u32(u32::try_from(text.len()).expect("a text below 4 GiB"));
        this.bytes.extend(text.as_bytes());
        let padding = text.len().next_multiple_of(WORD) - text.len();
        this.bytes.extend(&[0; WORD][..padding]);
        this
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decoder, Encoder, XdrError};

    #[test]
    fn hostile_payload_is_error() {
        let text = |payload: &[u8]| Decoder::new(payload).text().map(|_| ());
        let array = |payload: &[u8]| Decoder::new(payload).entries(2, Decoder::u32).map(|_| ());
        let option = |payload: &[u8]| Decoder::new(payload).optional(Decoder::u32).map(|_| ());
        let cases = [
            ("no length", text(&[0, 0]), Err(XdrError::Short { needed: 4, left: 2 })),
            ("text missing", text(&[0, 0, 0, 5, 1]), Err(XdrError::Short { needed: 8, left: 1 })),
            ("padding missing", text(&[0, 0, 0, 1, b'a']), Err(XdrError::Short { needed: 4, left: 1 })),
            ("long text", text(&[0xff; 8]), Err(XdrError::LongText { bytes: u32::MAX })),
            ("long array", array(&[0, 0, 0, 3]), Err(XdrError::LongArray { count: 3, max: 2 })),
            ("array missing", array(&[0, 0, 0, 2]), Err(XdrError::Short { needed: 4, left: 0 })),
            ("bad option", option(&[0, 0, 0, 2]), Err(XdrError::BadOption { word: 2 })),
            ("no option", option(&[0, 0, 0, 0]), Ok(())),
            ("trailing", Decoder::new(&[0; 3]).finish(), Err(XdrError::Trailing { bytes: 3 })),
        ];
        for (name, found, expected) in cases {
            assert_eq!(found, expected, "{name}");
        }
    }

    proptest! {
        /// A text is the same after it was encoded and decoded, and the payload is used up.
        #[test]
        fn encoded_text_decodes_to_itself(text in ".{0,40}") {
            let payload = Encoder::default().text(&text).finish();
            prop_assert_eq!(payload.len() % 4, 0);
            let mut decoder = Decoder::new(&payload);
            let decoded = decoder.text();
            prop_assert_eq!(decoded.as_deref(), Ok(&*text));
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }
}

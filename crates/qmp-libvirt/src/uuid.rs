//! The identity of a domain.

use std::fmt;
use std::str::FromStr;

/// Bytes of a UUID.
pub(crate) const UUID_LENGTH: usize = 16;

/// The UUID of a domain, which a rename does not change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; UUID_LENGTH]);

/// The text is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UUID has 32 hexadecimal digits")]
pub struct UuidError;

impl Uuid {
    /// Creates a UUID from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; UUID_LENGTH]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; UUID_LENGTH] {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    /// Reads 32 hexadecimal digits; hyphens are skipped.
    fn from_str(text: &str) -> Result<Self, UuidError> {
        let digits = text.chars().filter(|letter| *letter != '-').map(|letter| letter.to_digit(16));
        let digits = digits.collect::<Option<Vec<_>>>().filter(|digits| digits.len() == 2 * UUID_LENGTH);
        let digits = digits.ok_or(UuidError)?;
        let mut bytes = [0; UUID_LENGTH];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] << 4 | pair[1]).map_err(|_| UuidError)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Uuid, UuidError};

    #[test]
    fn text_of_uuid_has_hyphens_and_reads_back() {
        let text = "5f93793e-c80e-4eec-a36b-a2e6d218bdbc";
        assert_eq!(text.parse::<Uuid>().map(|uuid| uuid.to_string()).as_deref(), Ok(text));
        assert_eq!(text.replace('-', "").parse(), text.parse::<Uuid>());
        assert_eq!("5f93".parse::<Uuid>(), Err(UuidError));
        assert_eq!(text.replace('c', "g").parse::<Uuid>(), Err(UuidError));
    }
}

//! Finds the end of a plain run of a string, eight bytes at a time, in safe code.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Returns the eight bytes at `at`; `None` when fewer are left.
#[inline]
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// Returns the index within `word` of its first byte that is `"`, `\`, a control byte or not ASCII; 8 if all are
/// plain.
///
/// The subtraction sets the high bit of a byte that is less than the subtrahend. A borrow can set it wrongly in the
/// bytes above such a byte, never below it, so the lowest one found is correct.
#[inline]
pub(crate) fn plain_run(word: u64) -> usize {
    let quote = (word ^ (LOW_BITS * 0x22)).wrapping_sub(LOW_BITS);
    let backslash = (word ^ (LOW_BITS * 0x5c)).wrapping_sub(LOW_BITS);
    let control = word.wrapping_sub(LOW_BITS * 0x20);
    let special = (quote | backslash | control | word) & HIGH_BITS;
    special.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_run_ends_at_the_first_special_byte() {
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                for plain in [b' ', b'!', b'#', b'[', b']', b'a', 0x7f] {
                    let mut bytes = [plain; 8];
                    bytes[at] = byte;
                    let special = matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x80..);
                    let expected = if special { at } else { 8 };
                    assert_eq!(plain_run(u64::from_le_bytes(bytes)), expected, "{byte:#04x} at {at}");
                }
            }
        }
    }

    #[test]
    fn word_at_needs_eight_bytes() {
        assert_eq!(word_at(b"1234567", 0), None);
        assert_eq!(word_at(b"123456789", 2), None);
        assert_eq!(word_at(b"123456789", 10), None);
        assert_eq!(word_at(b"\x01\0\0\0\0\0\0\0", 0), Some(1));
    }
}

//! Numbers of variable length, as in LEB128: seven bits a byte, the lowest first.

pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Takes a number from the beginning of `rest`; `None` if it is cut or has more than 64 bits.
#[inline(always)]
pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    // Nearly all numbers of a summary have one or two bytes.
    match **rest {
        [byte, ref tail @ ..] if byte < 0x80 => {
            *rest = tail;
            Some(u64::from(byte))
        }
        [low, high, ref tail @ ..] if high < 0x80 => {
            *rest = tail;
            Some(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        _ => take_long_varint(rest),
    }
}

fn take_long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Appends a number of either sign: one near zero is short.
pub(super) fn push_signed(out: &mut Vec<u8>, number: i64) {
    let folded = (number << 1) ^ (number >> 63);
    push_varint(out, u64::from_ne_bytes(folded.to_ne_bytes()));
}

/// The reverse of [`push_signed`].
#[inline]
pub(super) fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let folded = take_varint(rest)?;
    let magnitude = i64::from_ne_bytes((folded >> 1).to_ne_bytes());
    Some(if folded & 1 == 0 { magnitude } else { !magnitude })
}

/// Takes as many bytes as the number before them gives.
pub(super) fn take_bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Numbers that were appended are taken in their order.
        #[test]
        fn numbers_round_trip(numbers in prop::collection::vec((any::<u64>(), any::<i64>()), 0..20)) {
            let mut bytes = Vec::new();
            for (unsigned, signed) in &numbers {
                push_varint(&mut bytes, *unsigned);
                push_signed(&mut bytes, *signed);
            }
            let mut rest = bytes.as_slice();
            for (unsigned, signed) in numbers {
                prop_assert_eq!(take_varint(&mut rest), Some(unsigned));
                prop_assert_eq!(take_signed(&mut rest), Some(signed));
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn small_numbers_take_one_byte() {
        for number in [-64_i64, -1, 0, 1, 63] {
            let mut bytes = Vec::new();
            push_signed(&mut bytes, number);
            assert_eq!(bytes.len(), 1, "{number}");
        }
        assert_eq!(take_varint(&mut [0x80].as_slice()), None, "cut");
        assert_eq!(take_varint(&mut [0xff; 11].as_slice()), None, "too long");
        assert_eq!(take_bytes(&mut [2, 1].as_slice()), None, "fewer bytes than announced");
    }
}

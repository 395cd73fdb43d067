//! The hash table in which QEMU keeps the members of an object, and whose order it prints.

/// Buckets of QEMU's hash table of members.
///
/// Source: QEMU `qobject/qdict.c`; checked against what QEMU 7.2 and 11.1 print.
const BUCKETS: u32 = 512;

/// Returns the bucket of a member's name.
pub(super) fn bucket(name: &str) -> u32 {
    if name.as_bytes().contains(&0) {
        // QEMU stores U+0000 as the two bytes C0 80.
        let bytes = name.bytes().flat_map(|byte| if byte == 0 { vec![0xC0, 0x80] } else { vec![byte] });
        hash(&bytes.collect::<Vec<_>>())
    } else {
        hash(name.as_bytes())
    }
}

fn hash(name: &[u8]) -> u32 {
    /// 5 × index mod 24, which repeats after 24 indices.
    const SHIFTS: [u32; 24] =
        [0, 5, 10, 15, 20, 1, 6, 11, 16, 21, 2, 7, 12, 17, 22, 3, 8, 13, 18, 23, 4, 9, 14, 19];
    let mut hash = 0x238F_13AF_u32.wrapping_mul(u32::try_from(name.len()).unwrap_or(u32::MAX));
    for bytes in name.chunks(SHIFTS.len()) {
        for (byte, shift) in bytes.iter().zip(SHIFTS) {
            hash = hash.wrapping_add(u32::from(*byte) << shift);
        }
    }
    hash.wrapping_mul(1_103_515_243).wrapping_add(12_345) % BUCKETS
}

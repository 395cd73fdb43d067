//! The ticket of a client without a password, encrypted with the server's public key.
//!
//! The server chooses a key for each link. What is encrypted (an empty text, padded by RSAES-OAEP of RFC 8017 with SHA-1)
//! does not depend on it, as long as the random seed of the padding is not random; so it stands here.

/// Bytes of a key of 1024 bits.
const KEY_BYTES: usize = 128;
const LIMBS: usize = KEY_BYTES / 4;

/// Where the modulus stands in a public key of that size in DER; the exponent, 65537, follows.
const MODULUS: std::ops::Range<usize> = 29..157;

/// A text of no bytes but its end, padded with the seed 0, 1, 2 … 19.
#[rustfmt::skip]
const PADDED: [u8; KEY_BYTES] = [
    0x00, 0x03, 0x34, 0x77, 0x51, 0xa3, 0x66, 0xea, 0x10, 0x4c, 0x06, 0x9b, 0xdf, 0x4b, 0xd1, 0xa3,
    0x7e, 0x8e, 0x7f, 0xa7, 0x49, 0xd8, 0xbc, 0xf0, 0x36, 0x7f, 0xb0, 0x55, 0x80, 0x29, 0x93, 0xd4,
    0x4a, 0xe1, 0xa0, 0xfb, 0x80, 0x9e, 0xdd, 0x2e, 0x38, 0x99, 0xf3, 0x72, 0x63, 0xa5, 0x74, 0x17,
    0x1d, 0x60, 0x78, 0x80, 0x91, 0x7a, 0xef, 0xcf, 0x64, 0x22, 0x94, 0xb0, 0x8b, 0x98, 0x27, 0x11,
    0xc0, 0xfa, 0x68, 0xf6, 0x48, 0x5f, 0x62, 0xc7, 0x30, 0x54, 0xab, 0x50, 0xa0, 0xc7, 0x56, 0x69,
    0x5e, 0x2a, 0x53, 0xbd, 0x58, 0x5a, 0x81, 0x94, 0x85, 0x27, 0xec, 0xf0, 0x15, 0x61, 0x4f, 0x8b,
    0xbe, 0x3e, 0x96, 0xfe, 0xaa, 0x86, 0x89, 0x4f, 0xd5, 0x43, 0xfb, 0x37, 0xca, 0x4c, 0xa3, 0x58,
    0xca, 0x98, 0x88, 0x07, 0x83, 0xdd, 0x07, 0xa5, 0x6f, 0xdb, 0xe4, 0xbe, 0x7d, 0xd4, 0x4e, 0x45,
];

/// One number of 1024 bits, the least significant limb first.
type Number = [u32; LIMBS];

/// The ticket.
pub(super) fn empty(public_key: &[u8]) -> [u8; KEY_BYTES] {
    let modulus = number(&public_key[MODULUS]);
    let padded = number(&PADDED);
    let mut power = padded;
    // 65537 is 2^16 + 1.
    for _ in 0..16 {
        power = product(&power, &power, &modulus);
    }
    bytes(&product(&power, &padded, &modulus))
}

fn number(big_endian: &[u8]) -> Number {
    let mut number = [0; LIMBS];
    for (limb, bytes) in number.iter_mut().zip(big_endian.rchunks(4)) {
        *limb = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    }
    number
}

fn bytes(number: &Number) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    for (place, limb) in bytes.rchunks_mut(4).zip(number) {
        place.copy_from_slice(&limb.to_be_bytes());
    }
    bytes
}

/// `a * b` modulo `modulus`, which is at least 2^1023: double and add.
fn product(a: &Number, b: &Number, modulus: &Number) -> Number {
    let mut product = [0; LIMBS];
    for limb in b.iter().rev() {
        for bit in (0..32).rev() {
            product = sum(&product, &product, modulus);
            if limb >> bit & 1 == 1 {
                product = sum(&product, a, modulus);
            }
        }
    }
    product
}

/// `a + b` modulo `modulus`, of two numbers below it.
fn sum(a: &Number, b: &Number, modulus: &Number) -> Number {
    let mut sum = [0; LIMBS];
    let mut carry = false;
    for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
        let (once, first) = a.overflowing_add(*b);
        let (twice, second) = once.overflowing_add(u32::from(carry));
        (*sum, carry) = (twice, first || second);
    }
    if carry || sum.iter().rev().ge(modulus.iter().rev()) {
        let mut borrow = false;
        for (sum, modulus) in sum.iter_mut().zip(modulus) {
            let (once, first) = sum.overflowing_sub(*modulus);
            let (twice, second) = once.overflowing_sub(u32::from(borrow));
            (*sum, borrow) = (twice, first || second);
        }
    }
    sum
}

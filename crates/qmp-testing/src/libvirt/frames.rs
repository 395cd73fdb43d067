//! Bytes of libvirt's protocol.

/// The program of all hypervisors.
pub const REMOTE: u32 = 0x2000_8086;

/// The program of QEMU.
pub const QEMU: u32 = 0x2000_8087;

/// Returns a frame: the six words of its header, and its payload.
///
/// # Panics
///
/// If the payload has 4 GiB or more.
#[must_use]
pub fn libvirt_frame(header: [u32; 6], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(28 + payload.len()).expect("a payload below 4 GiB");
    let mut frame = words(&[length]);
    frame.extend(words(&header));
    frame.extend(payload);
    frame
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = words(&[u32::try_from(text.len()).expect("a text below 4 GiB")]);
    bytes.extend(text.as_bytes());
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
    bytes
}

/// The error of a call: code, part, text, and nothing else.
pub(crate) fn error(code: i32, message: &str) -> Vec<u8> {
    let mut payload = words(&[code.cast_unsigned(), 10, 1]);
    payload.extend(text(message));
    // Level; no domain; three absent texts; two numbers; no network.
    payload.extend(words(&[2, 0, 0, 0, 0, 0, 0, 0]));
    payload
}

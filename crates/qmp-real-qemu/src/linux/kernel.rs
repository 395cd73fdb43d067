//! The kernel as QEMU starts it fastest: without the code that unpacks it.
//!
//! A kernel of x86 comes as code that unpacks a packed ELF file and jumps into it. Under emulation the unpacking takes
//! longer than all the rest of the start, so it is done here. QEMU starts the ELF file through its PVH entry.
//!
//! Source: `Documentation/x86/boot.rst` of Linux, fields `setup_sects`, `payload_offset` and `payload_length`.

/// How a file of xz begins.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// Where the header has the number of sectors before the part that is loaded, less the first.
const SETUP_SECTORS_AT: usize = 0x1f1;
/// Where it has its own mark, [`HEADER`].
const HEADER_AT: usize = 0x202;
const HEADER: &[u8] = b"HdrS";
/// Where it has the offset of the packed kernel in the part that is loaded.
const PAYLOAD_OFFSET_AT: usize = 0x248;
/// Where it has the length of the packed kernel.
const PAYLOAD_LENGTH_AT: usize = 0x24c;

/// Bytes after the packed kernel that are counted in its length, but are the length of the unpacked one.
const TRAILER_BYTES: usize = 4;
const SECTOR_BYTES: usize = 512;

/// The packed kernel in a `vmlinuz`; `None` if it is not packed by xz, or is something else altogether.
pub(crate) fn packed(vmlinuz: &[u8]) -> Option<&[u8]> {
    if vmlinuz.get(HEADER_AT..)?.get(..HEADER.len())? != HEADER {
        return None;
    }
    let number = |at: usize| {
        let bytes = vmlinuz.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let setup = (usize::from(*vmlinuz.get(SETUP_SECTORS_AT)?) + 1) * SECTOR_BYTES;
    let begin = setup.checked_add(number(PAYLOAD_OFFSET_AT)?)?;
    let length = number(PAYLOAD_LENGTH_AT)?.checked_sub(TRAILER_BYTES)?;
    vmlinuz.get(begin..)?.get(..length).filter(|packed| packed.starts_with(XZ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vmlinuz(payload_length: u32, payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; SECTOR_BYTES * 3];
        file[SETUP_SECTORS_AT] = 1;
        file[HEADER_AT..HEADER_AT + 4].copy_from_slice(HEADER);
        file[PAYLOAD_OFFSET_AT..PAYLOAD_OFFSET_AT + 4].copy_from_slice(&512u32.to_le_bytes());
        file[PAYLOAD_LENGTH_AT..PAYLOAD_LENGTH_AT + 4].copy_from_slice(&payload_length.to_le_bytes());
        file.extend_from_slice(payload);
        file
    }

    #[test]
    fn finds_the_packed_kernel() {
        let payload = [XZ, b"kernel", &[9; 8]].concat();
        let whole = vmlinuz(16, &payload);
        assert_eq!(packed(&whole), Some(&b"\xfd7zXZ\0kernel"[..]), "packed by xz, and more behind it");
        let cases = [
            ("packed by something else", vmlinuz(16, &[1; 20])),
            ("longer than the file", vmlinuz(u32::MAX, &payload)),
            ("shorter than its trailer", vmlinuz(3, &payload)),
            ("no kernel", vec![0; 4096]),
            ("cut off", whole[..HEADER_AT + 2].to_vec()),
        ];
        for (name, file) in cases {
            assert_eq!(packed(&file), None, "{name}");
        }
    }
}

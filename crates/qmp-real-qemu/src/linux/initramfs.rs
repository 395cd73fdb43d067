//! The guest's root directory: an archive in the form that the kernel unpacks, "newc" of cpio.
//!
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux.

/// File types and permissions, as `st_mode` has them.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// The name of the last entry.
const END: &str = "TRAILER!!!";

/// An archive that grows.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// Adds a directory; those above it come first.
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file that can be run.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// The archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("less than 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("a short name");
        // Inode, mode, user, group, links, time, size, device twice (major, minor), length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Header with name, and content, end at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what `cpio -o -H newc` of busybox makes of the same, but for owners, times and inodes.
    #[test]
    fn is_as_cpio_has_it() {
        let mut archive = Initramfs::default();
        archive.directory("bin");
        archive.file("bin/x", b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).unwrap().replace('\0', ".");
        let zeros = "00000000";
        let entry = |inode: u32, mode: u32, size: u32, name: u32| {
            format!(
                "070701{inode:08x}{mode:08x}{zeros}{zeros}00000001{zeros}{size:08x}{}{name:08x}{zeros}",
                zeros.repeat(4)
            )
        };
        let expected = [
            entry(1, 0o040_755, 0, 4),
            "bin...".to_owned(),
            entry(2, 0o100_755, 5, 6),
            "bin/x.".to_owned() + "hello...",
            entry(3, 0, 0, 11),
            "TRAILER!!!....".to_owned(),
        ];
        assert_eq!(text, expected.concat());
    }
}

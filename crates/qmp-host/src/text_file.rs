//! Reading text files that a user names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. Never waits, as an `open` of a FIFO does until another process writes.
///
/// # Errors
///
/// Those of the system, and [`io::ErrorKind::InvalidInput`] for a FIFO, a device, a socket or a directory.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let found = match () {
        () if kind.is_fifo() => "FIFO",
        () if kind.is_dir() => "directory",
        () => "device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is a {found}; write a regular file")))
}

/// Reads a text of at most `limit_bytes`. A device that never ends, such as `/dev/zero`, takes no more memory.
///
/// # Errors
///
/// Those of the system, [`io::ErrorKind::InvalidData`] for a text that is not UTF-8, and
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_text(file: File, limit_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let error = format!("it has more than {limit_bytes} bytes; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} has a byte that is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_none_is_waited_for() {
        let home = tempfile::tempdir().expect("a directory");
        let (text, fifo) = (home.path().join("text"), home.path().join("fifo"));
        std::fs::write(&text, "12345").expect("writes");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("made");
        assert!(open_regular(&text).is_ok());
        for (path, found) in
            [(fifo.as_path(), "a FIFO"), (home.path(), "a directory"), (Path::new("/dev/zero"), "a device")]
        {
            let error = open_regular(path).expect_err(found);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{found}");
            assert_eq!(error.to_string(), format!("it is {found}; write a regular file"));
        }
    }

    #[test]
    fn text_is_read_up_to_the_limit() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("text");
        std::fs::write(&path, "12345").expect("writes");
        let read = |path: &Path, limit| read_text(File::open(path).expect("opens"), limit);
        assert_eq!(read(&path, 5).expect("reads"), "12345");
        for (path, limit) in [(path.as_path(), 4), (Path::new("/dev/zero"), 1 << 20)] {
            let error = read(path, limit).expect_err("too long");
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{}", path.display());
        }
        std::fs::write(&path, b"1\n\n\xc3\xa4\xff\n").expect("writes");
        let error = read(&path, 20).expect_err("no text");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "line 3 has a byte that is not UTF-8");
    }
}

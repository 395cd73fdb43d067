//! Reading text files that a user names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a text of at most `limit_bytes`. A device that never ends, such as `/dev/zero`, takes no more memory.
///
/// # Errors
///
/// Those of the system, [`io::ErrorKind::InvalidData`] for a text that is not UTF-8, and
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_text(path: &Path, limit_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        let error = format!("it has more than {limit_bytes} bytes; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_up_to_the_limit() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("text");
        std::fs::write(&path, "12345").expect("writes");
        assert_eq!(read_text(&path, 5).expect("reads"), "12345");
        for (path, limit) in [(path.as_path(), 4), (Path::new("/dev/zero"), 1 << 20)] {
            let error = read_text(path, limit).expect_err("too long");
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{}", path.display());
        }
        std::fs::write(&path, [0xff]).expect("writes");
        assert_eq!(read_text(&path, 5).expect_err("no text").kind(), io::ErrorKind::InvalidData);
    }
}

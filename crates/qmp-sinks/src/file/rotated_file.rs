//! A file to which lines are appended, and its predecessors: FILE, FILE.1 (the newest of them), FILE.2, …

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qmp_wire::UnixMicros;

/// Permissions, as of the journal: other users must not read what guests do.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// The begin of every line that a rule writes.
const LINE_BEGIN: &[u8] = b"{\"offset\":";

/// Bytes that are read at once in the search for the last line end.
const TAIL_CHUNK_BYTES: u64 = 64 << 10;

/// Bytes of the first line that are read to get the age of a file: the time is near its begin.
const FIRST_LINE_BYTES: u64 = 4 << 10;

/// When a file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) max_bytes: Option<u64>,
    pub(super) max_age: Option<Duration>,
    /// How many predecessors are kept.
    pub(super) keep: u32,
}

/// The open file, which ends in a complete line.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    bytes: u64,
    /// When its first line was written.
    since: UnixMicros,
}

impl RotatedFile {
    /// Opens or creates the file, and removes a line that was cut off.
    pub(super) fn open(path: &Path, rotation: Rotation, now: UnixMicros) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        }
        let exists = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .custom_flags(qmp_journal::no_follow())
            .open(path)?;
        if !exists {
            sync_directory(path)?;
        }
        let bytes = repair(&file)?;
        let since = since(&file).unwrap_or(now);
        Ok(Self { path: path.to_owned(), rotation, file, bytes, since })
    }

    /// Returns the same file, or opens the one at its path if the file was moved away or truncated.
    pub(super) fn follow(self, now: UnixMicros) -> io::Result<Self> {
        let is_same = match fs::metadata(&self.path) {
            Ok(found) => {
                let open = self.file.metadata()?;
                (found.dev(), found.ino(), found.len()) == (open.dev(), open.ino(), self.bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_same { Ok(self) } else { Self::open(&self.path, self.rotation, now) }
    }

    /// Appends one line with its line end; rotates first if the file is full or old. After an error the file ends in a
    /// complete line, or must be opened again.
    pub(super) fn append(&mut self, line: &[u8], now: UnixMicros) -> io::Result<()> {
        if self.is_over(line.len() as u64, now) {
            self.rotate(now)?;
        }
        if self.bytes == 0 {
            self.since = now;
        }
        match self.file.write_all(line) {
            Ok(()) => {
                self.bytes += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Most likely the disk is full; remove the part of the line that was written.
                let _ = self.file.set_len(self.bytes);
                Err(error)
            }
        }
    }

    /// Syncs the file to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn is_over(&self, more: u64, now: UnixMicros) -> bool {
        let age_us = now.0.saturating_sub(self.since.0);
        let is_old = |max: Duration| u128::try_from(age_us).is_ok_and(|age_us| age_us >= max.as_micros());
        let is_full = |max: u64| self.bytes + more > max;
        self.bytes > 0
            && (self.rotation.max_bytes.is_some_and(is_full) || self.rotation.max_age.is_some_and(is_old))
    }

    /// Renames the file and its predecessors by one number, and drops the oldest.
    ///
    /// A crash in between leaves one number free, and every line in its file: the next rotation renames only those
    /// before the free number.
    fn rotate(&mut self, now: UnixMicros) -> io::Result<()> {
        self.sync()?;
        let name = |index: u32| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{index}"));
            PathBuf::from(name)
        };
        let free =
            (1..=self.rotation.keep).find(|index| !name(*index).exists()).unwrap_or(self.rotation.keep);
        for index in (1..free).rev() {
            fs::rename(name(index), name(index + 1))?;
        }
        fs::rename(&self.path, name(1))?;
        *self = Self::open(&self.path, self.rotation, now)?;
        sync_directory(&self.path)
    }
}

/// Removes an incomplete last line, which a crash cut off; returns the length of the file after that.
///
/// # Errors
///
/// `InvalidData` if no rule wrote the last line: the file belongs to another program, and is left unchanged.
fn repair(file: &File) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    let end = line_start(file, bytes)?;
    let is_ours = |start: u64, end: u64| -> io::Result<bool> {
        let mut begin = [0; LINE_BEGIN.len()];
        let begin = &mut begin[..LINE_BEGIN.len().min(usize::try_from(end - start).unwrap_or(usize::MAX))];
        file.read_exact_at(begin, start)?;
        Ok(LINE_BEGIN.starts_with(begin))
    };
    let whole_is_ours = end == 0 || is_ours(line_start(file, end - 1)?, end)?;
    if !whole_is_ours || !is_ours(end, bytes)? {
        let what = "its last line was written by another program, so the file is left as it is; name another file, \
                    or move this one away";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    if end < bytes {
        file.set_len(end)?;
        file.sync_data()?;
    }
    Ok(end)
}

/// The start of the line that contains the byte before `end`, or of the next line if that byte is a line end.
fn line_start(file: &File, end: u64) -> io::Result<u64> {
    let mut at = end;
    // Backwards, in chunks, to the last line end.
    while at > 0 {
        let from = at.saturating_sub(TAIL_CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(at - from).unwrap_or(0)];
        file.read_exact_at(&mut chunk, from)?;
        if let Some(found) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + found as u64 + 1);
        }
        at = from;
    }
    Ok(0)
}

/// When the first record was received, which is about when the file was begun.
fn since(file: &File) -> Option<UnixMicros> {
    let mut line = Vec::new();
    let mut begin = BufReader::new(FileReader { file, from: 0 }).take(FIRST_LINE_BYTES);
    begin.read_until(b'\n', &mut line).ok()?;
    let text = String::from_utf8_lossy(&line);
    let (_, rest) = text.split_once("\"received\":\"")?;
    rest.split_once('"')?.0.parse().ok()
}

/// Reads a file from its own position.
struct FileReader<'f> {
    file: &'f File,
    from: u64,
}

impl io::Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read_at(buffer, self.from)?;
        self.from += bytes as u64;
        Ok(bytes)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: Rotation = Rotation { max_bytes: None, max_age: None, keep: 3 };

    fn line(number: usize, padding: usize) -> Vec<u8> {
        format!(
            "{{\"offset\":{number},\"received\":\"2026-01-02T03:04:05.678901Z\",\"p\":\"{}\"}}\n",
            "x".repeat(padding)
        )
        .into_bytes()
    }

    /// The files, newest first.
    fn files(path: &Path) -> Vec<Vec<u8>> {
        let older = (1..).map(|index| format!("{}.{index}", path.display()));
        let all = std::iter::once(path.display().to_string()).chain(older);
        all.map_while(|path| fs::read(path).ok()).collect()
    }

    #[test]
    fn symbolic_link_is_not_followed() {
        let home = tempfile::tempdir().expect("a directory");
        let (path, victim) = (home.path().join("out.jsonl"), home.path().join("victim"));
        std::os::unix::fs::symlink(&victim, &path).expect("made");
        RotatedFile::open(&path, ANY, UnixMicros(0)).expect_err("is a link");
        assert!(!victim.exists());
    }

    #[test]
    fn incomplete_last_line_is_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("log");
        let whole = line(1, 5);
        let long = [&whole[..], &line(2, 200_000)[..150_000]].concat();
        let cases: [(&[u8], Option<&[u8]>); 11] = [
            (b"", Some(b"")),
            (&whole, Some(&whole)),
            (&[&whole[..], b"{\"off"].concat(), Some(&whole)),
            (&long, Some(&whole)),
            (b"{\"offset\":1", Some(b"")),
            (&[&whole[..], b"foreign"].concat(), None),
            (b"foreign", None),
            (b"foreign\n", None),
            (&[&whole[..], b"foreign\n"].concat(), None),
            (b"foreign\n{\"offset\":1", None),
            (&[b"foreign\n", &whole[..]].concat(), Some(&[b"foreign\n", &whole[..]].concat())),
        ];
        for (before, after) in cases {
            fs::write(&path, before).expect("writes");
            let opened = RotatedFile::open(&path, ANY, UnixMicros(0));
            assert_eq!(opened.is_ok(), after.is_some(), "{}", String::from_utf8_lossy(before));
            assert_eq!(fs::read(&path).expect("reads"), after.unwrap_or(before));
        }
    }

    #[test]
    fn file_that_was_moved_or_truncated_is_opened_again() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("log");
        let mut file = RotatedFile::open(&path, ANY, UnixMicros(0)).expect("opens");
        file.append(&line(1, 0), UnixMicros(0)).expect("writes");
        fs::rename(&path, home.path().join("moved")).expect("moves");
        file = file.follow(UnixMicros(0)).expect("opens another");
        file.append(&line(2, 0), UnixMicros(0)).expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), line(2, 0));
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cuts");
        file = file.follow(UnixMicros(0)).expect("opens again");
        file.append(&line(3, 0), UnixMicros(0)).expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), line(3, 0), "without a hole");
    }

    #[test]
    fn file_older_than_max_age_is_rotated() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("log");
        let rotation = Rotation { max_age: Some(Duration::from_secs(60)), ..ANY };
        let first: UnixMicros = "2026-01-02T03:04:05.678901Z".parse().expect("a time");
        let after = |seconds: i64| UnixMicros(first.0 + seconds * 1_000_000);
        let mut file = RotatedFile::open(&path, rotation, first).expect("opens");
        file.append(&line(1, 0), first).expect("writes");
        // The age of a reopened file is in its first line.
        let mut file = RotatedFile::open(&path, rotation, after(59)).expect("opens");
        file.append(&line(2, 0), after(59)).expect("writes");
        file.append(&line(3, 0), after(60)).expect("writes");
        assert_eq!(files(&path), [line(3, 0), [line(1, 0), line(2, 0)].concat()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After cut lines and interrupted rotations, each file has complete lines in their order, and only the oldest
        /// lines are missing.
        #[test]
        fn rotation_never_loses_or_tears_a_line(
            steps in prop::collection::vec((0usize..60, 0u8..8), 1..40),
            keep in 1u32..4,
        ) {
            let home = tempfile::tempdir().expect("a directory");
            let path = home.path().join("log");
            let rotation = Rotation { max_bytes: Some(200), max_age: None, keep };
            let mut file = RotatedFile::open(&path, rotation, UnixMicros(0)).expect("opens");
            for (number, (padding, accident)) in steps.iter().enumerate() {
                file.append(&line(number, *padding), UnixMicros(0)).expect("writes");
                match accident {
                    0 => {
                        // A kill in the middle of a line.
                        file.file.write_all(&line(number + 1, 9)[..20]).expect("writes");
                        file = RotatedFile::open(&path, rotation, UnixMicros(0)).expect("opens");
                    }
                    1 => {
                        // A kill in the middle of a rotation: the youngest predecessor is renamed, the file is not.
                        let name = |index: u32| format!("{}.{index}", path.display());
                        if Path::new(&name(1)).exists() && keep > 1 && !Path::new(&name(2)).exists() {
                            fs::rename(name(1), name(2)).expect("moves");
                            file = RotatedFile::open(&path, rotation, UnixMicros(0)).expect("opens");
                        }
                    }
                    _ => {}
                }
            }
            let mut kept = Vec::new();
            for index in (0..=keep).rev() {
                let name = if index == 0 { path.clone() } else { format!("{}.{index}", path.display()).into() };
                let Ok(text) = fs::read(name) else { continue };
                prop_assert!(text.is_empty() || text.ends_with(b"\n"));
                prop_assert!(text.len() <= 200);
                kept.extend(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            }
            let all: Vec<Vec<u8>> = steps.iter().enumerate().map(|(n, (padding, _))| line(n, *padding)).collect();
            prop_assert!(all.ends_with(&kept), "{} of {}", kept.len(), all.len());
            prop_assert!(kept.len() >= all.len().min(keep as usize + 1));
        }
    }
}

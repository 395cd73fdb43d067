//! Information about processes from `/proc`.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::LazyLock;

/// Maximum number of inspected processes; on a host with more, the rest is ignored.
const PROCESSES_MAX: usize = 20_000;

/// Maximum length of a state line, in bytes. Source: proc(5), `/proc/pid/stat`, 52 numbers and a name.
const STATE_MAX_BYTES: u64 = 4 << 10;

/// A process of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The process id.
    pub pid: u32,
    /// The process name, up to 15 bytes.
    pub name: String,
    /// The state letter. Source: proc(5), `/proc/pid/stat`.
    pub state: char,
    /// The start of the process, in clock ticks since the host booted: it distinguishes processes that had the same id.
    pub start_ticks: u64,
}

/// Returns the boot id of this host, which changes with each boot; `None` if it cannot be read.
///
/// Source: proc(5), `/proc/sys/kernel/random/boot_id`.
#[must_use]
pub fn boot_id() -> Option<&'static str> {
    static ID: LazyLock<Option<Box<str>>> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim_end().into())
    });
    ID.as_deref()
}

impl ProcessStat {
    /// Reads the process; returns `None` if it does not exist.
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        let line = read_start(&Path::new("/proc").join(pid.to_string()).join("stat"), STATE_MAX_BYTES)?;
        Self::parse(pid, &String::from_utf8_lossy(&line))
    }

    fn parse(pid: u32, line: &str) -> Option<Self> {
        // The name is in parentheses and may contain parentheses.
        let (name, rest) = (line.find('(')?, line.rfind(')')?);
        // The state is the third field, the start the twenty-second.
        let mut fields = line.get(rest + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let start_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, name: line.get(name + 1..rest)?.to_owned(), state, start_ticks })
    }

    /// Returns whether a signal or a debugger stopped the process.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Returns whether the process has ended and its parent has not reaped it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Returns whether the process waits in the kernel and no signal can end it.
    #[must_use]
    pub fn is_uninterruptible(&self) -> bool {
        self.state == 'D'
    }
}

/// The text for users.
impl fmt::Display for ProcessStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// Returns the inode in the target of a link to a socket, such as `socket:[4242]`.
#[must_use]
pub fn socket_inode(place: &Path) -> Option<u64> {
    place.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns the ids of the processes of this host.
pub fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(PROCESSES_MAX)
}

/// Returns the first bytes of a file; `None` if it cannot be read.
#[must_use]
pub fn read_start(path: &Path, limit_bytes: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(limit_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_stands_behind_the_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let cases = [
            (format!("1 (qemu) T {rest}"), Some(('T', 4711))),
            (format!("1 (a ) S (b) R {rest}"), Some(('R', 4711))),
            ("1 (qemu) T 1 2 3".to_owned(), None),
            ("1 (qemu)".to_owned(), None),
            (String::new(), None),
        ];
        for (line, expected) in cases {
            let read = ProcessStat::parse(1, &line).map(|process| (process.state, process.start_ticks));
            assert_eq!(read, expected, "{line:?}");
        }
        let own = std::process::id();
        let start =
            || ProcessStat::read(own).map(|process| (process.pid, process.start_ticks, process.has_ended()));
        assert!(
            start().is_some_and(|(pid, start_ticks, has_ended)| pid == own && start_ticks > 0 && !has_ended)
        );
        assert_eq!(start(), start());
        assert!(boot_id().is_some_and(|id| id.len() == 36));
        assert_eq!(ProcessStat::read(u32::MAX), None);
    }
}

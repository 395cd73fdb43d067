//! The commands of a scenario to its Linux guest, and their output.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use qmp_testing::{PATIENCE, wait_for};

/// The line that the guest prints when it has started.
const READY: &str = "ready";

/// A running guest.
#[derive(Debug)]
pub struct Linux {
    stream: BufReader<UnixStream>,
    console: PathBuf,
    lines: u32,
}

impl Linux {
    /// Waits until the guest has started that takes its lines from this socket.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn meet(socket: &Path, console: PathBuf) -> Self {
        let stream = wait_for("the guest's serial port", || UnixStream::connect(socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a time limit");
        let mut linux = Self { stream: BufReader::new(stream), console, lines: 0 };
        linux.starts_again();
        linux
    }

    /// Waits until the guest has restarted.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn starts_again(&mut self) {
        while self.line("its start").trim_end() != READY {}
    }

    /// Runs a line of shell to its end, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn runs(&mut self, line: &str) -> String {
        self.begins(line);
        self.ends(line)
    }

    /// Runs a line of shell that takes the guest's processor, or QEMU, away: [`ends`](Self::ends) waits for its end.
    pub fn begins(&mut self, line: &str) {
        self.lines += 1;
        let request = format!("{} {line}\n", self.word());
        self.stream.get_mut().write_all(request.as_bytes()).expect("the guest takes the line");
    }

    /// Waits for the end of the line that [`begins`](Self::begins) sent, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn ends(&mut self, line: &str) -> String {
        let end = format!("{} ", self.word());
        let mut written = String::new();
        loop {
            let next = self.line(line);
            // The last output of the line may lack a line end.
            if let Some((before, status)) = next.trim_end().split_once(&end) {
                written.push_str(before);
                assert_eq!(status, "0", "{line}: {written}{}", self.told());
                return written;
            }
            written.push_str(&next);
        }
    }

    /// Returns a word that no line of shell prints.
    fn word(&self) -> String {
        format!("line-{}-ended", self.lines)
    }

    fn line(&mut self, what: &str) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        assert!(read.is_ok_and(|bytes| bytes > 0), "the guest never answered: {what}{}", self.told());
        line
    }

    /// Returns the console output, for the message of a failure.
    fn told(&self) -> String {
        let console = std::fs::read(&self.console).unwrap_or_default();
        format!("; the console:\n{}", String::from_utf8_lossy(&console))
    }
}

//! The start of a QEMU, and the cause that a scenario shows.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::boot::Boot;
use crate::program::is_missing;

/// One run of a QEMU that causes certain events.
#[derive(Debug)]
pub struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) cause: &'static str,
    pub(crate) shows: &'static [&'static str],
    pub(crate) options: String,
    pub(crate) hidden_options: Vec<String>,
    pub(crate) is_stopped: bool,
    pub(crate) home: Arc<TempDir>,
}

impl Scenario {
    /// A scenario of this name, which is also that of its capture.
    ///
    /// `cause` is one sentence for the manual: who does what.
    #[must_use]
    pub fn new(name: &'static str, cause: &'static str) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a directory"));
        Self {
            name,
            cause,
            shows: &[],
            options: String::new(),
            hidden_options: Vec::new(),
            is_stopped: true,
            home,
        }
    }

    /// Sets the events of which the scenario is an example: each has to arrive.
    #[must_use]
    pub const fn shows(mut self, events: &'static [&'static str]) -> Self {
        self.shows = events;
        self
    }

    /// Options of QEMU, separated by spaces. Paths are relative to [`home`](Self::home); `{port}` is a TCP port of this
    /// host without a listener.
    #[must_use]
    pub fn options(mut self, options: &str) -> Self {
        self.options = options.to_owned();
        self
    }

    /// Options that the manual does not show: long ones, and such as have spaces.
    #[must_use]
    pub fn hidden_options<const N: usize>(mut self, options: [&str; N]) -> Self {
        self.hidden_options.extend(options.map(str::to_owned));
        self
    }

    /// Runs the guest at once, or as soon as it has been migrated here, and not at the first `cont`.
    #[must_use]
    pub const fn runs_at_once(mut self) -> Self {
        self.is_stopped = false;
        self
    }

    /// Starts this guest from a floppy disk. Without a disk the firmware finds nothing to start.
    #[must_use]
    pub fn boots(self, guest: Boot) -> Self {
        self.file("boot.img", &guest.floppy()).hidden_options([
            "-drive",
            "if=floppy,format=raw,file=boot.img",
            "-boot",
            "a",
        ])
    }

    /// Writes a file into the scenario's directory.
    #[must_use]
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.home().join(name), bytes).expect("a file can be written");
        self
    }

    /// Runs `qemu-img` in its directory.
    ///
    /// # Panics
    ///
    /// If it fails: it comes with the package `qemu-utils`.
    #[must_use]
    pub fn image(self, arguments: &str) -> Self {
        if is_missing() {
            return self;
        }
        let mut command = std::process::Command::new("qemu-img");
        let output = command.args(arguments.split(' ')).current_dir(self.home()).output();
        let output = output.expect("qemu-img can be run; install qemu-utils");
        assert!(output.status.success(), "qemu-img {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        self
    }

    /// Returns the directory in which QEMU is started.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

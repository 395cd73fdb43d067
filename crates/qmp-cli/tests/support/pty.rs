//! The program on a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program whose standard streams are a terminal of 80 columns. Killed on drop.
pub struct OnTerminal {
    child: Child,
    terminal: File,
    shown: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl OnTerminal {
    /// Starts a command on a terminal with `rows` rows.
    pub fn start(command: &mut Command, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let size = Winsize { ws_row: rows, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("a terminal");
        let slave: OwnedFd =
            open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("a terminal");
        let stream = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm");
        let child = command.spawn().expect("the program runs");
        // The command keeps copies of the descriptors, without which the terminal would not hang up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(slave);
        let terminal = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, all) = (terminal.try_clone().expect("a descriptor"), Arc::clone(&shown));
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end is an error: the terminal hangs up.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                all.lock().expect("a lock").push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, terminal, shown, reading: Some(reading) }
    }

    /// Waits until the terminal has shown `part`.
    pub fn wait_for(&self, part: &str) {
        qmp_testing::wait_for(part, || self.has_shown(part).then_some(()));
    }

    /// Whether the terminal has shown `part`.
    pub fn has_shown(&self, part: &str) -> bool {
        self.shown.lock().expect("a lock").contains(part)
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// How often the terminal has shown `part`.
    pub fn times_shown(&self, part: &str) -> usize {
        self.shown.lock().expect("a lock").matches(part).count()
    }

    /// Sends a signal to the program.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until a signal has stopped the program.
    pub fn wait_until_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        qmp_testing::wait_for("a stopped program", || {
            let stat = std::fs::read_to_string(&stat).ok()?;
            stat.rsplit(") ").next()?.starts_with('T').then_some(())
        });
    }

    /// Waits for the end; returns the exit code and everything that the terminal has shown, with plain line ends.
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("the program ends").code();
        self.reading.take().expect("a thread").join().expect("the terminal is read");
        let shown = self.shown.lock().expect("a lock").replace("\r\n", "\n");
        (code, shown)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

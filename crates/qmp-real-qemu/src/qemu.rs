//! The process of QEMU.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use qmp_testing::wait_for;

use crate::program::program;

/// A running QEMU; killed when dropped.
pub(crate) struct Qemu(Child);

impl Qemu {
    /// Starts a QEMU in `home`, with a monitor at each of these paths.
    pub(crate) fn start(home: &Path, monitors: &[&str], options: &[String]) -> Self {
        let mut command = Command::new(program());
        command.current_dir(home).stdin(Stdio::null());
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16"]);
        for monitor in monitors {
            command.args(["-qmp", &format!("unix:{monitor},server=on,wait=off")]);
        }
        command.args(options);
        let mut qemu = Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program())));
        for monitor in monitors {
            wait_for("a monitor's socket", || {
                let ended = qemu.0.try_wait().expect("QEMU can be waited for");
                assert!(ended.is_none(), "QEMU did not start: {options:?}");
                home.join(monitor).exists().then_some(())
            });
        }
        qemu
    }

    /// Sends the process a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal}");
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the end of QEMU", || self.0.try_wait().expect("QEMU can be waited for"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // The process has ended by itself, or the scenario failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! A Linux guest: a Debian kernel and one program, busybox, driven by the scenario line by line.
//!
//! Kernel and busybox are Debian packages, downloaded and unpacked but not installed, and made into a few files once; see
//! [`GuestFiles`]. The guest has its console on the first serial port, in the file `console`, and takes its lines from the
//! second: a word and a line of shell, answered by what the line writes, the word again, and its status.

mod initramfs;
mod kernel;
mod modules;
mod packages;
mod files;
mod conversation;

pub use conversation::Linux;
pub use files::GuestFiles;

use std::path::PathBuf;

use crate::program::is_missing;
use crate::scenario::Scenario;
use crate::vm::Vm;

/// The guest's memory in megabytes, enough to be suspended to disk, and room for more of it.
const MEMORY: &str = "384,slots=4,maxmem=3G";

/// The parameters with which the kernel starts in two seconds of emulation: no measurement, test or mitigation that it can do without.
pub const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off nopti cryptomgr.notests \
    random.trust_cpu=on tsc=reliable no_timer_check";

/// Where the guest takes its lines from, in the directory of its scenario.
const SOCKET: &str = "guest.sock";

/// The guest's console, in the directory of its scenario.
const CONSOLE: &str = "console";

impl Scenario {
    /// Starts QEMU with Linux, which has loaded these modules, and a hub that follows it; `None`, after saying so,
    /// where QEMU, the kernel or busybox cannot be had.
    #[must_use]
    pub fn start_linux(self, modules: &[&str]) -> Option<(Vm, Linux)> {
        self.start_kernel(|files| &files.kernel, modules)
    }

    /// As [`start_linux`](Self::start_linux), for a guest that is to wake up from sleep, or to start again after a reset:
    /// the kernel as it is packed, which takes longer to start.
    ///
    /// A kernel that is started through its PVH entry starts anew instead of waking up, and may reset itself again and again.
    #[must_use]
    pub fn start_packed_linux(self, modules: &[&str]) -> Option<(Vm, Linux)> {
        self.start_kernel(|files| &files.vmlinuz, modules)
    }

    fn start_kernel(self, kernel: fn(&GuestFiles) -> &PathBuf, modules: &[&str]) -> Option<(Vm, Linux)> {
        if is_missing() {
            return None;
        }
        let files = GuestFiles::at_hand()?;
        let socket = self.home().join(SOCKET);
        let console = self.home().join(CONSOLE);
        let [kernel, initramfs] =
            [kernel(&files), &files.initramfs].map(|path| path.to_str().expect("a path that is a text"));
        let scenario = self
            .hidden_options(["-m", MEMORY, "-no-user-config"])
            .hidden_options(["-kernel", kernel, "-initrd", initramfs, "-append", KERNEL_COMMAND_LINE])
            .hidden_options(["-serial", &format!("file:{CONSOLE}")])
            .hidden_options(["-serial", &format!("unix:{SOCKET},server=on,wait=off")]);
        let mut vm = scenario.start()?;
        vm.cont();
        let mut linux = Linux::meet(&socket, console);
        if !modules.is_empty() {
            linux.runs(&format!("load {}", modules.join(" ")));
        }
        Some((vm, linux))
    }
}

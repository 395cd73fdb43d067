//! An installed QEMU. Without one the tests are skipped and print so; if `CI` is set they fail.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use qmp_client::{Address, ConnectError, Events, MonitorClient, connect};
use qmp_testing::poll_until;

/// How long a QEMU may take to start on a busy machine.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);

/// A QEMU without a guest, killed when dropped.
pub(crate) struct Qemu {
    pub(crate) process: Child,
}

impl Qemu {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Option<Self> {
        let process = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-display", "none", "-machine", "none", "-S"])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Self { process }),
            Err(error) if std::env::var_os("CI").is_none() => {
                println!("skipped: cannot start qemu-system-x86_64: {error}");
                None
            }
            Err(error) => panic!("cannot start qemu-system-x86_64: {error}"),
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn unix(path: PathBuf, listen: bool) -> Address {
    Address::Unix { path, listen }
}

/// Connects as soon as the QEMU listens.
pub(crate) async fn reach(address: &Address) -> (MonitorClient, Events) {
    poll_until("a QEMU that listens", async || match connect(address).await {
        Ok(connected) => Some(connected),
        Err(ConnectError::NoSuchSocket { .. } | ConnectError::Refused { .. }) => None,
        Err(error) => panic!("{error}"),
    })
    .await
}

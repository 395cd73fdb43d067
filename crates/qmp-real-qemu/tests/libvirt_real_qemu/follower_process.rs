//! A follower in a process of its own: this test program, started again.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use qmp_testing::NOBODY;

use crate::follower::Follower;

/// The variables that make the process: the socket, the URI, and the file for the items.
const VARIABLES: [&str; 3] = ["QMP_FOLLOWER_SOCKET", "QMP_FOLLOWER_URI", "QMP_FOLLOWER_ITEMS"];

/// Starts a follower that writes its items to the file `says`.
pub(crate) fn follower_process(socket: &Path, uri: &str, says: &Path, as_nobody: bool) -> Child {
    // Another user may not be allowed to reach the program by its path.
    let program = File::open(std::env::current_exe().expect("a program")).expect("opens");
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .args(["--exact", "follower_process::follows_in_its_own_process", "--ignored", "--nocapture"])
        .env(VARIABLES[0], socket)
        .env(VARIABLES[1], uri)
        .env(VARIABLES[2], says)
        .current_dir("/")
        .stdout(Stdio::null());
    if as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().expect("starts")
}

/// Whether the follower wrote this item.
pub(crate) fn said(says: &Path, item: &str) -> Option<()> {
    let items = fs::read_to_string(says).unwrap_or_default();
    items.lines().any(|line| line == item).then_some(())
}

#[test]
#[ignore = "the process that follower_process starts"]
fn follows_in_its_own_process() {
    let [Some(socket), Some(uri), Some(says)] = VARIABLES.map(std::env::var_os) else { return };
    let mut says = File::options().create(true).append(true).open(says).expect("opens");
    let mut follower = Follower::connect_to(socket.as_ref(), uri.to_str().expect("UTF-8"));
    loop {
        writeln!(says, "{}", follower.next()).expect("writes");
    }
}

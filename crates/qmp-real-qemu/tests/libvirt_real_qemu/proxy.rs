//! A proxy between libvirtd and its monitor of a domain, in place of the socket, while libvirtd is away.

use std::fs;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use qmp_testing::Libvirt;

/// The monitor behind the proxy.
pub(crate) struct Proxy {
    listener: UnixListener,
    monitor: PathBuf,
}

/// A connection of libvirtd through the proxy.
pub(crate) struct ProxiedConnection {
    libvirtd: UnixStream,
}

/// The socket of libvirtd's monitor of the domain.
pub(crate) fn monitor_socket(libvirt: &Libvirt) -> PathBuf {
    let domains = fs::read_dir(libvirt.path("config/libvirt/qemu/lib")).expect("a directory");
    let mut sockets = domains.map(|domain| domain.expect("reads").path().join("monitor.sock"));
    sockets.find(|socket| socket.exists()).expect("a monitor")
}

impl Proxy {
    /// Renames the socket of the monitor, and listens in its place.
    pub(crate) fn insert(libvirt: &Libvirt) -> Self {
        let socket = monitor_socket(libvirt);
        let monitor = socket.with_file_name("monitor.qemu");
        fs::rename(&socket, &monitor).expect("renames");
        let listener = UnixListener::bind(&socket).expect("binds");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("permitted");
        Self { listener, monitor }
    }

    /// Waits for libvirtd, and passes bytes on from here on.
    pub(crate) fn accept(self) -> ProxiedConnection {
        let (libvirtd, _) = self.listener.accept().expect("accepts");
        let qemu = UnixStream::connect(&self.monitor).expect("QEMU listens");
        let ways = [(&libvirtd, &qemu), (&qemu, &libvirtd)];
        for (from, to) in ways.map(|(from, to)| (from.try_clone(), to.try_clone())) {
            let (from, to) = (from.expect("clones"), to.expect("clones"));
            std::thread::spawn(move || pass(from, to));
        }
        ProxiedConnection { libvirtd }
    }
}

impl ProxiedConnection {
    /// Sends bytes to libvirtd.
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        self.libvirtd.write_all(bytes).expect("libvirtd reads");
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

//! Notification of systemd: sd_notify(3), one datagram for each message.
//!
//! Written here because it is a hundred lines and the protocol promises not to change. Without `NOTIFY_SOCKET`, nothing is
//! sent. The first message that cannot be sent is logged, later ones are not: a service without notification is still worth
//! running.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The socket of the service manager.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    has_failed: AtomicBool,
}

/// The environment variables of the watchdog.
#[derive(Debug, Default)]
pub struct WatchdogVariables {
    /// `WATCHDOG_USEC`.
    pub usec: Option<OsString>,
    /// `WATCHDOG_PID`.
    pub pid: Option<OsString>,
}

/// The environment variables of socket activation.
#[derive(Debug, Default)]
pub struct ListenVariables {
    /// `LISTEN_PID`.
    pub pid: Option<OsString>,
    /// `LISTEN_FDS`.
    pub fds: Option<OsString>,
}

/// The first descriptor that systemd passes. Source: sd_listen_fds(3).
const LISTEN_FDS_START: RawFd = 3;

/// Most sockets that are inherited: more than any sensible unit has. The variable may contain any number.
const LISTEN_FDS_MAX: RawFd = 1_024;

impl ListenVariables {
    /// Reads the variables.
    pub fn of_environment() -> Self {
        Self { pid: std::env::var_os("LISTEN_PID"), fds: std::env::var_os("LISTEN_FDS") }
    }

    /// The descriptors that are passed to this process.
    pub fn numbers(&self, own_pid: u32) -> std::ops::Range<RawFd> {
        let is_meant = number(self.pid.as_ref()) == Some(own_pid.into());
        let count =
            number(self.fds.as_ref()).filter(|_| is_meant).and_then(|count| RawFd::try_from(count).ok());
        LISTEN_FDS_START..LISTEN_FDS_START + count.unwrap_or(0).min(LISTEN_FDS_MAX)
    }
}

fn number(value: Option<&OsString>) -> Option<u64> {
    value?.to_str()?.parse().ok()
}

impl Notify {
    /// Opens the socket that the environment names.
    pub fn of_environment() -> Self {
        match std::env::var_os("NOTIFY_SOCKET").map(|name| Self::to(&name)) {
            None => Self::default(),
            Some(Ok(notify)) => notify,
            Some(Err(error)) => {
                tracing::warn!("NOTIFY_SOCKET cannot be used: {error}");
                Self::default()
            }
        }
    }

    /// Opens a socket by its path, or by its abstract name if it begins with `@`.
    fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not make the hub wait.
        socket.set_nonblocking(true)?;
        Ok(Self { to: Some((socket, address)), has_failed: AtomicBool::new(false) })
    }

    /// Whether a service manager is notified.
    pub fn is_used(&self) -> bool {
        self.to.is_some()
    }

    /// Reports that the hub serves.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Reports that a reload begins; `ready` reports its end.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// Reports the status line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Reports that the hub is alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// Reports that the hub stops, which may take as long as `at_most`.
    pub fn stopping(&self, at_most: Duration) {
        self.send(&format!(
            "STOPPING=1\nSTATUS=writing the last records\nEXTEND_TIMEOUT_USEC={}",
            at_most.as_micros()
        ));
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("cannot notify systemd: {error}");
        }
    }
}

impl WatchdogVariables {
    /// Reads the variables.
    pub fn of_environment() -> Self {
        Self { usec: std::env::var_os("WATCHDOG_USEC"), pid: std::env::var_os("WATCHDOG_PID") }
    }

    /// How often to notify the watchdog: twice in its time. `None` if there is no watchdog for this process.
    pub fn interval(&self, own_pid: u32) -> Option<Duration> {
        let usec = number(self.usec.as_ref()).filter(|usec| *usec > 0)?;
        let is_meant = self.pid.is_none() || number(self.pid.as_ref()) == Some(own_pid.into());
        is_meant.then(|| Duration::from_micros(usec) / 2)
    }
}

/// Replaces line breaks, which would begin another assignment.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_sent_by_path_and_by_abstract_name() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let name = format!("qmp-test-{}", std::process::id());
        let sockets = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}").into(),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ];
        for (name, socket) in sockets {
            let notify = Notify::to(&name).unwrap();
            let received = |send: &dyn Fn(&Notify)| {
                send(&notify);
                let mut buffer = [0; 200];
                let length = socket.recv(&mut buffer).unwrap();
                String::from_utf8(buffer[..length].to_vec()).unwrap()
            };
            assert_eq!(received(&|notify| notify.ready("a\nREADY=0")), "READY=1\nSTATUS=a READY=0");
            assert_eq!(received(&|notify| notify.watchdog()), "WATCHDOG=1");
            let stopping = "STOPPING=1\nSTATUS=writing the last records\nEXTEND_TIMEOUT_USEC=2000000";
            assert_eq!(received(&|notify| notify.stopping(Duration::from_secs(2))), stopping);
            let reloading = received(&|notify| notify.reloading());
            let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(usec.parse::<u64>().unwrap() > 0);
        }
    }

    #[test]
    fn descriptors_for_another_process_are_ignored() {
        let cases = [
            (None, None, 3..3),
            (Some("7"), Some("2"), 3..5),
            (Some("8"), Some("2"), 3..3),
            (None, Some("2"), 3..3),
            (Some("7"), Some("-1"), 3..3),
            (Some("7"), Some("99999999999"), 3..3),
            (Some("7"), Some("2147483647"), 3..1_027),
        ];
        for (pid, fds, expected) in cases {
            let variables = ListenVariables { pid: pid.map(Into::into), fds: fds.map(Into::into) };
            assert_eq!(variables.numbers(7), expected, "{pid:?} {fds:?}");
        }
    }

    #[test]
    fn full_socket_does_not_block() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let _never_read = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str()).unwrap();
        for _ in 0..10_000 {
            notify.status("full");
        }
        assert!(notify.has_failed.load(Ordering::Relaxed));
        assert!(Notify::to("relative".as_ref()).is_err());
        Notify::default().ready("no socket");
    }

    #[test]
    fn watchdog_interval_is_half_its_time() {
        let cases = [
            (None, None, None),
            (Some("30000000"), None, Some(15_000)),
            (Some("30000000"), Some("7"), Some(15_000)),
            (Some("30000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
        ];
        for (usec, pid, expected_ms) in cases {
            let variables = WatchdogVariables { usec: usec.map(Into::into), pid: pid.map(Into::into) };
            assert_eq!(variables.interval(7), expected_ms.map(Duration::from_millis), "{usec:?} {pid:?}");
        }
    }
}

//! Monitors that do not greet: the hub reports the reason, as far as the host shows it. Skipped without QEMU, unless `CI`
//! is set.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::client::get_json;
use crate::support::config;
use qmp_daemon::Daemon;
use qmp_testing::poll_until;
use serde_json::Value;

/// A QEMU that is killed at the end of the test.
struct Qemu(Child);

impl Qemu {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-S"]).args(arguments);
        Self(command.current_dir(home).stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hub's description of a VM in that state; waits for the state.
async fn in_state(home: &Path, vm: &str, state: &str) -> Value {
    poll_until(&format!("{vm} to be {state}"), async || {
        let (_, found) = get_json(home, &format!("/v1/vms/{vm}")).await;
        Some(found).filter(|found| found["state"] == state)
    })
    .await
}

#[tokio::test]
async fn reason_of_a_missing_greeting_is_reported() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(format!("{name}.sock"));
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let tcp = format!("tcp:{port},server=on,wait=off");
    let held = Qemu::start(home.path(), &["-qmp", "unix:held.sock,server=on,wait=off", "-qmp", &tcp]);
    let stopped = Qemu::start(home.path(), &["-qmp", "unix:stopped.sock,server=on,wait=off"]);
    let agent_options = "-chardev socket,path=agent.sock,server=on,wait=off,id=qga -device virtio-serial -device \
                         virtserialport,chardev=qga,name=org.qemu.guest_agent.0";
    let agent = Qemu::start(home.path(), &agent_options.split_whitespace().collect::<Vec<_>>());
    // A program other than QEMU that never accepts, and one that accepts without a greeting.
    let _silent = UnixListener::bind(at("silent")).expect("binds");
    let accepting = UnixListener::bind(at("accepting")).expect("binds");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        accepting.incoming().for_each(|client| kept.push(client));
    });
    let _holder = poll_until("the monitor to listen", async || UnixStream::connect(at("held")).ok()).await;
    let _tcp_holder = poll_until("the port to listen", async || TcpStream::connect(port).ok()).await;
    poll_until("the sockets", async || (at("stopped").exists() && at("agent").exists()).then_some(())).await;
    stopped.signal("STOP");

    let mut config = config(home.path(), &["held", "stopped", "agent", "silent", "accepting"]);
    config.attach.push(("tcp".parse().expect("a name"), format!("tcp:{port}").parse().expect("an address")));
    let hub = Daemon::start(config).await.expect("starts");
    let this = std::process::id();
    let cases = [
        ("held", "held", format!("process {this} (")),
        ("tcp", "held", format!("process {this} (")),
        ("stopped", "hung", format!("`kill -CONT {}`", stopped.0.id())),
        (
            "agent",
            "not-a-monitor",
            format!(
                "process {} (qemu-system-x86) has it for -device virtserialport,chardev=qga",
                agent.0.id()
            ),
        ),
        ("silent", "unclear", format!("one of these (process {this} (")),
        ("accepting", "not-a-monitor", "accepts connections and sends no greeting".to_owned()),
    ];
    for (name, reason, part) in cases {
        let vm = in_state(home.path(), name, "in-use").await;
        assert_eq!(vm["reason"], reason, "{vm}");
        assert!(vm["error"].as_str().expect("a text").contains(&part), "{name}: {part:?} in {vm}");
    }
    // The obstacle is gone: the monitor is attached, and has no reason.
    stopped.signal("CONT");
    let vm = in_state(home.path(), "stopped", "attached").await;
    assert_eq!((vm.get("reason"), vm.get("error")), (None, None), "{vm}");
    hub.stop().await.expect("stops");
    drop(held);
}

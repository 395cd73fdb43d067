//! A real nats-server for tests, on free ports with a store of its own.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

use crate::wait::wait_for;

/// How long a server may take for its first line, before the next attempt.
const GREETING_WAIT: Duration = Duration::from_secs(5);

/// A nats-server with `JetStream`. It ends on drop.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    home: PathBuf,
    port: u16,
    monitoring_port: u16,
    process: Option<Child>,
}

impl NatsServer {
    /// The programs of the machine: that of Debian, and that of `scripts/foreign-clients`. Empty where there is none, unless
    /// `CI` is set.
    ///
    /// # Panics
    ///
    /// If `CI` is set and one of them is missing.
    #[must_use]
    pub fn programs() -> &'static [PathBuf] {
        static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
        PROGRAMS.get_or_init(|| {
            let path = env::var_os("PATH").unwrap_or_default();
            let directories = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
            let debian =
                directories.map(|directory| directory.join("nats-server")).find(|path| path.is_file());
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-clients");
            let python = Command::new(script).output().ok().filter(|output| output.status.success());
            let later = python.and_then(|output| {
                let python = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
                Some(python.with_file_name("nats-server")).filter(|path| path.is_file())
            });
            let found: Vec<PathBuf> = [debian, later].into_iter().flatten().collect();
            assert!(
                found.len() == 2 || env::var_os("CI").is_none(),
                "only {found:?} of two releases of nats-server"
            );
            if found.len() < 2 {
                eprintln!("only {found:?} of two releases of nats-server");
            }
            found
        })
    }

    /// Starts a server with its files in `home` and further lines of configuration.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(program: &Path, home: &Path, config: &str) -> Self {
        let (port, monitoring_port) = (free_port(), free_port());
        fs::create_dir_all(home).expect("a directory");
        let mut server =
            Self { program: program.into(), home: home.into(), port, monitoring_port, process: None };
        server.configure(config);
        server.restart();
        server
    }

    /// Writes the configuration, for the next start.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn configure(&self, config: &str) {
        let Self { port, monitoring_port, .. } = self;
        let jetstream = if config.contains("jetstream") {
            String::new()
        } else {
            format!("jetstream {{ store_dir: {:?} }}\n", self.store())
        };
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitoring_port}\"\nserver_name: \"s{port}\"\n\
             {jetstream}{config}\n"
        );
        fs::write(self.home.join("nats.conf"), text).expect("writes the configuration");
    }

    /// Kills the server, as a crash of the machine would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the server again, on the same ports with the same store, after killing it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.home.join("nats.conf")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("nats-server starts"));
        wait_for("nats-server", || {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok()).flatten();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(self.log()).unwrap_or_default());
            greeting(self.port)
        });
    }

    /// Whether the server runs: `false` also after a crash.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// The address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port for clients.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of the monitoring pages.
    #[must_use]
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring_port)
    }

    /// The directory of the streams.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// The log of the server.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.join("nats.log")
    }

    /// Replaces the store by that of another directory, while the server is down.
    ///
    /// # Panics
    ///
    /// If a file cannot be copied.
    pub fn replace_store(&self, copy: &Path) {
        assert!(self.process.is_none(), "the server writes to its store");
        fs::remove_dir_all(self.store()).expect("removes the store");
        copy_directory(copy, &self.store());
    }

    /// Copies the store of a server that is down.
    ///
    /// # Panics
    ///
    /// If a file cannot be copied.
    pub fn copy_store(&self, to: &Path) {
        assert!(self.process.is_none(), "the server writes to its store");
        copy_directory(&self.store(), to);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if self.process.is_some() && !self.is_running() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("nats-server ended by itself: {}", &log[log.find("panic: ").unwrap_or(0)..]);
        }
        self.kill();
    }
}

/// Whether a server greets at this port.
fn greeting(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(GREETING_WAIT)).ok()?;
    let mut beginning = [0; 4];
    stream.read_exact(&mut beginning).ok()?;
    (&beginning == b"INFO").then_some(())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("an address").port()
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("reads the directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

//! A daemon at a unix socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::daemon::LibvirtDaemon;

/// A daemon at a unix socket, for one client after another.
#[derive(Debug)]
pub struct LibvirtSocket {
    path: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    daemon: Mutex<LibvirtDaemon>,
    /// There is something to send, or the client is to be disconnected.
    changed: Notify,
    disconnect: Notify,
}

impl LibvirtSocket {
    /// Listens at `path`.
    ///
    /// # Panics
    ///
    /// If the socket cannot be made.
    #[must_use]
    pub fn bind(path: &Path, daemon: LibvirtDaemon) -> Self {
        let listener = UnixListener::bind(path).expect("binds");
        let (changed, disconnect) = (Notify::new(), Notify::new());
        let shared = Arc::new(Shared { daemon: Mutex::new(daemon), changed, disconnect });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { path: path.to_owned(), shared, task }
    }

    /// Lets the test do something with the daemon, and sends what it has to send.
    pub fn with<T>(&self, act: impl FnOnce(&mut LibvirtDaemon) -> T) -> T {
        let result = act(&mut self.shared.lock());
        self.shared.changed.notify_one();
        result
    }

    /// Closes the client's connection. The next one may follow.
    pub fn disconnect(&self) {
        self.shared.disconnect.notify_one();
    }
}

impl Drop for LibvirtSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LibvirtDaemon> {
        self.daemon.lock().expect("no test panicked with the daemon")
    }
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.lock().reset();
        serve_client(stream, &shared).await;
    }
}

async fn serve_client(mut stream: UnixStream, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let output = shared.lock().take_output();
        if stream.write_all(&output).await.is_err() {
            return;
        }
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => shared.lock().handle_input(&buffer[..length]),
            },
            () = shared.changed.notified() => {}
            () = shared.disconnect.notified() => return,
        }
    }
}

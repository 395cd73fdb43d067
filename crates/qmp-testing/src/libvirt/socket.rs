//! A daemon at a unix socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::daemon::LibvirtDaemon;

/// A daemon at a unix socket, for any number of clients.
#[derive(Debug)]
pub struct LibvirtSocket {
    path: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    daemon: Mutex<LibvirtDaemon>,
    /// There is something to send.
    changed: watch::Sender<()>,
    /// The client that gets the events is to be disconnected.
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
        let (changed, disconnect) = (watch::Sender::new(()), Notify::new());
        let shared = Arc::new(Shared { daemon: Mutex::new(daemon), changed, disconnect });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { path: path.to_owned(), shared, task }
    }

    /// Lets the test do something with the daemon, and sends what it has to send.
    pub fn with<T>(&self, act: impl FnOnce(&mut LibvirtDaemon) -> T) -> T {
        let result = act(&mut self.shared.lock());
        self.shared.changed.send_replace(());
        result
    }

    /// Closes the connection of the client that gets the events. The next one may follow.
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
    let mut clients = JoinSet::new();
    for client in 1.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        clients.spawn(async move {
            serve_client(client, stream, &shared).await;
            shared.lock().forget(client);
        });
    }
}

async fn serve_client(client: u32, mut stream: UnixStream, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    let mut changed = shared.changed.subscribe();
    loop {
        let (output, is_follower) = {
            let mut daemon = shared.lock();
            (daemon.take_output_of(client), daemon.is_follower(client))
        };
        if stream.write_all(&output).await.is_err() {
            return;
        }
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => shared.lock().handle_input_of(client, &buffer[..length]),
            },
            _ = changed.changed() => {}
            () = shared.disconnect.notified(), if is_follower => return,
        }
    }
}

//! What a door is guarded with, kept up to date: certificates are renewed and tokens come and go while it serves.
//!
//! The files are looked at every few seconds. A change that cannot be used (a certificate whose key is not there
//! yet) is told once, and what was good stays until the files change again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qmp_host::blocking;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::files::{KeyFileError, Stamp};
use super::http_door::HttpDoor;
use super::tls;
use super::tokens::Tokens;

/// How often the files are looked at. A token that was withdrawn should not be good for long; to ask for the
/// state of three files takes microseconds.
const KEYS_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Certificate and tokens of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl HttpDoor {
    /// Reads certificate and tokens, and forgets them: whether the hub could serve with them.
    ///
    /// # Errors
    ///
    /// Any [`KeyFileError`].
    pub fn check_files(&self) -> Result<(), KeyFileError> {
        Keys::read(self).map(drop)
    }
}

impl Keys {
    /// Reads the files of `door`.
    pub(super) fn read(door: &HttpDoor) -> Result<Self, KeyFileError> {
        let tls = door.tls().map(tls::config).transpose()?;
        let tokens = door.token_file().map(Tokens::read).transpose()?.map(Arc::new);
        Ok(Self { tls, tokens })
    }

    /// Reads the files of `door`, and again when they change, as long as somebody wants them.
    pub(crate) async fn watch(door: &HttpDoor) -> Result<watch::Receiver<Self>, KeyFileError> {
        let door = door.clone();
        // Before reading, so that a change meanwhile is seen.
        let (door, stamps, keys) = blocking(move || {
            let (stamps, keys) = (stamps(&door), Self::read(&door));
            (door, stamps, keys)
        })
        .await;
        let (sender, receiver) = watch::channel(keys?);
        if !stamps.is_empty() {
            tokio::spawn(follow(door, stamps, sender));
        }
        Ok(receiver)
    }
}

async fn follow(door: HttpDoor, mut seen: Vec<Option<Stamp>>, keys: watch::Sender<Keys>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEYS_LOOKED_AT_EVERY) => {}
            () = keys.closed() => return,
        }
        let asked = door.clone();
        let found = blocking(move || stamps(&asked)).await;
        if found == seen {
            continue;
        }
        seen = found;
        let asked = door.clone();
        match blocking(move || Keys::read(&asked)).await {
            Ok(read) => {
                keys.send_replace(read);
                tracing::info!("{door}: certificate and tokens were read again");
            }
            Err(error) => tracing::error!("{door}: the ones before stay in use: {error}"),
        }
    }
}

fn stamps(door: &HttpDoor) -> Vec<Option<Stamp>> {
    files(door).into_iter().map(Stamp::of).collect()
}

fn files(door: &HttpDoor) -> Vec<&Path> {
    let tls = door.tls().into_iter();
    let of_tls = tls.flat_map(|tls| [Some(&*tls.certificate), Some(&*tls.key), tls.client_ca.as_deref()]);
    of_tls.flatten().chain(door.token_file()).collect()
}

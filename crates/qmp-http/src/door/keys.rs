//! Credentials of an endpoint, reloaded while it serves: certificates are renewed, tokens are added and withdrawn.
//!
//! The files are checked every few seconds. A change that cannot be used (such as a certificate whose key is not
//! written yet) is logged once, and the previous credentials stay in use until the files change again.

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

/// How often the files are checked for changes. A withdrawn token must not stay valid for long; reading the metadata of
/// three files takes microseconds.
const KEYS_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Certificate and tokens as of one read.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl HttpDoor {
    /// Reads certificate and tokens and discards them: checks whether the hub could serve with them.
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

    /// Reads the files of `door`, and again after each change, while a receiver exists.
    pub(crate) async fn watch(door: &HttpDoor) -> Result<watch::Receiver<Self>, KeyFileError> {
        let door = door.clone();
        // Stamps are taken before reading, so that a change meanwhile is detected.
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
        let checked = door.clone();
        let found = blocking(move || stamps(&checked)).await;
        if found == seen {
            continue;
        }
        seen = found;
        let changed = door.clone();
        match blocking(move || Keys::read(&changed)).await {
            Ok(read) => {
                keys.send_replace(read);
                tracing::info!("{door}: certificate and tokens were reloaded");
            }
            Err(error) => tracing::error!("{door}: the previous certificate and tokens stay in use: {error}"),
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

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
use super::http_endpoint::HttpEndpoint;
use super::tls;
use super::tokens::Tokens;

/// How often the files are checked for changes. A withdrawn token must not stay valid for long; reading the metadata of
/// three files takes microseconds.
const CREDENTIALS_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Certificate and tokens as of one read.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl HttpEndpoint {
    /// Reads certificate and tokens and discards them: checks whether the hub could serve with them.
    ///
    /// # Errors
    ///
    /// Any [`KeyFileError`].
    pub fn check_files(&self) -> Result<(), KeyFileError> {
        Credentials::read(self).map(drop)
    }
}

impl Credentials {
    /// Reads the files of `endpoint`.
    pub(super) fn read(endpoint: &HttpEndpoint) -> Result<Self, KeyFileError> {
        let tls = endpoint.tls().map(tls::config).transpose()?;
        let tokens = endpoint.token_file().map(Tokens::read).transpose()?.map(Arc::new);
        Ok(Self { tls, tokens })
    }

    /// Reads the files of `endpoint`, and again after each change, while a receiver exists.
    pub(crate) async fn watch(endpoint: &HttpEndpoint) -> Result<watch::Receiver<Self>, KeyFileError> {
        let endpoint = endpoint.clone();
        // Stamps are taken before reading, so that a change meanwhile is detected.
        let (endpoint, stamps, credentials) = blocking(move || {
            let (stamps, credentials) = (stamps(&endpoint), Self::read(&endpoint));
            (endpoint, stamps, credentials)
        })
        .await;
        let (sender, receiver) = watch::channel(credentials?);
        if !stamps.is_empty() {
            tokio::spawn(follow(endpoint, stamps, sender));
        }
        Ok(receiver)
    }
}

async fn follow(
    endpoint: HttpEndpoint,
    mut previous: Vec<Option<Stamp>>,
    credentials: watch::Sender<Credentials>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CREDENTIALS_CHECK_INTERVAL) => {}
            () = credentials.closed() => return,
        }
        let checked = endpoint.clone();
        let found = blocking(move || stamps(&checked)).await;
        if found == previous {
            continue;
        }
        previous = found;
        let changed = endpoint.clone();
        match blocking(move || Credentials::read(&changed)).await {
            Ok(read) => {
                credentials.send_replace(read);
                tracing::info!("{endpoint}: certificate and tokens were reloaded");
            }
            Err(error) => {
                tracing::error!("{endpoint}: the previous certificate and tokens stay in use: {error}");
            }
        }
    }
}

fn stamps(endpoint: &HttpEndpoint) -> Vec<Option<Stamp>> {
    files(endpoint).into_iter().map(Stamp::of).collect()
}

fn files(endpoint: &HttpEndpoint) -> Vec<&Path> {
    let tls = endpoint.tls().into_iter();
    let of_tls = tls.flat_map(|tls| [Some(&*tls.certificate), Some(&*tls.key), tls.client_ca.as_deref()]);
    of_tls.flatten().chain(endpoint.token_file()).collect()
}

//! Servers and credentials, and the connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::error::FleetError;

/// How long connecting to one server may take: name resolution, TCP, TLS and authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the reply to a request may take. A cluster that elects a leader drops requests: the next attempt should follow soon
/// after that.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval in which an idle connection is probed. The second probe without a reply ends the connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Commands to a connection that wait for its task: more than a window of messages.
const COMMANDS_MAX: usize = 4_096;

/// The address of a server, and the login in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Without the login.
    address: ServerAddr,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    Password { user: String, password: String },
    Token(String),
}

/// Errors of reading a [`ServerAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerAddressError {
    /// Not an address of NATS.
    #[error("expected an address such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.org\"")]
    NotAnAddress,
}

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Servers of one cluster; they are tried in turn. The first login applies to all.
    pub addresses: Vec<ServerAddress>,
    /// The file with the JWT and the seed of a user.
    pub credentials_file: Option<PathBuf>,
    /// The authorities that are trusted instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// The file with the client's certificate and its key.
    pub certificate: Option<PathBuf>,
    /// The name of the connection, for the operators of the server.
    pub name: Box<str>,
}

/// What a connection reports while it is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionEvents {
    /// Whether the connection was lost.
    pub(crate) is_lost: bool,
    /// The last violation of a permission.
    pub(crate) denied: Option<Box<str>>,
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        if !text.starts_with("nats://") && !text.starts_with("tls://") {
            return Err(ServerAddressError::NotAnAddress);
        }
        let address: ServerAddr = text.parse().map_err(|_| ServerAddressError::NotAnAddress)?;
        let is_plain = matches!(address.clone().into_inner().path(), "" | "/");
        if address.host().is_empty() || !is_plain {
            return Err(ServerAddressError::NotAnAddress);
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = address.username().map(|user| match address.password() {
            Some(password) => Login::Password { user: decoded(user), password: decoded(password) },
            None => Login::Token(decoded(user)),
        });
        let mut url = address.into_inner();
        let is_stripped = url.set_username("").is_ok() && url.set_password(None).is_ok();
        let address = ServerAddr::from_url(url).map_err(|_| ServerAddressError::NotAnAddress)?;
        if !is_stripped {
            return Err(ServerAddressError::NotAnAddress);
        }
        Ok(Self { address, login })
    }
}

/// The address without the login.
impl fmt::Display for ServerAddress {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.address.as_url_str().trim_end_matches('/'))
    }
}

/// The address without the login.
impl fmt::Debug for ServerAddress {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{self}")
    }
}

impl ServerConfig {
    /// The addresses for people, without logins.
    #[must_use]
    pub fn shown(&self) -> String {
        let shown: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        shown.join(", ")
    }

    /// Connects to one of the servers. A lost connection stays lost: the caller connects again, and knows by that which
    /// messages the server may not have got.
    pub(crate) async fn connect(&self) -> Result<(Client, watch::Receiver<ConnectionEvents>), FleetError> {
        let (events, reported) = watch::channel(ConnectionEvents::default());
        let options = self.options().await?.event_callback(move |event| {
            events.send_modify(|events| match event {
                Event::Disconnected | Event::Closed => events.is_lost = true,
                Event::ServerError(error) => {
                    let text = error.to_string();
                    if text.to_lowercase().contains("permissions violation") {
                        let text = text.trim_start_matches("nats: ");
                        events.denied = Some(text.into());
                    }
                }
                _ => {}
            });
            std::future::ready(())
        });
        let addresses: Vec<ServerAddr> = self.addresses.iter().map(|server| server.address.clone()).collect();
        let client = options.connect(addresses).await.map_err(|error| connect_error(&error))?;
        Ok((client, reported))
    }

    async fn options(&self) -> Result<ConnectOptions, FleetError> {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .client_capacity(COMMANDS_MAX)
            .max_reconnects(self.addresses.len());
        match self.addresses.iter().find_map(|server| server.login.clone()) {
            Some(Login::Password { user, password }) => options = options.user_and_password(user, password),
            Some(Login::Token(token)) => options = options.token(token),
            None => {}
        }
        if let Some(path) = &self.credentials_file {
            let read = options.credentials_file(path).await;
            options = read.map_err(|source| FleetError::Credentials { path: path.clone(), source })?;
        }
        if let Some(path) = &self.ca_file {
            check_readable(path).await?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some(path) = &self.certificate {
            check_readable(path).await?;
            options = options.add_client_certificate(path.clone(), path.clone()).require_tls(true);
        }
        Ok(options)
    }
}

/// The error of the client does not name the file.
async fn check_readable(path: &Path) -> Result<(), FleetError> {
    let file = path.to_owned();
    let opened = qmp_host::blocking(move || std::fs::File::open(file).map(drop)).await;
    opened.map_err(|source| FleetError::Certificates { path: path.into(), source })
}

fn connect_error(error: &ConnectError) -> FleetError {
    if error.kind() == ConnectErrorKind::AuthorizationViolation {
        return FleetError::Unauthorized;
    }
    // The source has the details, and the kind alone names nothing.
    let source = std::error::Error::source(error).map(ToString::to_string);
    let cause = source.unwrap_or_else(|| error.to_string());
    if cause.to_lowercase().contains("authorization violation")
        || cause.to_lowercase().contains("user authentication")
    {
        return FleetError::Unauthorized;
    }
    if error.kind() == ConnectErrorKind::Tls || is_of_tls(&cause) {
        return FleetError::Tls { cause: cause.into() };
    }
    FleetError::Connect { cause: cause.into() }
}

/// Whether the text is an error of a certificate or an alert of the peer: after the handshake, the client reports them as those
/// of reading.
fn is_of_tls(cause: &str) -> bool {
    let cause = cause.to_lowercase();
    ["certificate", "fatal alert", "tls"].iter().any(|word| cause.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_shown_without_its_login() {
        let cases = [
            ("nats://127.0.0.1:4222", Some(("nats://127.0.0.1:4222", None))),
            ("tls://nats.example.org", Some(("tls://nats.example.org", None))),
            ("nats://[::1]:4222/", Some(("nats://[::1]:4222", None))),
            ("nats://me:s%40crt@h:1", Some(("nats://h:1", Some(("me", "s@crt"))))),
            ("nats://t0ken@h:1", Some(("nats://h:1", Some(("", "t0ken"))))),
            ("127.0.0.1:4222", None),
            ("http://127.0.0.1", None),
            ("ws://127.0.0.1", None),
            ("nats://", None),
            ("nats://h/path", None),
        ];
        for (text, expected) in cases {
            let parsed: Option<ServerAddress> = text.parse().ok();
            let found = parsed.map(|address| {
                assert!(!format!("{address:?} {address}").contains("crt"), "{address:?}");
                let login = address.login.clone().map(|login| match login {
                    Login::Password { user, password } => (user, password),
                    Login::Token(token) => (String::new(), token),
                });
                (address.to_string(), login)
            });
            let owned = |(user, secret): (&str, &str)| (user.to_owned(), secret.to_owned());
            let expected = expected.map(|(shown, login)| (shown.to_owned(), login.map(owned)));
            assert_eq!(found, expected, "{text}");
        }
    }
}

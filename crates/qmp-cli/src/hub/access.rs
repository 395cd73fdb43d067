//! The hub's address, the client's credentials and the trusted authorities, from the command line and the environment.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;

use super::address::HubAddress;
use super::client::HubClient;
use super::tls;
use crate::exit::Failure;
use crate::output;
use crate::paths::DefaultPaths;

/// The address of the hub, and the credentials for it.
#[derive(Args, Clone, Debug, Default)]
pub struct HubArgs {
    /// The hub's address, such as unix:/run/qmp-events/hub.sock, tcp:127.0.0.1:8080 or https://host:8443
    #[arg(long, value_name = "ADDR", env = "QMP_HUB", hide_env_values = true)]
    pub hub: Option<HubAddress>,

    /// The file of the token for the hub; the default is the token in the variable QMP_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The authority of the hub's certificate (PEM), instead of those that the system trusts
    #[arg(long, value_name = "FILE", env = "QMP_HUB_CA", hide_env_values = true)]
    hub_ca: Option<PathBuf>,

    /// The certificate and key of this client (PEM, in one file), for a hub that requires a client certificate
    #[arg(long, value_name = "FILE", env = "QMP_HUB_CERTIFICATE", hide_env_values = true)]
    hub_certificate: Option<PathBuf>,
}

impl HubArgs {
    /// The hub that a command uses without `--hub`.
    pub fn of_environment() -> HubAddress {
        Self::named_by_environment().unwrap_or_else(default_hub)
    }

    /// Whether the hub is the one that the environment names.
    pub fn is_of_the_environment(&self) -> bool {
        self.hub.is_some() && self.hub == Self::named_by_environment()
    }

    /// The hub that the environment names, if the address is valid.
    pub fn named_by_environment() -> Option<HubAddress> {
        std::env::var("QMP_HUB").ok().and_then(|text| text.parse().ok())
    }

    /// A client of the given hub, or of the default hub of this user.
    pub fn client(&self) -> Result<HubClient, Failure> {
        let address = self.hub.clone().unwrap_or_else(hub_of_this_user_or_the_system);
        let tls = match &address {
            HubAddress::Https { .. } => {
                Some(tls::connector(self.hub_ca.as_deref(), self.hub_certificate.as_deref())?)
            }
            _ if self.hub_ca.is_some() && !self.is_of_the_environment() => {
                let failure =
                    Failure::usage(format_args!("--hub-ca is for a hub with TLS, and {address} has none"));
                return Err(failure.hint("--hub https://HOST:PORT"));
            }
            _ => None,
        };
        Ok(HubClient { address, token: self.token()?, tls, has_notes: true })
    }

    fn token(&self) -> Result<Option<Box<str>>, Failure> {
        match (&self.token_file, std::env::var("QMP_TOKEN")) {
            (Some(path), _) => of_file(path).map(Some),
            (None, Ok(token)) if !token.trim().is_empty() => checked(&token, "QMP_TOKEN").map(Some),
            (None, _) => Ok(None),
        }
    }
}

fn default_hub() -> HubAddress {
    HubAddress::Unix(DefaultPaths::of_this_user().hub())
}

/// The hub of this user, if a process listens at its socket; or else the hub of the system, if it has a socket.
fn hub_of_this_user_or_the_system() -> HubAddress {
    let paths = DefaultPaths::of_this_user();
    let own = paths.hub();
    match paths.system_hub() {
        Some(system) if UnixStream::connect(&own).is_err() && system.exists() => {
            output::note(format_args!(
                "note: no hub answers at {}; asking the system's hub at {}",
                own.display(),
                system.display()
            ));
            HubAddress::Unix(system)
        }
        _ => HubAddress::Unix(own),
    }
}

fn of_file(path: &Path) -> Result<Box<str>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format_args!("cannot read the token in {}: {error}", path.display()))
    })?;
    checked(&text, &path.display().to_string())
}

/// Returns the token without the line end.
fn checked(text: &str, place: &str) -> Result<Box<str>, Failure> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        // The content is not shown.
        let failure = Failure::usage(format_args!(
            "{place} is not a token: expected one word of printable letters and digits"
        ));
        return Err(
            failure.hint("the file of a client has only its token; NAME and role are in the hub's file")
        );
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_one_word() {
        let cases = [
            ("abc\n", Some("abc")),
            ("  a+b/c==  \r\n", Some("a+b/c==")),
            ("", None),
            ("\n", None),
            ("ci abc operate", None),
            ("a\nb", None),
            ("ä", None),
        ];
        for (text, expected) in cases {
            match (checked(text, "/t"), expected) {
                (Ok(token), Some(expected)) => assert_eq!(&*token, expected),
                (Err(error), None) => {
                    let error = error.to_string();
                    assert!(error.starts_with("qmp: /t is not a token: expected one word"), "{error}");
                    assert!(!error.contains("abc"), "{error}");
                }
                (read, _) => panic!("{text:?}: {read:?}"),
            }
        }
    }
}

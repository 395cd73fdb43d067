//! TLS to a hub: trusted authorities, and hints for errors.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::HubError;
use crate::exit::Failure;

/// Creates a connector that trusts the authorities of `ca`, or those of the system; `own` has the certificate of this client
/// and its key.
pub(super) fn connector(ca: Option<&Path>, own: Option<&Path>) -> Result<TlsConnector, Failure> {
    let roots = match ca {
        Some(path) => authorities(path)?,
        None => of_the_system(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::failed)?
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(path) => {
            let (chain, key) = identity(path)?;
            let wrong = |error| {
                Failure::usage(format_args!("cannot use the certificate {}: {error}", path.display()))
            };
            config.with_client_auth_cert(chain, key).map_err(wrong)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(path)?);
    match roots.is_empty() {
        true => Err(no_certificate(path)),
        false => Ok(roots),
    }
}

fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Certificates that cannot be read are not trusted; a hub signed by one fails with its own error.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = std::fs::read(path).map_err(|error| {
        Failure::usage(format_args!("cannot read the certificate {}: {error}", path.display()))
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| no_certificate(path))
}

fn no_certificate(path: &Path) -> Failure {
    Failure::usage(format_args!(
        "{} holds no certificate; it should be PEM, beginning with -----BEGIN",
        path.display()
    ))
}

fn identity(path: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let key = PrivateKeyDer::from_pem_file(path).map_err(|_| {
        Failure::usage(format_args!(
            "{} holds no private key; put certificate and key into this one file",
            path.display()
        ))
    })?;
    Ok((certificates(path)?, key))
}

/// Performs the TLS handshake with the hub at `host`.
pub(super) async fn connect(
    connector: &TlsConnector,
    host: &str,
    stream: TcpStream,
    address: &str,
) -> Result<TlsStream<TcpStream>, HubError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| HubError::NotTrusted {
        address: address.into(),
        why: error.to_string(),
        hint: None,
    })?;
    connector.connect(name, stream).await.map_err(|error| failed(address, error))
}

/// Translates an error of TLS for the user. The error may arrive with the first response only: with TLS 1.3 a server
/// checks the client's certificate after the handshake.
pub(super) fn failed(address: &str, error: io::Error) -> HubError {
    let Some(cause) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
        return HubError::NotRunning { address: address.into(), error };
    };
    let authority = "give the file of its authority: --hub-ca FILE";
    let (why, hint) = match cause {
        // The last kind: a trusted authority has the same name and a key of another type.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => ("its certificate comes from an authority that is not trusted here".to_owned(), Some(authority)),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => (
            "its certificate has expired".to_owned(),
            Some("renew it; the hub reloads the file by itself; or is the clock of this host wrong?"),
        ),
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => ("its certificate is not valid yet".to_owned(), Some("is the clock of this host wrong?")),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            (format!("its certificate is for {}", names.join(", ")), Some("use one of these names in --hub"))
        }
        Error::InvalidCertificate(CertificateError::NotValidForName) => {
            ("its certificate is for another name".to_owned(), None)
        }
        // The default of `openssl req -x509`; the type of this error is not public.
        Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            (
                "its certificate is one of an authority, which is for signing others".to_owned(),
                Some(
                    "a self-signed certificate needs CA:FALSE: openssl req -x509 … -addext basicConstraints=critical,CA:FALSE",
                ),
            )
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            "the peer does not speak TLS".to_owned(),
            Some("a port of this host without a certificate has the address tcp:127.0.0.1:PORT"),
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::UnknownCA) => (
            "it requires a client certificate".to_owned(),
            Some("give a file with certificate and key: --hub-certificate FILE"),
        ),
        other => (other.to_string(), None),
    };
    HubError::NotTrusted { address: address.into(), why, hint }
}

/// Reduces `DnsName("localhost")` to localhost.
fn plain_name(name: &str) -> &str {
    name.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")")).unwrap_or(name)
}

//! The certificate of an endpoint: TLS 1.2 and 1.3, by rustls.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::files::{KeyFileError, Secrecy, TlsFiles, read};

/// Reads certificate and key into a configuration for rustls.
pub(super) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, KeyFileError> {
    let unusable = |error: String| KeyFileError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error: error.into(),
    };
    let chain = certificates(&files.certificate)?;
    let no_key = || KeyFileError::Missing { what: "private key", path: files.key.clone() };
    let key = read(&files.key, "private key", Secrecy::Private)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| no_key())?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let config = match &files.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let no_authority =
                || KeyFileError::Missing { what: "certificate of an authority", path: path.clone() };
            let mut authorities = RootCertStore::empty();
            authorities.add_parsable_certificates(certificates(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
                .build()
                .map_err(|_| no_authority())?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let mut config = config.with_single_cert(chain, key).map_err(|error| {
        unusable(match error {
            rustls::Error::InconsistentKeys(_) => "the key belongs to another certificate".to_owned(),
            error => error.to_string(),
        })
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, KeyFileError> {
    let bytes = read(path, "certificate", Secrecy::Public)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(KeyFileError::Missing { what: "certificate", path: path.into() }),
    }
}

//! Certificates, tokens, and a client with TLS.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use qmp_daemon::Daemon;
use qmp_http::{HttpAddress, HttpEndpoint, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A token that may only observe.
pub(crate) const LOOK: &str = "look-look-look-look-look-look-look";

/// A token that may only stop VMs.
pub(crate) const STOP: &str = "stop-stop-stop-stop-stop-stop-stop";

/// A token that may execute any command.
pub(crate) const ANY: &str = "any.any.any.any.any.any.any.any.any";

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `ca.pem`, and a certificate for this host and its key to `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, home: &Path, name: &str, until_year: i32) -> TlsFiles {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(&home.join("ca.pem"), &self.pem);
        TlsFiles {
            certificate: write(&home.join(format!("{name}.pem")), &certificate.pem()),
            key: write(&home.join(format!("{name}.key")), &key.serialize_pem()),
            client_ca: None,
        }
    }

    /// A client that trusts this authority, with the client certificate `own` if given.
    pub(crate) fn client(&self, own: Option<&TlsFiles>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a certificate"))
            .expect("a valid certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.certificate).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                config.with_client_auth_cert(chain, key).expect("key and certificate match")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Writes a private file atomically.
pub(crate) fn write(path: &Path, text: &str) -> PathBuf {
    let temporary = path.with_extension("writing");
    std::fs::write(&temporary, text).expect("writes");
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600)).expect("sets");
    std::fs::rename(&temporary, path).expect("renames");
    path.to_owned()
}

/// The token file of most tests.
pub(crate) fn write_tokens(home: &Path) -> PathBuf {
    let text = format!("grafana {LOOK}\nci {STOP} operate stop\nadmin {ANY} operate\n");
    write(&home.join("tokens"), &text)
}

/// An endpoint at a free port of this host.
pub(crate) fn endpoint(tls: Option<TlsFiles>, token_file: Option<PathBuf>) -> HttpEndpoint {
    let address: HttpAddress = "tcp:127.0.0.1:0".parse().expect("an address");
    HttpEndpoint::new(address, tls, token_file).expect("an endpoint")
}

/// The port of the hub's last endpoint.
pub(crate) fn port(hub: &Daemon) -> SocketAddr {
    match hub.http().last().expect("an endpoint").address() {
        HttpAddress::Tcp(port) => *port,
        HttpAddress::Unix(path) => panic!("{}", path.display()),
    }
}

/// Connects and completes the TLS handshake.
pub(crate) async fn connect(
    client: &TlsConnector,
    port: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, TcpStream::connect(port).await?).await
}

/// A request with `token`, if any.
pub(crate) fn build_request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "hub.example");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json");
    request.body(Full::from(body.to_owned())).expect("a request")
}

/// Sends a request over TLS.
pub(crate) async fn request_over_tls(
    client: &TlsConnector,
    port: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Response<Incoming> {
    let stream = connect(client, port).await.expect("connects");
    super::client::send_request(stream, request).await
}

//! The HTTP endpoints of `qmp serve`, from the command line.

use std::path::PathBuf;

use clap::Args;
use qmp_http::{HttpAddress, HttpEndpoint, HttpEndpointError, TlsFiles};

use crate::exit::Failure;

/// The endpoints of the command line; certificate and tokens apply to every TCP address among them.
#[derive(Args, Clone, Debug, Default)]
pub struct EndpointArgs {
    /// Where to serve HTTP: unix:PATH, tcp:127.0.0.1:PORT, or any other interface with certificate and tokens; may be
    /// given several times; the default is the configuration, or else the usual socket
    #[arg(long, value_name = "ADDR")]
    http: Vec<HttpAddress>,

    /// The certificate (PEM) for each tcp: address of --http, followed by the chain to its authority
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// The private key (PEM) of the certificate
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// The authority (PEM) that must have signed the certificates of clients
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// The tokens for each tcp: address of --http; lines of NAME TOKEN [observe|operate [COMMAND...]]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl EndpointArgs {
    /// The endpoints that the command line gives.
    pub fn endpoints(&self) -> Result<Vec<HttpEndpoint>, Failure> {
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key, client_ca) =
                    (certificate.clone(), key.clone(), self.tls_client_ca.clone());
                Some(TlsFiles { certificate, key, client_ca })
            }
            (Some(_), None) => return Err(Failure::usage("--tls-certificate needs --tls-key")),
            (None, Some(_)) => return Err(Failure::usage("--tls-key needs --tls-certificate")),
            (None, None) if self.tls_client_ca.is_some() => {
                return Err(Failure::usage("--tls-client-ca needs --tls-certificate and --tls-key"));
            }
            (None, None) => None,
        };
        let is_guarded = tls.is_some() || self.token_file.is_some();
        if is_guarded && !self.http.iter().any(|address| address.unix_path().is_none()) {
            let failure =
                Failure::usage("certificate and tokens are for a tcp: address of --http, and there is none");
            return Err(failure.hint("--http tcp:0.0.0.0:8443"));
        }
        let endpoint = |address: &HttpAddress| match address.unix_path() {
            Some(path) => Ok(HttpEndpoint::unix(path)),
            None => HttpEndpoint::new(address.clone(), tls.clone(), self.token_file.clone())
                .map_err(|error| refused(&error)),
        };
        self.http.iter().map(endpoint).collect()
    }
}

fn refused(error: &HttpEndpointError) -> Failure {
    let HttpEndpointError::Exposed { address, has, .. } = error else { return Failure::usage(error) };
    let failure = Failure::usage(format_args!(
        "{address} can be reached from other hosts, so it needs a certificate and tokens, and has {has}"
    ));
    failure.hint("--tls-certificate FILE --tls-key FILE --token-file FILE").hint(
        "or serve at a unix socket or at tcp:127.0.0.1:PORT, which is reached from other hosts with ssh -L",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        endpoints: EndpointArgs,
    }

    #[test]
    fn certificate_and_tokens_apply_to_tcp_addresses() {
        let exposed = "qmp: tcp:0.0.0.0:1 can be reached from other hosts, so it needs a certificate and tokens, and has";
        let cases = [
            ("", Ok("")),
            ("--http /h", Ok("unix:/h - -")),
            ("--http 127.0.0.1:1", Ok("tcp:127.0.0.1:1 - -")),
            ("--http /h --http [::1]:1 --token-file /t", Ok("unix:/h - -|tcp:[::1]:1 - /t")),
            (
                "--http 0.0.0.0:1 --tls-certificate /c --tls-key /k --tls-client-ca /a --token-file /t",
                Ok("https://0.0.0.0:1 /c,/k,/a /t"),
            ),
            ("--http 0.0.0.0:1", Err(format!("{exposed} neither"))),
            ("--http 0.0.0.0:1 --token-file /t", Err(format!("{exposed} no certificate"))),
            ("--http 0.0.0.0:1 --tls-certificate /c --tls-key /k", Err(format!("{exposed} no tokens"))),
            ("--http [::1]:1 --tls-certificate /c", Err("qmp: --tls-certificate needs --tls-key".into())),
            ("--http [::1]:1 --tls-key /k", Err("qmp: --tls-key needs --tls-certificate".into())),
            (
                "--http [::1]:1 --tls-client-ca /k",
                Err("qmp: --tls-client-ca needs --tls-certificate and --tls-key".into()),
            ),
            (
                "--http /h --token-file /t",
                Err("qmp: certificate and tokens are for a tcp: address of --http, and there is none".into()),
            ),
        ];
        for (line, expected) in cases {
            let words = ["serve"].into_iter().chain(line.split_whitespace());
            let read = CommandLine::try_parse_from(words).expect(line).endpoints.endpoints();
            match (read, expected) {
                (Ok(endpoints), Ok(expected)) => {
                    assert_eq!(endpoints.iter().map(shown).collect::<Vec<_>>().join("|"), expected);
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().starts_with(&expected), "{line}: {error}");
                }
                (read, _) => panic!("{line}: {read:?}"),
            }
        }
    }

    fn shown(endpoint: &HttpEndpoint) -> String {
        let tls = endpoint.tls().map(|tls| {
            let files = [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()];
            files.into_iter().flatten().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
        });
        let tokens = endpoint.token_file().map(|path| path.display().to_string());
        format!("{endpoint} {} {}", tls.as_deref().unwrap_or("-"), tokens.as_deref().unwrap_or("-"))
    }
}

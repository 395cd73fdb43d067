//! Certificates, and the JWTs of an operator, an account and a user, as `nsc` makes them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer};
use serde_json::{Value, json};

/// An authority with its certificate in a file.
pub(crate) struct Authority {
    path: PathBuf,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new(home: &Path, name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let path = home.join(format!("{name}.pem"));
        std::fs::write(&path, params.self_signed(&key).expect("a certificate").pem()).expect("writes");
        Self { path, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file with a certificate and its key.
    pub(crate) fn certificate(&self, name: &str, hosts: &[&str]) -> PathBuf {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let path = self.path.with_extension(format!("{name}.pem"));
        std::fs::write(&path, format!("{certificate}{}", key.serialize_pem())).expect("writes");
        path
    }
}

/// An operator with one account.
pub(crate) struct Operator {
    operator: KeyPair,
    account: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self { operator: KeyPair::new_operator(), account: KeyPair::new_account() }
    }

    /// The lines of a server that trusts the operator.
    pub(crate) fn config(&self) -> String {
        let of_operator = jwt(&self.operator, &self.operator.public_key(), "operator", &json!({}));
        // Without a limit; the account of the system cannot have JetStream.
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1
        });
        let mut with_jetstream = limits.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            with_jetstream[limit] = (-1).into();
        }
        let system = KeyPair::new_account();
        let account = |account: &KeyPair, limits: &Value| {
            let key = account.public_key();
            format!("{key}: {}", jwt(&self.operator, &key, "account", &json!({ "limits": limits })))
        };
        format!(
            "operator: {of_operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}",
            system.public_key(),
            account(&system, &limits),
            account(&self.account, &with_jetstream),
        )
    }

    /// A file of credentials of a user of the account.
    pub(crate) fn credentials(&self, path: &Path) -> PathBuf {
        let user = KeyPair::new_user();
        let of_user =
            jwt(&self.account, &user.public_key(), "user", &json!({ "subs": -1, "data": -1, "payload": -1 }));
        let seed = user.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(path, text).expect("writes");
        path.to_owned()
    }
}

/// A JWT about `subject` with the signature of `issuer`.
fn jwt(issuer: &KeyPair, subject: &str, kind: &str, more: &Value) -> String {
    let mut nats = more.clone();
    (nats["type"], nats["version"]) = (kind.into(), 2.into());
    let claims = json!({ "jti": subject, "iat": 1_767_312_000, "iss": issuer.public_key(), "name": kind, "sub": subject, "nats": nats });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

//! Signatures by Standard Webhooks: HMAC-SHA256 of `ID.TIMESTAMP.BODY`, in base64 after `v1,`.
//!
//! The secret is in a file: `whsec_` and base64, or any other text, which is used as it is.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The longest secret, in bytes. Standard Webhooks requires 24 to 64.
const SECRET_MAX_BYTES: u64 = 4 << 10;

/// The prefix of a secret in base64, by Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";

/// Reads a secret, for each request, so that the file can be replaced without a reload of the hub.
pub(super) fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut text = String::new();
    qmp_host::open_regular(path)
        .and_then(|file| file.take(SECRET_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot read the secret in {shown}: {error}"))?;
    let text = text.trim();
    if text.is_empty() || text.len() as u64 > SECRET_MAX_BYTES {
        return Err(format!("{shown} should hold a secret of 1 to {SECRET_MAX_BYTES} bytes"));
    }
    match text.strip_prefix(SECRET_PREFIX) {
        None => Ok(text.as_bytes().to_vec()),
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|error| format!("{shown}: no base64 after {SECRET_PREFIX}: {error}")),
    }
}

/// The value of `webhook-signature`.
pub(super) fn sign(secret: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// A warning about the file of a secret.
pub(super) fn warning(path: &Path) -> Option<String> {
    if let Err(error) = secret(path) {
        return Some(error);
    }
    let shown = path.display();
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & 0o007 != 0)
        .then(|| format!("every user of this host may read the secret in {shown}; try: chmod o= {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks, and one computed with Python's `hmac`.
    #[test]
    fn signature_matches_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        type Case<'a> = (&'a [u8], &'a str, i64, &'a [u8], &'a str);
        let cases: [Case<'_>; 2] = [
            (
                &secret,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (b"geheim", "a:b:1", 5, b"{}", "v1,Vm+9Oi7ZHhFjtMO4Jk0HySaouF2vMIz640OHgb4+QYo="),
        ];
        for (secret, id, seconds, body, expected) in cases {
            assert_eq!(sign(secret, id, seconds, body), expected, "{id}");
        }
    }

    #[test]
    fn secret_is_read_as_text_or_base64_and_open_file_warns() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("secret");
        let cases = [
            ("geheim\n", Ok(b"geheim".to_vec())),
            ("whsec_AAEC\n", Ok(vec![0, 1, 2])),
            ("whsec_?", Err("no base64 after whsec_")),
            (" \n", Err("should hold a secret of 1 to")),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).expect("writes");
            match (secret(&path), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
        assert!(secret(&home.path().join("none")).expect_err("missing").contains("cannot read the secret"));
        std::fs::write(&path, "x").expect("writes");
        for (mode, is_warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("sets");
            assert_eq!(warning(&path).is_some(), is_warned, "{mode:o}");
        }
    }
}

//! The address of a receiver.

use std::str::FromStr;

use hyper::Uri;

/// The parts of a receiver's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) is_tls: bool,
    /// A name or an address, without brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// The value of `Host`.
    pub(crate) host_header: Box<str>,
    /// Path and query.
    pub(crate) path: Box<str>,
}

/// Errors of parsing an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("expected an address such as \"https://example.org/hook\"")]
    NotAnAddress,
    #[error("a receiver is http or https, not {0}")]
    Scheme(Box<str>),
    #[error("a login in the address would be in every log; use `secret-file` or `headers` instead")]
    Login,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::NotAnAddress)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TargetError::NotAnAddress);
        };
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            other => return Err(TargetError::Scheme(other.into())),
        };
        if authority.as_str().contains('@') {
            return Err(TargetError::Login);
        }
        let host = authority.host();
        if host.is_empty() || (authority.port_u16().is_none() && authority.as_str() != host) {
            return Err(TargetError::NotAnAddress);
        }
        Ok(Self {
            is_tls,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host_header: authority.as_str().into(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
        })
    }
}

impl Target {
    /// The address for people. Path and query are left out: they may be secrets, as with many chat services.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let more = if &*self.path == "/" { "" } else { "/…" };
        format!("{scheme}://{}{more}", self.host_header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_parsed_or_refused() {
        let cases = [
            ("https://example.org/hook?a=b", Ok("tls example.org 443 /hook?a=b https://example.org/…")),
            ("http://127.0.0.1:8080", Ok("plain 127.0.0.1 8080 / http://127.0.0.1:8080")),
            ("http://[::1]:80/x", Ok("plain ::1 80 /x http://[::1]:80/…")),
            ("ftp://example.org/", Err(TargetError::Scheme("ftp".into()))),
            ("https://me:secret@example.org/", Err(TargetError::Login)),
            ("example.org/hook", Err(TargetError::NotAnAddress)),
            ("/hook", Err(TargetError::NotAnAddress)),
            ("https://", Err(TargetError::NotAnAddress)),
            ("https://x:99999/", Err(TargetError::NotAnAddress)),
            ("http://a b/", Err(TargetError::NotAnAddress)),
        ];
        for (text, expected) in cases {
            let found = text.parse::<Target>().map(|target| {
                let scheme = if target.is_tls { "tls" } else { "plain" };
                format!("{scheme} {} {} {} {}", target.host, target.port, target.path, target.shown())
            });
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }
}

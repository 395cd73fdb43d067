//! The token file: the clients of an endpoint, and the commands that each may give.
//!
//! ```text
//! # name    token, or its SHA-256             role and commands
//! grafana   sha256:9f86d081884c7d65…          observe
//! ci        kq3vL0…                           operate stop cont block*
//! admin     sha256:60303ae22b998861…          operate
//! ```
//!
//! Roles are those of a relay: `observe` permits reading everything and giving commands that change nothing; `operate`
//! permits all commands, or those whose names match. Only the SHA-256 of each token is held in memory. Tokens are
//! random and long, so neither salt nor many rounds are needed.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use qmp_hub::relay::Role;
use qmp_journal::Globs;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::files::{KeyFileError, Secrecy, read};

/// The shortest token, in bytes: 32 hexadecimal digits have 128 bits, too many to guess.
const TOKEN_MIN_BYTES: usize = 32;

/// The longest token, in bytes; it is a line in the head of each request.
const TOKEN_MAX_BYTES: usize = 512;

/// The longest name of a token, in bytes; it is written into the record of each command.
const TOKEN_NAME_MAX_BYTES: usize = 64;

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) name: Box<str>,
    pub(crate) role: Role,
    digest: [u8; 32],
}

/// All tokens of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Tokens(Vec<Arc<Token>>);

impl Tokens {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read(path, "token file", Secrecy::Private)?;
        let text = String::from_utf8_lossy(&bytes);
        let tokens = Self::parse(&text).map_err(|(line, what)| KeyFileError::Token {
            path: path.into(),
            line,
            what: what.into(),
        })?;
        if tokens.0.is_empty() {
            return Err(KeyFileError::NoToken { path: path.into() });
        }
        Ok(tokens)
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        let mut tokens = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.trim_start().starts_with('#') {
                continue;
            }
            let token = Token::parse(text).map_err(|what| (line, what))?;
            if !names.insert(token.name.clone()) {
                return Err((
                    line,
                    format!("the name {} is used twice; each token needs its own name", token.name),
                ));
            }
            if !digests.insert(token.digest) {
                return Err((
                    line,
                    format!("{} has the token of another line; each name needs its own token", token.name),
                ));
            }
            tokens.push(Arc::new(token));
        }
        Ok(Self(tokens))
    }

    /// Finds the token equal to `shown`. The time depends neither on which token matches nor on whether one does.
    pub(crate) fn find(&self, shown: &[u8]) -> Option<Arc<Token>> {
        let shown = sha256(shown);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.digest.ct_eq(&shown)) {
                found = Some(Arc::clone(token));
            }
        }
        found
    }

    /// Whether the set has `token` under its name.
    pub(crate) fn have(&self, token: &Token) -> bool {
        self.0.iter().any(|other| other.digest == token.digest && other.name == token.name)
    }
}

impl Token {
    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
        if name.len() > TOKEN_NAME_MAX_BYTES || !name.bytes().all(letter) {
            // Not shown: the first word may be a token by mistake.
            return Err(format!(
                "a name has 1 to {TOKEN_NAME_MAX_BYTES} characters out of A-Z a-z 0-9 . _ - @"
            ));
        }
        let Some(token) = words.next() else {
            return Err(format!("{name} has no token; write: NAME TOKEN [observe|operate [COMMAND...]]"));
        };
        let digest = match token.strip_prefix("sha256:") {
            Some(digits) => from_hex(digits).ok_or_else(|| {
                format!("the sha256: of {name} is not 64 hexadecimal digits; printf %s TOKEN | sha256sum prints them")
            })?,
            None => sha256(checked(name, token)?.as_bytes()),
        };
        let (role, allow) = (words.next(), words.collect::<Vec<_>>());
        let role = match (role, allow.is_empty()) {
            (None | Some("observe"), true) => Role::Observe,
            (Some("observe"), false) => {
                return Err(format!("{name} observes, so its line cannot list commands"));
            }
            (Some("operate"), _) => {
                Role::Operate { allow: Globs::parse(allow).map_err(|error| error.to_string())? }
            }
            (Some(_), _) | (None, false) => {
                return Err(format!("what {name} may do is written as observe, or operate [COMMAND...]"));
            }
        };
        Ok(Self { name: name.into(), role, digest })
    }
}

/// Returns `token` if it is hard to guess and fits the head of a request.
fn checked<'t>(name: &str, token: &'t str) -> Result<&'t str, String> {
    if token.len() < TOKEN_MIN_BYTES {
        return Err(format!(
            "the token of {name} has {} characters, and {TOKEN_MIN_BYTES} at least are safe; openssl rand -hex 32 makes one",
            token.len()
        ));
    }
    if token.len() > TOKEN_MAX_BYTES {
        return Err(format!("the token of {name} has over {TOKEN_MAX_BYTES} characters"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the token of {name} has characters that no request can carry; openssl rand -hex 32 makes one"
        ));
    }
    Ok(token)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest(&SHA256, bytes).as_ref());
    array
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb+/=~";
    /// `printf %s aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | sha256sum`
    const A_SHA256: &str = "3ba3f5f43b92602683c19aee62a20342b084dd5971ddd33808d81a328879a547";

    #[test]
    fn token_in_file_is_found_with_its_role() {
        let text = format!(
            "# name\n\n  grafana sha256:{}\nci\t{B} operate stop block*\r\n",
            A_SHA256.to_uppercase()
        );
        let tokens = Tokens::parse(&text).expect("tokens");
        //  shown        name          may stop  may cont
        let cases: [(&str, &str, bool, bool); 5] = [
            (A, "grafana", false, false),
            (B, "ci", true, false),
            (&A[1..], "", false, false),
            (A_SHA256, "", false, false),
            ("", "", false, false),
        ];
        for (shown, name, stop, cont) in cases {
            let found = tokens.find(shown.as_bytes());
            let may = |command| found.as_ref().is_some_and(|token| token.role.permits(command));
            assert_eq!(found.as_ref().map_or("", |token| &*token.name), name);
            assert_eq!(
                (may("stop"), may("cont"), may("query-status")),
                (stop, cont, !name.is_empty()),
                "{shown}"
            );
        }
    }

    #[test]
    fn malformed_line_is_reported_with_its_number() {
        let cases: [(String, usize, &str); 12] = [
            ("ci".into(), 1, "ci has no token; write: NAME TOKEN [observe|operate [COMMAND...]]"),
            (
                "\n\nci short".into(),
                3,
                "the token of ci has 5 characters, and 32 at least are safe; openssl rand -hex 32 makes one",
            ),
            (format!("ci {}", "x".repeat(513)), 1, "the token of ci has over 512 characters"),
            (
                format!("ci ü{A}"),
                1,
                "the token of ci has characters that no request can carry; openssl rand -hex 32 makes one",
            ),
            (
                "ci sha256:12".into(),
                1,
                "the sha256: of ci is not 64 hexadecimal digits; printf %s TOKEN | sha256sum prints them",
            ),
            (
                format!("ci sha256:{}", "é".repeat(32)),
                1,
                "the sha256: of ci is not 64 hexadecimal digits; printf %s TOKEN | sha256sum prints them",
            ),
            (format!("ci {A} write"), 1, "what ci may do is written as observe, or operate [COMMAND...]"),
            (format!("ci {A} observe stop"), 1, "ci observes, so its line cannot list commands"),
            (format!("{B} {A}"), 1, "a name has 1 to 64 characters out of A-Z a-z 0-9 . _ - @"),
            (
                format!("{} {A}", "n".repeat(65)),
                1,
                "a name has 1 to 64 characters out of A-Z a-z 0-9 . _ - @",
            ),
            (format!("ci {A}\nci {B}"), 2, "the name ci is used twice; each token needs its own name"),
            (
                format!("a {A}\nb sha256:{A_SHA256}"),
                2,
                "b has the token of another line; each name needs its own token",
            ),
        ];
        for (text, line, what) in cases {
            assert_eq!(Tokens::parse(&text).map(|_| ()), Err((line, what.to_owned())), "{text}");
        }
        let error = Tokens::parse(&format!("ci {A} operate [")).expect_err("no pattern").1;
        assert!(error.contains('['), "{error}");
    }

    proptest! {
        /// Parsing a token file never panics, and its errors never show a token.
        #[test]
        fn errors_of_any_text_hide_tokens(text in "([a-z#]{0,3}[ \t]?(sha256:)?[0-9a-fé]{0,70} ?(observe|operate|\\[)?\n){0,4}") {
            if let Err((line, what)) = Tokens::parse(&text) {
                let words = text.lines().nth(line - 1).expect("that line").split_whitespace().skip(1);
                for word in words.filter(|word| word.len() >= 16) {
                    prop_assert!(!what.contains(word), "{what}");
                }
            }
        }
    }
}

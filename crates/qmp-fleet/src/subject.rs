//! Subjects: `qmp.v1.HOST.VM.KIND.EVENT` of a record, `qmp.v1._confirmed.STREAM.HOST` of a confirmation, `qmp.v1.HOST._alive` of a
//! sign of life.
//!
//! `EVENT` is the name of the event or the kind of the finding, and `_` for records without one. A name of a host begins
//! with a letter or digit, so none is `_confirmed`; and records have another number of tokens than the others, so that a stream
//! of records takes none of these.

use qmp_wire::{Body, Record};

use super::token::{self, Token, TokenError};

/// The beginning of all subjects: the protocol and its version.
const PREFIX: &str = "qmp.v1";

/// The subjects of all records.
pub const RECORD_SUBJECTS: &str = "qmp.v1.*.*.*.*";

/// The subjects of all signs of life.
pub const SIGN_OF_LIFE_SUBJECTS: &str = "qmp.v1.*._alive";

/// The headers with the whole names of tokens that were cut.
pub(crate) const NAME_HEADERS: [&str; 4] = ["Qmp-Host", "Qmp-Vm", "Qmp-Kind", "Qmp-Event"];

/// The names of which the subject of a record consists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectNames<'a> {
    /// The host.
    pub host: &'a str,
    /// The VM on that host.
    pub vm: &'a str,
    /// The kind of the record.
    pub kind: &'a str,
    /// The name of the event or the kind of the finding; empty for other records.
    pub event: &'a str,
}

/// A subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The text.
    pub text: String,
    /// For each token that was cut, the header and its value, which is percent-encoded.
    pub cut_names: Vec<(&'static str, String)>,
}

/// The tokens of the subject of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTokens {
    /// The host.
    pub host: Token,
    /// The VM on that host.
    pub vm: Token,
    /// The kind of the record.
    pub kind: Token,
    /// The event.
    pub event: Token,
}

/// Errors of reading a subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The subject is not one of a record.
    #[error("the subject {0:?} does not have the form qmp.v1.HOST.VM.KIND.EVENT")]
    Form(Box<str>),
    /// A token is invalid.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl<'a> SubjectNames<'a> {
    /// The names of a record of the VM `vm` of `host`.
    #[must_use]
    pub fn of(record: &'a Record<'_>, host: &'a str, vm: &'a str) -> Self {
        let event: &str = match &record.body {
            Body::Event { name, .. } => name,
            Body::Finding { finding, .. } => finding,
            Body::Attached { .. } | Body::Detached { .. } => "",
        };
        Self { host, vm, kind: record.body.kind(), event }
    }

    /// Writes the subject.
    #[must_use]
    pub fn encode(&self) -> Subject {
        let names = [self.host, self.vm, self.kind, self.event];
        let mut text = PREFIX.to_owned();
        let mut cut_names = Vec::new();
        for (header, name) in NAME_HEADERS.into_iter().zip(names) {
            let (token, is_cut) = token::encode(name);
            text.push('.');
            text.push_str(&token);
            if is_cut {
                cut_names.push((header, name.to_owned()));
            }
        }
        Subject { text, cut_names }
    }
}

impl SubjectTokens {
    /// Reads the subject of a record.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] for any other subject.
    pub fn decode(subject: &str) -> Result<Self, SubjectError> {
        let form = || SubjectError::Form(subject.into());
        let tokens = subject.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')).ok_or_else(form)?;
        let tokens: Vec<&str> = tokens.split('.').collect();
        let &[host, vm, kind, event] = &*tokens else { return Err(form()) };
        let [host, vm, kind, event] = [host, vm, kind, event].map(token::decode);
        Ok(Self { host: host?, vm: vm?, kind: kind?, event: event? })
    }
}

/// The subject of the confirmations for a host that publishes to `stream`. A host may publish other records to another stream,
/// and what is committed of one says nothing of the other.
#[must_use]
pub fn confirmation_subject(stream: &str, host: &str) -> String {
    format!("{PREFIX}._confirmed.{}.{}", token::encode(stream).0, token::encode(host).0)
}

/// The subjects of the confirmations for all hosts that publish to `stream`.
#[must_use]
pub fn confirmation_subjects(stream: &str) -> String {
    format!("{PREFIX}._confirmed.{}.*", token::encode(stream).0)
}

/// The subject of the signs of life of a host. A user who may publish the records of the host may publish it.
#[must_use]
pub fn sign_of_life_subject(host: &str) -> String {
    format!("{PREFIX}.{}._alive", token::encode(host).0)
}

/// The host of a sign of life.
///
/// # Errors
///
/// [`SubjectError`] for any other subject, and for a name that was cut.
pub fn sign_of_life_host(subject: &str) -> Result<Box<str>, SubjectError> {
    let form = || SubjectError::Form(subject.into());
    let rest = subject.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')).ok_or_else(form)?;
    match token::decode(rest.strip_suffix("._alive").ok_or_else(form)?)? {
        Token::Whole(host) => Ok(host),
        Token::Cut => Err(form()),
    }
}

/// The name of the stream that keeps the last confirmation for each host that publishes to `stream`.
#[must_use]
pub fn confirmation_stream(stream: &str) -> String {
    format!("{stream}-confirmed")
}

/// The subjects of the records with these names; without a name, of all.
#[must_use]
pub fn filter_subject(
    host: Option<&str>,
    vm: Option<&str>,
    kind: Option<&str>,
    event: Option<&str>,
) -> String {
    let tokens =
        [host, vm, kind, event].map(|name| name.map_or("*".to_owned(), |name| token::encode(name).0));
    format!("{PREFIX}.{}", tokens.join("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(names: [&str; 4]) -> SubjectTokens {
        let [host, vm, kind, event] = names.map(|name| Token::Whole(name.into()));
        SubjectTokens { host, vm, kind, event }
    }

    #[test]
    fn subject_is_written_and_read() {
        let cases = [
            (["node1", "web1", "event", "STOP"], "qmp.v1.node1.web1.event.STOP"),
            (["node1.lan", "web1", "attached", ""], "qmp.v1.node1%2Elan.web1.attached._"),
            (["node1~2", "a b", "finding", "why-ended"], "qmp.v1.node1%7E2.a%20b.finding.why-ended"),
        ];
        for (names, expected) in cases {
            let [host, vm, kind, event] = names;
            let subject = SubjectNames { host, vm, kind, event }.encode();
            assert_eq!(subject, Subject { text: expected.to_owned(), cut_names: Vec::new() });
            assert_eq!(SubjectTokens::decode(expected), Ok(tokens(names)));
        }
    }

    #[test]
    fn other_subject_is_refused() {
        for subject in
            ["", "qmp.v1", "qmp.v1.a.b.c", "qmp.v1.a.b.c.d.e", "qmp.v2.a.b.c.d", "qmp.v1._confirmed.s.a"]
        {
            assert_eq!(SubjectTokens::decode(subject), Err(SubjectError::Form(subject.into())), "{subject}");
        }
        assert!(matches!(SubjectTokens::decode("qmp.v1.a.b.c.*"), Err(SubjectError::Token(_))));
    }

    #[test]
    fn filter_names_some_tokens() {
        assert_eq!(filter_subject(None, None, None, None), RECORD_SUBJECTS);
        assert_eq!(filter_subject(Some("a.b"), None, Some("event"), None), "qmp.v1.a%2Eb.*.event.*");
        assert_eq!(confirmation_subject("site-a", "a.b"), "qmp.v1._confirmed.site-a.a%2Eb");
        assert_eq!(confirmation_subjects("a$"), "qmp.v1._confirmed.a%24.*");
        assert_eq!(sign_of_life_subject("a.b"), "qmp.v1.a%2Eb._alive");
        assert_eq!(sign_of_life_host("qmp.v1.a%2Eb._alive"), Ok("a.b".into()));
        assert!(
            sign_of_life_host("qmp.v1._confirmed.a").is_err()
                && sign_of_life_host("qmp.v1.a.b._alive").is_err()
        );
    }

    proptest! {
        /// Any names are read back from the subject, or are in the headers of tokens that were cut.
        #[test]
        fn names_are_read_back(host in "\\PC{1,40}", vm in "[a-z.]{1,400}", event in "[A-Z_]{0,20}") {
            let names = SubjectNames { host: &host, vm: &vm, kind: "event", event: &event };
            let subject = names.encode();
            let read = SubjectTokens::decode(&subject.text).expect("a subject");
            let whole = |token: Token, index: usize| match token {
                Token::Whole(name) => Some(name.into()),
                Token::Cut => {
                    let header = subject.cut_names.iter().find(|(name, _)| *name == NAME_HEADERS[index]);
                    header.map(|(_, name)| name.clone())
                }
            };
            prop_assert_eq!(whole(read.host, 0), Some(host));
            prop_assert_eq!(whole(read.vm, 1), Some(vm));
            prop_assert_eq!(whole(read.event, 3), Some(event));
        }
    }
}

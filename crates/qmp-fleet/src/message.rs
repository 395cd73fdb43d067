//! A message: one record, with its place in the chain of its journal.
//!
//! The payload is the record as its line of JSON with the member `host`. Headers: `Nats-Msg-Id` (the duplicate window of
//! the server), `Qmp-Journal`, `Qmp-Offset`, `Qmp-Previous`, and the attributes of a CloudEvent in binary mode (`ce-…`).
//! Values are percent-encoded as CloudEvents' HTTP binding says: printable ASCII without blank, `"` and `%` stands for
//! itself.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use qmp_wire::{Offset, Record, RecordError};

use super::link::Link;
use super::subject::{NAME_HEADERS, SubjectError, SubjectNames, SubjectTokens};
use super::token::Token;

/// What a value of a header percent-encodes besides everything outside ASCII.
const ENCODED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');

const JOURNAL: &str = "Qmp-Journal";
const OFFSET: &str = "Qmp-Offset";
const PREVIOUS: &str = "Qmp-Previous";
const SELECTION: &str = "Qmp-Selection";

/// The value of [`SELECTION`] of a rule that selects every record.
const ALL: &str = "all";

/// The attributes of a record as a CloudEvent that depend on its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEventAttributes {
    /// The id, the same at each delivery. It is also the value of `Nats-Msg-Id`.
    pub id: String,
    /// The source.
    pub source: String,
    /// The type.
    pub ty: String,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject.
    pub subject: String,
    /// The headers. Values are printable ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The record as JSON.
    pub payload: Vec<u8>,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The journal of the host.
    pub journal: Box<str>,
    /// The place of the record in that journal.
    pub link: Link,
    /// The host of the VM, by the subject: the server lets a host publish only to subjects of its own.
    pub host: Box<str>,
    /// The record; its VM has the qualified name `HOST/VM`.
    pub record: Record<'static>,
    /// Whether its rule publishes every record of the journal, so that the numbers of an epoch have no hole.
    pub is_of_all: bool,
}

/// Errors of reading a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The subject is not one of a record.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header is missing or invalid.
    #[error("the header {0} is missing or invalid")]
    Header(&'static str),
    /// The payload is not a record.
    #[error("the payload is not a record: {0}")]
    Record(#[from] RecordError),
    /// The payload is not UTF-8.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// The payload names another host than the subject.
    #[error("the record of {vm} was published to the subject of the host {host}")]
    OtherHost {
        /// The VM of the record.
        vm: Box<str>,
        /// The host by the subject.
        host: Box<str>,
    },
}

impl Message {
    /// The message of `record` in `journal` of `host`. A VM that has a qualified name belongs to the host in its name.
    #[must_use]
    pub fn new(
        record: &Record<'_>,
        host: &str,
        journal: &str,
        link: Link,
        attributes: &CloudEventAttributes,
    ) -> Self {
        let (vm_host, vm) = record.vm.split_once('/').unwrap_or((host, &record.vm));
        let subject = SubjectNames::of(record, vm_host, vm).encode();
        let id = encoded(&attributes.id);
        let mut headers = vec![
            ("Nats-Msg-Id", id.clone()),
            (JOURNAL, encoded(journal)),
            (OFFSET, link.offset.0.to_string()),
            (PREVIOUS, link.previous.0.to_string()),
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", id),
            ("ce-source", encoded(&attributes.source)),
            ("ce-type", encoded(&attributes.ty)),
            ("ce-time", record.received.to_string()),
            ("ce-subject", encoded(vm)),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(subject.cut_names.into_iter().map(|(header, name)| (header, encoded(&name))));
        Self { subject: subject.text, headers, payload: payload(record, vm_host) }
    }

    /// Says that every record of the journal is published.
    #[must_use]
    pub fn of_all(mut self) -> Self {
        self.headers.push((SELECTION, ALL.to_owned()));
        self
    }
}

impl ReceivedMessage {
    /// Reads a message from its subject, its headers and its payload.
    ///
    /// # Errors
    ///
    /// Any [`MessageError`].
    pub fn decode<'h>(
        subject: &str,
        header: impl Fn(&str) -> Option<&'h str>,
        payload: &[u8],
    ) -> Result<Self, MessageError> {
        let text = |name: &'static str| {
            let value = header(name).and_then(|value| percent_decode_str(value).decode_utf8().ok());
            value.ok_or(MessageError::Header(name))
        };
        let number = |name: &'static str| {
            header(name).and_then(|value| value.parse().ok()).map(Offset).ok_or(MessageError::Header(name))
        };
        let host: Box<str> = match SubjectTokens::decode(subject)?.host {
            Token::Whole(host) => host,
            Token::Cut => text(NAME_HEADERS[0])?.into(),
        };
        let line = std::str::from_utf8(payload).map_err(|_| MessageError::NotUtf8)?;
        let mut record = Record::from_json(line)?;
        match record.vm.split_once('/') {
            Some((named, _)) if *named != *host => {
                return Err(MessageError::OtherHost { vm: (&*record.vm).into(), host });
            }
            Some(_) => {}
            None => record.vm = format!("{host}/{}", record.vm).into(),
        }
        let link = Link { previous: number(PREVIOUS)?, offset: number(OFFSET)? };
        let journal: Box<str> = text(JOURNAL)?.into();
        if !is_journal_name(&journal) {
            return Err(MessageError::Header(JOURNAL));
        }
        let is_of_all = header(SELECTION) == Some(ALL);
        Ok(Self { journal, link, host, record, is_of_all })
    }
}

/// The longest name of a journal, in bytes. That of a hub has 32 digits.
const JOURNAL_NAME_MAX_BYTES: usize = 64;

fn is_journal_name(name: &str) -> bool {
    (1..=JOURNAL_NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn encoded(value: &str) -> String {
    // Most values have nothing to encode, and are copied at once.
    Cow::from(utf8_percent_encode(value, &ENCODED)).into_owned()
}

/// The record as its line of JSON, with the member `host` directly before `vm`.
fn payload(record: &Record<'_>, host: &str) -> Vec<u8> {
    const VM: &[u8] = b"\"vm\":";
    let mut line = Vec::new();
    record.write_json(&mut line);
    if record.vm.contains('/') {
        return line;
    }
    // Only the offset, a number, is before the first `"vm":`.
    let at = line.windows(VM.len()).position(|window| window == VM).unwrap_or(1);
    let member = format!("\"host\":{},", serde_json::Value::from(host));
    drop(line.splice(at..at, member.into_bytes()));
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qmp_wire::{Body, Epoch, Seq, UnixMicros};

    use super::*;

    fn record(vm: &str, body: Body<'static>) -> Record<'static> {
        let received = "2026-01-02T03:04:05.678901Z".parse().unwrap_or(UnixMicros(0));
        let vm = vm.to_owned().into();
        Record { offset: Some(Offset(41)), vm, epoch: Epoch(2), seq: Seq(7), received, body }
    }

    fn event(name: &str, data: Option<&'static str>) -> Body<'static> {
        let name = name.to_owned().into();
        Body::Event { name, sent_name: None, timestamp: None, data: data.map(Into::into) }
    }

    fn message(record: &Record<'_>, host: &str) -> Message {
        let link = Link { previous: Offset(38), offset: Offset(41) };
        let (source, ty) = ("/host/node1/vm/web1".into(), "org.qemu.qmp.STOP".into());
        let attributes = CloudEventAttributes { id: format!("5f:{}:2:7", record.vm), source, ty };
        Message::new(record, host, "5f", link, &attributes)
    }

    fn decode(message: &Message) -> Result<ReceivedMessage, MessageError> {
        let header = |name: &str| {
            message.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
        };
        ReceivedMessage::decode(&message.subject, header, &message.payload)
    }

    #[test]
    fn message_has_subject_headers_and_line() {
        let message = message(&record("web1", event("STOP", Some(r#"{"vm": 1}"#))), "node1");
        assert_eq!(message.subject, "qmp.v1.node1.web1.event.STOP");
        let headers: Vec<String> =
            message.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            headers,
            [
                "Nats-Msg-Id: 5f:web1:2:7",
                "Qmp-Journal: 5f",
                "Qmp-Offset: 41",
                "Qmp-Previous: 38",
                "ce-specversion: 1.0",
                "ce-id: 5f:web1:2:7",
                "ce-source: /host/node1/vm/web1",
                "ce-type: org.qemu.qmp.STOP",
                "ce-time: 2026-01-02T03:04:05.678901Z",
                "ce-subject: web1",
                "content-type: application/json",
            ]
        );
        let line = r#"{"offset":41,"host":"node1","vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP","data":{"vm": 1}}"#;
        assert_eq!(String::from_utf8(message.payload).as_deref(), Ok(line));
    }

    #[test]
    fn invalid_message_is_refused() {
        let valid = || message(&record("web1", event("STOP", None)), "node1");
        type Change = fn(&mut Message);
        let cases: [(&str, Change); 6] = [
            ("the header Qmp-Offset is missing or invalid", |message| message.headers[2].1 = "-1".into()),
            ("the header Qmp-Journal is missing or invalid", |message| drop(message.headers.remove(1))),
            ("the header Qmp-Journal is missing or invalid", |message| message.headers[1].1 = "%FF".into()),
            ("does not have the form", |message| message.subject = "qmp.v1.a".into()),
            ("the payload is not UTF-8", |message| message.payload = vec![0xff]),
            ("the payload is not a record", |message| message.payload = b"{}".to_vec()),
        ];
        for (expected, change) in cases {
            let mut message = valid();
            change(&mut message);
            let error = decode(&message).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn record_of_other_host_keeps_its_host() {
        let relayed = message(&record("node7/web1", event("STOP", None)), "hub1");
        assert_eq!(relayed.subject, "qmp.v1.node7.web1.event.STOP");
        let mut forged = relayed;
        forged.subject = "qmp.v1.node8.web1.event.STOP".into();
        assert!(matches!(decode(&forged), Err(MessageError::OtherHost { .. })));
    }

    proptest! {
        /// Any record is read back with its host, its VM and its link.
        #[test]
        fn record_is_read_back(host in "[a-z0-9][a-z0-9._~-]{0,252}", vm in "[^/]{1,100}", name in "\\PC{1,100}") {
            let sent = record(&vm, event(&name, Some(r#"{"a": 1.50}"#)));
            let message = message(&sent, &host);
            for (_, value) in &message.headers {
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{}", value);
            }
            let received = decode(&message).expect("a message");
            let expected = Record { vm: format!("{host}/{vm}").into(), ..sent };
            prop_assert_eq!(received.record, expected);
            prop_assert_eq!(&*received.host, host);
            prop_assert_eq!(received.link, Link { previous: Offset(38), offset: Offset(41) });
        }
    }
}

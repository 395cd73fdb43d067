//! The envelope of a message: the positions of its members that the protocol defines.
//!
//! They are found during the one scan that validates the message, so that each byte is read once, except for the
//! few that become a name, a number or a text.

use std::borrow::Cow;

use crate::event_name::{self, EVENT_NAME_MAX_BYTES};
use crate::json::{Scan, Span, Step, Stop, decode};
use crate::layout::{self, Layout};
use crate::message::{CommandError, Greeting, Message, RawEvent};
use crate::timestamp::Timestamp;

/// The positions of the known members of a message. Of a duplicate member, the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope {
    timestamp: Stamp,
    event: Option<Name>,
    data: Option<Span>,
    returned: Option<Span>,
    error: Option<Span>,
    id: Option<Span>,
    greeting: Option<Span>,
}

/// The member `event`.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// Between the quotes of a name without escapes.
    Plain(Span),
    /// A value of any kind.
    At(Span),
}

/// The member `timestamp`.
#[derive(Clone, Copy, Debug, Default)]
enum Stamp {
    #[default]
    Missing,
    Read(Option<Timestamp>),
    At(Span),
}

impl Envelope {
    /// Prepares for the message at the start of `bytes`; returns its end if it is found at once.
    #[inline]
    pub(crate) fn start(&mut self, scan: &mut Scan, bytes: &[u8]) -> Option<usize> {
        *self = Self::default();
        let Some(Layout { timestamp, name, data, end }) = layout::read(bytes) else {
            scan.restart();
            return None;
        };
        self.event = Some(Name::Plain(name));
        self.timestamp = Stamp::Read(timestamp);
        self.data = data;
        Some(end)
    }

    /// Continues the scan; returns the end of the message, or `None` until more bytes arrive.
    #[inline]
    pub(crate) fn read(&mut self, scan: &mut Scan, bytes: &[u8]) -> Result<Option<usize>, Stop> {
        loop {
            match scan.step(bytes)? {
                Step::Member { name, value } => self.note(bytes, name, value),
                Step::End(end) => return Ok(Some(end)),
                Step::Paused => return Ok(None),
            }
        }
    }

    #[inline]
    fn note(&mut self, bytes: &[u8], name: Span, value: Span) {
        match &bytes[name.start..name.end] {
            b"data" => self.data = Some(value),
            b"event" => self.event = Some(Name::At(value)),
            b"timestamp" => self.timestamp = Stamp::At(value),
            b"return" => self.returned = Some(value),
            b"id" => self.id = Some(value),
            b"error" => self.error = Some(value),
            b"QMP" => self.greeting = Some(value),
            other if other.contains(&b'\\') => {
                let decoded = decode(text_of(bytes, name));
                self.note_decoded(&decoded, value);
            }
            _ => {}
        }
    }

    /// Records a member whose name was written with escapes.
    #[cold]
    fn note_decoded(&mut self, name: &str, value: Span) {
        if !name.contains('\\') {
            let span = Span { start: 0, end: name.len() };
            self.note(name.as_bytes(), span, value);
        }
    }

    /// Returns the message of this envelope.
    #[inline]
    pub(crate) fn message<'a>(&self, bytes: &'a [u8]) -> Message<'a> {
        if let Some((name, sent_name)) = self.event.and_then(|event| event.read(bytes)) {
            let data = self.data.map(|data| text_of(bytes, data));
            return Message::Event(RawEvent { name, sent_name, timestamp: self.timestamp(bytes), data });
        }
        self.rare_message(bytes)
    }

    fn rare_message<'a>(&self, bytes: &'a [u8]) -> Message<'a> {
        let id = self.id.map(|id| text_of(bytes, id));
        if let Some(value) = self.returned {
            return Message::Return { id, value: text_of(bytes, value) };
        }
        if let Some(error) = self.error {
            return Message::Error { id, error: CommandError::from_json(text_of(bytes, error)) };
        }
        let whole = Span { start: 0, end: bytes.len() };
        match self.greeting {
            Some(inside) => {
                Message::Greeting(Greeting::from_json(text_of(bytes, inside), text_of(bytes, whole)))
            }
            None => Message::Unknown(text_of(bytes, whole)),
        }
    }

    #[inline]
    fn timestamp(&self, bytes: &[u8]) -> Option<Timestamp> {
        match self.timestamp {
            Stamp::Missing => None,
            Stamp::Read(timestamp) => timestamp,
            Stamp::At(span) => Timestamp::from_json(text_of(bytes, span)),
        }
    }
}

impl Name {
    /// Returns the name, and its JSON string if the name is shortened; `None` if it is not a string.
    #[inline]
    fn read(self, bytes: &[u8]) -> Option<(Cow<'_, str>, Option<&str>)> {
        match self {
            Self::Plain(span) if span.end - span.start <= EVENT_NAME_MAX_BYTES => {
                Some((Cow::Borrowed(text_of(bytes, span)), None))
            }
            // With its quotes.
            Self::Plain(Span { start, end }) => {
                event_name::read(text_of(bytes, Span { start: start - 1, end: end + 1 }))
            }
            Self::At(span) => event_name::read(text_of(bytes, span)),
        }
    }
}

/// Returns the text at `span` of a scanned message.
#[inline]
pub(crate) fn text_of(bytes: &[u8], span: Span) -> &str {
    std::str::from_utf8(&bytes[span.start..span.end]).expect("the scan passes nothing but UTF-8")
}

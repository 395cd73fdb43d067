//! Messages of a server: greeting, events, replies.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{Members, decode};
use crate::timestamp::Timestamp;

/// One message of a server. Slices of raw JSON are valid JSON texts, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// `{"QMP": …}`
    Greeting(Greeting<'a>),
    /// `{"event": …}`
    Event(RawEvent<'a>),
    /// `{"return": …}`
    Return {
        /// The request's id, as raw JSON.
        id: Option<&'a str>,
        /// The result, as raw JSON.
        value: &'a str,
    },
    /// `{"error": …}`
    Error {
        /// The request's id, as raw JSON; absent when the server could not read the request.
        id: Option<&'a str>,
        /// The error.
        error: CommandError,
    },
    /// An object that is none of these, as raw JSON: passed on, never an error.
    Unknown(&'a str),
}

/// An event with its name and raw data, which only the catalogue interprets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// The event's name, such as `SHUTDOWN`; see [`EventName`](crate::EventName).
    pub name: Cow<'a, str>,
    /// The name as the server wrote it, a JSON string; `None` if `name` is complete.
    pub sent_name: Option<&'a str>,
    /// The server's time of the event; `None` if the server gave none (−1, or no timestamp at all).
    pub timestamp: Option<Timestamp>,
    /// The `data` member, byte for byte; `None` if it is missing.
    pub data: Option<&'a str>,
}

/// The first message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// The QEMU version; `None` from QEMU 0.12, whose greeting had none.
    pub version: Option<Version>,
    /// Offered capabilities, such as `oob`.
    pub capabilities: Vec<Box<str>>,
    /// The whole greeting message, as raw JSON.
    pub raw: &'a str,
}

/// The version of a QEMU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Micro number; 50 and more means a development version of the next release.
    pub micro: u32,
    /// Package text, empty for QEMU as released upstream.
    pub package: Box<str>,
}

/// A command that the server refused or that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {desc}")]
pub struct CommandError {
    /// `GenericError`, `CommandNotFound`, `DeviceNotFound`, …
    pub class: Box<str>,
    /// Text for users.
    pub desc: Box<str>,
}

impl CommandError {
    /// Parses the value of the member `error`. Missing members are empty; a value of an unknown form becomes
    /// `desc`, so that the reply still reaches its caller.
    pub(crate) fn from_json(value: &str) -> Self {
        if !value.starts_with('{') {
            return Self { class: Box::default(), desc: value.into() };
        }
        let mut error = Self { class: Box::default(), desc: Box::default() };
        for (name, value) in Members::of(value) {
            match name.as_ref() {
                "class" => error.class = text(value),
                "desc" => error.desc = text(value),
                _ => {}
            }
        }
        error
    }
}

impl<'a> Greeting<'a> {
    /// Parses the value of the member `QMP` of the message `raw`. Missing members and members of an unknown form
    /// are left out.
    pub(crate) fn from_json(value: &str, raw: &'a str) -> Self {
        let mut greeting = Self { version: None, capabilities: Vec::new(), raw };
        for (name, value) in Members::of(value) {
            match name.as_ref() {
                "version" => greeting.version = Version::from_json(value),
                "capabilities" => greeting.capabilities = texts(value),
                _ => {}
            }
        }
        greeting
    }
}

impl Version {
    fn from_json(value: &str) -> Option<Self> {
        let (mut major, mut minor, mut micro) = (None, None, None);
        let mut package = Box::default();
        for (name, value) in Members::of(value) {
            match name.as_ref() {
                "qemu" => {
                    for (name, value) in Members::of(value) {
                        match name.as_ref() {
                            "major" => major = value.parse().ok(),
                            "minor" => minor = value.parse().ok(),
                            "micro" => micro = value.parse().ok(),
                            _ => {}
                        }
                    }
                }
                "package" => package = text(value),
                _ => {}
            }
        }
        Some(Self { major: major?, minor: minor?, micro: micro?, package })
    }
}

/// Returns the decoded text of a raw string; the raw value itself if it is not a string.
fn text(value: &str) -> Box<str> {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => decode(inside).into(),
        None => value.into(),
    }
}

/// Returns the decoded texts of a raw array.
fn texts(value: &str) -> Vec<Box<str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(value).unwrap_or_default();
    elements.iter().map(|element| text(element.get())).collect()
}

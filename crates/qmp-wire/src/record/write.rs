//! Writes a record as a line of JSON.

use memchr::memchr2;

use super::body::{Body, Causes, Record};
use super::instant::UnixMicros;
use crate::json::write_string;
use crate::qualified_name::QualifiedName;
use crate::timestamp::Timestamp;

/// Reserved space for keys, numbers and times of a usual record, in bytes; a longer record costs one more
/// allocation.
const FRAME_BYTES: usize = 256;

impl Record<'_> {
    /// Appends the record as one line of JSON, without a line end.
    ///
    /// The keys come in this order: `offset` (if it has one), `host` (of a VM of another host), `vm`, `epoch`, `seq`,
    /// `received`, `kind`, and those of its kind. Line breaks between the tokens of raw JSON (a monitor with `pretty=on` sends them)
    /// are left out: a record is always one line.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(FRAME_BYTES + self.vm.len() + self.body.text_bytes());
        out.push(b'{');
        if let Some(offset) = self.offset {
            number(out, b"\"offset\":", offset.0);
            out.push(b',');
        }
        let (host, vm) = QualifiedName::divide(&self.vm);
        if let Some(host) = host {
            text(out, b"\"host\":", host);
            out.push(b',');
        }
        text(out, b"\"vm\":", vm);
        number(out, b",\"epoch\":", u64::from(self.epoch.0));
        number(out, b",\"seq\":", self.seq.0);
        received(out, self.received);
        body(out, &self.body);
        out.push(b'}');
    }
}

impl Body<'_> {
    /// Returns the length of its longest text: raw JSON, or a text for users.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Attached { snapshot } => snapshot.len(),
            Self::Event { name, sent_name, data, .. } => {
                let sent_bytes = sent_name.as_deref().map_or(0, str::len);
                name.len() + sent_bytes + data.as_deref().map_or(0, str::len)
            }
            Self::Finding { summary, data, .. } => summary.len() + data.as_deref().map_or(0, str::len),
            Self::Detached { detail, .. } => detail.as_deref().map_or(0, str::len),
        }
    }
}

fn body(out: &mut Vec<u8>, body: &Body<'_>) {
    match body {
        Body::Attached { snapshot } => {
            out.extend_from_slice(b"\"attached\"");
            raw(out, b",\"snapshot\":", snapshot);
        }
        Body::Event { name, sent_name, timestamp, data } => {
            text(out, b"\"event\",\"event\":", name);
            if let Some(sent_name) = sent_name {
                raw(out, b",\"sent_name\":", sent_name);
            }
            if let Some(timestamp) = timestamp {
                event_time(out, *timestamp);
            }
            if let Some(data) = data {
                raw(out, b",\"data\":", data);
            }
        }
        Body::Finding { finding, summary, causes, data } => {
            text(out, b"\"finding\",\"finding\":", finding);
            text(out, b",\"summary\":", summary);
            caused_by(out, causes);
            if let Some(data) = data {
                raw(out, b",\"data\":", data);
            }
        }
        Body::Detached { reason, detail, certain_until } => {
            text(out, b"\"detached\",\"reason\":", reason.as_str());
            if let Some(detail) = detail {
                text(out, b",\"detail\":", detail);
            }
            if let Some(certain_until) = certain_until {
                out.extend_from_slice(b",\"certain_until\":\"");
                certain_until.write(out);
                out.push(b'"');
            }
        }
    }
}

fn received(out: &mut Vec<u8>, received: UnixMicros) {
    out.extend_from_slice(b",\"received\":\"");
    received.write(out);
    out.extend_from_slice(b"\",\"kind\":");
}

fn event_time(out: &mut Vec<u8>, timestamp: Timestamp) {
    out.extend_from_slice(b",\"timestamp\":{\"seconds\":");
    out.extend_from_slice(itoa::Buffer::new().format(timestamp.seconds()).as_bytes());
    number(out, b",\"microseconds\":", u64::from(timestamp.microseconds()));
    out.push(b'}');
}

fn caused_by(out: &mut Vec<u8>, causes: &Causes) {
    out.extend_from_slice(b",\"causes\":[");
    for (index, (epoch, seq)) in causes.iter().enumerate() {
        number(out, if index == 0 { b"[" } else { b",[" }, u64::from(epoch.0));
        number(out, b",", seq.0);
        out.push(b']');
    }
    out.push(b']');
}

#[inline]
fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn text(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    write_string(out, value);
}

/// Appends raw JSON without its line breaks. All of them are between tokens: a string cannot contain one.
#[inline]
fn raw(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    let mut rest = value.as_bytes();
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

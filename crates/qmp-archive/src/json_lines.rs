//! Reads records as JSON Lines, as `qmp log --json` and `qmp export --jsonl` write them.

use std::io::{self, BufRead, Read as _};

use qmp_wire::{FRAME_MAX_BYTES, Record, RecordError};

/// The longest line, in bytes. A record has one message of a VM, and its own members.
const LINE_MAX_BYTES: usize = FRAME_MAX_BYTES + (1 << 20);

/// Errors of reading lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The lines cannot be read.
    #[error("cannot read line {line}: {source}")]
    Io {
        /// The number of the line, from 1.
        line: u64,
        /// The error.
        source: io::Error,
    },
    /// A line is longer than any record.
    #[error("line {line} has more than {LINE_MAX_BYTES} bytes: no record is that long")]
    TooLong {
        /// The number of the line, from 1.
        line: u64,
    },
    /// A line is not UTF-8.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// The number of the line, from 1.
        line: u64,
    },
    /// A line is not a record.
    #[error("line {line}: {source}")]
    NotARecord {
        /// The number of the line, from 1.
        line: u64,
        /// What is missing or invalid.
        source: RecordError,
    },
}

/// Yields the records of lines.
#[derive(Debug)]
pub struct JsonLines<R> {
    input: R,
    text: Vec<u8>,
    line: u64,
}

impl<R: BufRead> JsonLines<R> {
    /// Begins to read `input`.
    pub fn new(input: R) -> Self {
        Self { input, text: Vec::new(), line: 0 }
    }

    /// Returns the record of the next line that is not empty; `None` after the last.
    ///
    /// # Errors
    ///
    /// Any [`LineError`].
    pub fn next_record(&mut self) -> Result<Option<Record<'static>>, LineError> {
        loop {
            self.line += 1;
            let line = self.line;
            self.text.clear();
            let most = LINE_MAX_BYTES as u64 + 1;
            let read = (&mut self.input).take(most).read_until(b'\n', &mut self.text);
            if read.map_err(|source| LineError::Io { line, source })? == 0 {
                return Ok(None);
            }
            if self.text.len() > LINE_MAX_BYTES {
                return Err(LineError::TooLong { line });
            }
            let text = std::str::from_utf8(&self.text).map_err(|_| LineError::NotUtf8 { line })?;
            if text.trim_ascii().is_empty() {
                continue;
            }
            let record = Record::from_json(text).map_err(|source| LineError::NotARecord { line, source })?;
            return Ok(Some(record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_records_or_errors_with_their_number() {
        let record = r#"{"vm":"a","epoch":1,"seq":1,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP"}"#;
        let cases = [
            (format!("{record}\n\n {record}"), "2 records"),
            (format!("{record}\n{{"), "line 2: not a record: EOF"),
            ("offset,vm\n".to_owned(), "line 1: not a record: expected value"),
            (
                record.replace("event\":\"STOP", "event\":5,\"x\":\""),
                "line 1: not a record: `event` is not a string",
            ),
        ];
        for (text, expected) in cases {
            let read = read(text.as_bytes());
            assert!(read.starts_with(expected), "{text}: {read}");
        }
        assert_eq!(read(b"\xff\n"), "line 1 is not UTF-8");
    }

    #[test]
    fn line_longer_than_any_record_is_refused() {
        let mut lines = JsonLines::new(io::BufReader::new(io::repeat(b' ')));
        assert!(matches!(lines.next_record(), Err(LineError::TooLong { line: 1 })));
    }

    fn read(text: &[u8]) -> String {
        let mut lines = JsonLines::new(text);
        let mut records = 0;
        loop {
            match lines.next_record() {
                Ok(Some(_)) => records += 1,
                Ok(None) => return format!("{records} records"),
                Err(error) => return error.to_string(),
            }
        }
    }
}

//! Renderings of records: a table with colour, JSON Lines, CSV.

pub mod escape;
mod json_text;
mod palette;
mod severity;
mod pretty;
mod human;
mod csv;
pub mod spark;

use jiff::tz::TimeZone;
use qmp_wire::Record;

pub use csv::write_field;
#[cfg(test)]
pub use human::examples;
pub use human::{Human, qemu_version};
pub use json_text::{compact, compact_members};
pub use palette::Palette;
pub use pretty::pretty;

/// A rendering of records.
#[derive(Debug)]
pub enum Renderer {
    /// Aligned columns, colour, local time.
    Human(Box<Human>),
    /// One JSON object a line, in the versioned shape of `docs/operating.md`.
    Json {
        /// Whether characters that control a terminal are written as JSON escapes, or unchanged.
        for_terminal: bool,
    },
    /// Comma-separated values under a line of column names.
    Csv,
}

impl Renderer {
    /// Creates the table for people.
    pub fn human(palette: Palette, zone: TimeZone) -> Self {
        Self::Human(Box::new(Human::new(palette, zone)))
    }

    /// Appends the header before the first record.
    pub fn begin(&self, out: &mut Vec<u8>) {
        if let Self::Csv = self {
            csv::write_header(out);
        }
    }

    /// Appends one record and its line end.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Human(human) => human.record(record, out),
            Self::Json { for_terminal } => {
                let start = out.len();
                record.write_json(out);
                if *for_terminal {
                    let line = String::from_utf8_lossy(&out[start..]).into_owned();
                    out.truncate(start);
                    out.extend_from_slice(escape::text(&line).as_bytes());
                }
                out.push(b'\n');
            }
            Self::Csv => csv::write_record(record, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_a_terminal_has_the_same_value_without_control_characters() {
        let mut record = examples::records().swap_remove(1);
        let data = "{\"id\": \"\u{9b}2J\u{202e}\"}";
        record.body = qmp_wire::Body::Event {
            name: "\u{7f}".into(),
            sent_name: None,
            timestamp: None,
            data: Some(data.into()),
        };
        let shown = |for_terminal| {
            let mut out = Vec::new();
            Renderer::Json { for_terminal }.record(&record, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(
            shown(true).trim_end().chars().all(|c| c.is_ascii() && !c.is_ascii_control()),
            "{}",
            shown(true)
        );
        assert!(shown(false).contains(data), "byte-true for programs");
        let value = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert_eq!(value(shown(true)), value(shown(false)));
    }
}

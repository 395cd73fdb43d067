//! Pieces of the page: links, cells of tables, spans.

use crate::model::Event;

/// `1 a second`, `1 in 250 ms`.
pub(super) fn interval(interval_ms: u32) -> String {
    if interval_ms == 1000 { "one a second".to_owned() } else { format!("one in {interval_ms} ms") }
}

/// A link to the section of an event.
pub(super) fn link(event: &Event) -> String {
    link_to(&event.name)
}

/// A link to the section of that title.
pub(super) fn link_to(title: &str) -> String {
    format!("[{title}](#{})", title.to_lowercase())
}

/// A text for a cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

//! Colours of event names.

use anstyle::{AnsiColor, Effects, Style};
use qmp_events::EventSeverity;

/// The style of an event's name, by the severity of the event.
pub(super) fn style(severity: EventSeverity) -> Style {
    let bold = Style::new().effects(Effects::BOLD);
    match severity {
        EventSeverity::Error => bold.fg_color(Some(AnsiColor::Red.into())),
        EventSeverity::Warning => bold.fg_color(Some(AnsiColor::Yellow.into())),
        EventSeverity::Lifecycle => bold.fg_color(Some(AnsiColor::Blue.into())),
        EventSeverity::Success => bold.fg_color(Some(AnsiColor::Green.into())),
        EventSeverity::Info => bold,
    }
}

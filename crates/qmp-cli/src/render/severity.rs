//! Which colour an event's name has.

use anstyle::{AnsiColor, Effects, Style};
use qmp_events::severity::Severity;

/// How the name of an event of that severity is shown.
pub(super) fn style(severity: Severity) -> Style {
    let bold = Style::new().effects(Effects::BOLD);
    match severity {
        Severity::Error => bold.fg_color(Some(AnsiColor::Red.into())),
        Severity::Warning => bold.fg_color(Some(AnsiColor::Yellow.into())),
        Severity::Lifecycle => bold.fg_color(Some(AnsiColor::Blue.into())),
        Severity::Good => bold.fg_color(Some(AnsiColor::Green.into())),
        Severity::News => bold,
    }
}

//! Colours of the output.

use std::fmt;

use anstyle::{AnsiColor, Effects, Style};

/// Colours text if the output takes colour, and leaves it unchanged otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    coloured: bool,
}

/// Colours of VM names: readable on dark and on light ground, without the red of errors.
const VM_COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
];

impl Palette {
    /// With colour or without.
    pub const fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    /// Whether the output takes colour.
    pub const fn is_coloured(self) -> bool {
        self.coloured
    }

    /// Returns `text` in `style`.
    pub fn paint<T: fmt::Display>(self, style: Style, text: T) -> StyledText<T> {
        StyledText { style: if self.coloured { style } else { Style::new() }, text }
    }

    /// Less important text.
    pub fn dim<T: fmt::Display>(self, text: T) -> StyledText<T> {
        self.paint(Style::new().effects(Effects::DIMMED), text)
    }

    /// Emphasized text.
    pub fn bold<T: fmt::Display>(self, text: T) -> StyledText<T> {
        self.paint(Style::new().effects(Effects::BOLD), text)
    }

    /// The style of a VM's name: the same name always has the same colour.
    pub fn vm(self, name: &str) -> Style {
        let colour = VM_COLOURS[hash(name) % VM_COLOURS.len()];
        if self.coloured { colour.on_default() } else { Style::new() }
    }
}

/// FNV-1a, so that a VM keeps its colour between runs.
fn hash(name: &str) -> usize {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash >> 8).unwrap_or(0)
}

/// Text with its style; padding applies to the text only.
#[derive(Debug)]
pub struct StyledText<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for StyledText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.style.render())?;
        self.text.fmt(f)?;
        write!(f, "{}", self.style.render_reset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_is_applied_with_colour_and_padding_to_the_text_only() {
        let bold = format!("[{:6}]", Palette::new(true).bold("ab"));
        assert_eq!(bold, "[\x1b[1mab    \x1b[0m]");
        assert_eq!(format!("[{:6}]", Palette::new(false).bold("ab")), "[ab    ]");
    }

    #[test]
    fn vm_keeps_its_colour() {
        let palette = Palette::new(true);
        assert_eq!(palette.vm("web1"), palette.vm("web1"));
        let distinct: std::collections::HashSet<_> =
            (0..40).map(|n| palette.vm(&format!("web{n}")).render().to_string()).collect();
        assert_eq!(distinct.len(), VM_COLOURS.len(), "all colours are in use");
        assert_eq!(Palette::new(false).vm("web1"), Style::new());
    }
}

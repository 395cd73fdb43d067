//! Text in a buffer: cut to its width, safe, and in the characters of the terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::super::glyphs::Glyphs;
use crate::render::escape;

/// A buffer with the characters and colours of the terminal.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) glyphs: Glyphs,
    pub(super) is_coloured: bool,
}

impl Canvas<'_> {
    /// Writes `text`, which may come from a guest, into at most `width` columns; returns the column after it.
    pub(super) fn put(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let text = self.glyphs.text(&escape::text(text));
        self.draw(x, y, width, &text, style)
    }

    /// Writes characters of the display itself.
    pub(super) fn draw(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() {
            return x;
        }
        let width = width.min(area.right() - x);
        if Span::raw(text).width() <= usize::from(width) {
            return self.buffer.set_stringn(x, y, text, width.into(), style).0;
        }
        if width == 0 {
            return x;
        }
        let (end, _) = self.buffer.set_stringn(x, y, text, usize::from(width - 1), style);
        self.buffer.set_stringn(end, y, self.glyphs.ellipsis(), 1, style).0
    }

    /// Fills a line.
    pub(super) fn rule(&mut self, area: Rect, y: u16) {
        let line = self.glyphs.rule().repeat(area.width.into());
        self.draw(area.x, y, area.width, &line, self.dim());
    }

    /// Sets the style of a whole line, over what was written.
    pub(super) fn restyle(&mut self, area: Rect, y: u16, style: Style) {
        self.buffer.set_style(Rect { y, height: 1, ..area }, style);
    }

    pub(super) fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn bold(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A colour, where the terminal has colours.
    pub(super) fn colour(&self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }
}

/// A number with commas, as in `1,000`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

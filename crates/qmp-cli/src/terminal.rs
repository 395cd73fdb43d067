//! The terminal: whether the streams are terminals, colour, local time.

use std::io::{IsTerminal as _, stderr, stdout};

use clap::ValueEnum;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::render::Palette;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The properties of the terminal, detected once at the start.
#[derive(Clone, Debug)]
pub struct Terminal {
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    stdout_palette: Palette,
    stderr_palette: Palette,
    zone: TimeZone,
}

impl Terminal {
    /// Detects them from standard output, standard error and the environment.
    pub fn detect(color: ColorWhen) -> Self {
        let takes_colour = |auto: anstream::ColorChoice| match color {
            ColorWhen::Auto => auto != anstream::ColorChoice::Never,
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        };
        Self {
            stdout_is_terminal: stdout().is_terminal(),
            stderr_is_terminal: stderr().is_terminal(),
            stdout_palette: Palette::new(takes_colour(anstream::AutoStream::choice(&stdout()))),
            stderr_palette: Palette::new(takes_colour(anstream::AutoStream::choice(&stderr()))),
            zone: TimeZone::system(),
        }
    }

    /// Whether the standard output is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether the standard error is a terminal.
    pub fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }

    /// Colours for the standard output.
    pub fn stdout_palette(&self) -> Palette {
        self.stdout_palette
    }

    /// Colours for the standard error.
    pub fn stderr_palette(&self) -> Palette {
        self.stderr_palette
    }

    /// The local time zone (`TZ`, or that of the system).
    pub fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    /// The present local time.
    pub fn now(&self) -> Zoned {
        Zoned::now().with_time_zone(self.zone.clone())
    }
}

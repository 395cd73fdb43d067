//! What the program stands in: terminals or pipes, colour or not, the local time.

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

/// The surroundings, looked at once at the start.
#[derive(Clone, Debug)]
pub struct Terminal {
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    stdout_palette: Palette,
    stderr_palette: Palette,
    zone: TimeZone,
}

impl Terminal {
    /// Looks at standard output, standard error and the environment.
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

    /// Whether a person reads the standard output.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether a person reads the standard error.
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

    /// This moment in local time.
    pub fn now(&self) -> Zoned {
        Zoned::now().with_time_zone(self.zone.clone())
    }
}

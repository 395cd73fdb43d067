//! Standard output and standard error.

use std::fmt;
use std::io::{self, Write as _};

use clap::Args;
use jiff::tz::TimeZone;
use qmp_wire::Record;

use crate::progress;
use crate::render::Renderer;
use crate::terminal::Terminal;

/// How records are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// Print one JSON object a line (the default when the output is not a terminal)
    #[arg(long)]
    pub json: bool,
    /// Print times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
}

impl Format {
    /// The rendering for the standard output.
    pub fn renderer(self, terminal: &Terminal) -> Renderer {
        if self.json || !terminal.stdout_is_terminal() {
            return Renderer::Json { for_terminal: terminal.stdout_is_terminal() };
        }
        Renderer::human(terminal.stdout_palette(), self.zone(terminal))
    }

    /// The time zone to print in.
    pub fn zone(self, terminal: &Terminal) -> TimeZone {
        if self.utc { TimeZone::UTC } else { terminal.zone() }
    }
}

/// Collects rendered records and writes them to the standard output.
#[derive(Debug)]
pub struct Output {
    renderer: Renderer,
    pending: Vec<u8>,
}

/// The output is written without a call of `flush` once it has so many bytes.
const PENDING_MAX_BYTES: usize = 64 << 10;

impl Output {
    /// Creates an output with that rendering.
    pub fn new(renderer: Renderer) -> Self {
        let mut pending = Vec::new();
        renderer.begin(&mut pending);
        Self { renderer, pending }
    }

    /// The rendering.
    pub fn renderer(&mut self) -> &mut Renderer {
        &mut self.renderer
    }

    /// Adds a record.
    pub fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.renderer.record(record, &mut self.pending);
        if self.pending.len() >= PENDING_MAX_BYTES { self.flush() } else { Ok(()) }
    }

    /// Adds a record that is JSON already, if JSON is printed; returns whether it did.
    pub fn json_line(&mut self, line: &str) -> io::Result<bool> {
        if !matches!(self.renderer, Renderer::Json { for_terminal: false }) {
            return Ok(false);
        }
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        if self.pending.len() >= PENDING_MAX_BYTES {
            self.flush()?;
        }
        Ok(true)
    }

    /// Adds rendered lines.
    pub fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(lines);
        if self.pending.len() >= PENDING_MAX_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was collected. Call it before waiting for anything.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(&self.pending).and_then(|()| stdout.flush());
        self.pending.clear();
        result
    }
}

/// Prints a line on the standard error. A closed standard error does not end the command.
pub fn note(text: impl fmt::Display) {
    progress::clear();
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints text other than records.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

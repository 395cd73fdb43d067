//! The terminal: its whole screen while the display runs, and as it was before afterwards.

use std::io::Write as _;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use super::key::Key;
use super::model::Model;
use super::update::Message;
use super::view;
use crate::exit::Failure;

/// Keys that wait while the display is busy.
const KEYS_QUEUED: usize = 64;

/// The longest text for the clipboard, in bytes: terminals ignore a longer one.
const COPY_MAX_BYTES: usize = 64 << 10;

/// The screen. Dropping it restores the terminal; so does a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    /// Whether the shell has the terminal, until the program is continued.
    is_suspended: bool,
    suspend: unix::Signal,
    resume: unix::Signal,
    hang_up: unix::Signal,
}

/// A signal about the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScreenSignal {
    /// SIGTSTP: the shell suspends the program.
    Suspend,
    /// SIGCONT: the program continues, after this or another stop.
    Resume,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

impl Screen {
    /// Takes the whole screen.
    pub(super) fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format_args!("cannot use the terminal: {error}"));
        let signal = |signal: Signal| unix::signal(SignalKind::from_raw(signal.as_raw())).map_err(failed);
        let (suspend, resume, hang_up) = (signal(Signal::TSTP)?, signal(Signal::CONT)?, signal(Signal::HUP)?);
        let terminal = ratatui::try_init().map_err(failed)?;
        Ok(Self { terminal, is_suspended: false, suspend, resume, hang_up })
    }

    /// Draws the state, unless the shell has the terminal.
    pub(super) fn draw(&mut self, model: &Model) -> Result<(), Failure> {
        if self.is_suspended {
            return Ok(());
        }
        let drawn = self.terminal.draw(|frame| view::draw(model, frame.area(), frame.buffer_mut()));
        drawn.map(drop).map_err(|error| Failure::failed(format_args!("cannot draw: {error}")))
    }

    /// Waits for a signal. Cancel safe.
    pub(super) async fn signal(&mut self) -> ScreenSignal {
        tokio::select! {
            _ = self.hang_up.recv() => ScreenSignal::HangUp,
            _ = self.suspend.recv() => ScreenSignal::Suspend,
            _ = self.resume.recv() => ScreenSignal::Resume,
        }
    }

    /// Gives the terminal back and stops the process; [`resume`](Self::resume) follows when the shell continues it.
    pub(super) fn suspend(&mut self) -> Result<(), Failure> {
        let _ = ratatui::try_restore();
        self.is_suspended = true;
        kill_process(getpid(), Signal::STOP)
            .map_err(|error| Failure::failed(format_args!("cannot stop: {error}")))
    }

    /// Takes the terminal again. After a SIGSTOP, which gave no time to give it back, the shell may have changed its modes.
    /// Its size may have changed, too.
    pub(super) fn resume(&mut self) -> Result<Message, Failure> {
        if !self.is_suspended {
            let _ = ratatui::try_restore();
        }
        self.is_suspended = false;
        let failed = |error| Failure::failed(format_args!("cannot use the terminal again: {error}"));
        self.terminal = ratatui::try_init().map_err(failed)?;
        // `Terminal::clear` would ask for the position of the cursor, and the answer goes to the thread of the keyboard.
        execute!(std::io::stdout(), Clear(ClearType::All)).map_err(failed)?;
        Ok(Message::Resized)
    }

    /// Puts a text into the clipboard, by the sequence OSC 52; whether the terminal supports that, it does not say.
    pub(super) fn copy(&mut self, text: &str) -> Result<String, Failure> {
        if text.len() > COPY_MAX_BYTES {
            return Ok(format!(
                "not copied: {} bytes are too long for the clipboard of a terminal",
                text.len()
            ));
        }
        let mut out = std::io::stdout();
        let sequence = format!("\x1b]52;c;{}\x07", BASE64_STANDARD.encode(text));
        out.write_all(sequence.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::failed(format_args!("cannot copy: {error}")))?;
        Ok(format!("copied {} bytes, if the terminal permits that (OSC 52)", text.len()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

/// Reads the keyboard on a thread of its own, which ends with the process: reading cannot be cancelled.
pub(super) fn read_keyboard() -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(KEYS_QUEUED);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            let input = match event {
                Event::Key(key) => Key::of(key).map(Message::Key),
                Event::Resize(..) => Some(Message::Resized),
                _ => None,
            };
            if input.is_some_and(|input| sender.blocking_send(input).is_err()) {
                return;
            }
        }
    });
    receiver
}

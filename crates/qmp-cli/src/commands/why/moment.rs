//! The time in the life of a VM that `qmp why` is about.

use qmp_wire::{Epoch, UnixMicros};

use crate::exit::Failure;
use crate::output;
use crate::terminal::Terminal;
use crate::time::parse::{self, When};

/// A time in the life of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The present time.
    Now(UnixMicros),
    At(UnixMicros),
    EndOf(Epoch),
}

impl Moment {
    /// Reads the arguments.
    pub(super) fn read(at: Option<&str>, epoch: Option<u32>, terminal: &Terminal) -> Result<Self, Failure> {
        let now = terminal.now();
        match (at, epoch) {
            (_, Some(epoch)) => Ok(Self::EndOf(Epoch(epoch))),
            (Some(text), None) => match parse::parse_past(text, &now) {
                Ok(when @ When::At(moment)) => {
                    parse::future_note("--at", text, when, &now).iter().for_each(output::note);
                    Ok(Self::At(moment))
                }
                Ok(When::After(_)) => Err(Failure::usage("--at: expected a time, found an offset")
                    .hint("qmp log --json shows the epoch of a record; use --epoch N")),
                Err(error) => Err(Failure::usage(format_args!("--at: {error}"))),
            },
            (None, None) => Ok(Self::Now(UnixMicros(now.timestamp().as_microsecond()))),
        }
    }

    /// The time up to which records count.
    pub(super) fn until(self) -> Option<UnixMicros> {
        match self {
            Self::Now(_) | Self::EndOf(_) => None,
            Self::At(moment) => Some(moment),
        }
    }

    /// The time by which announced events that have not followed count as missing.
    pub(super) fn overdue(self) -> Option<UnixMicros> {
        match self {
            Self::Now(moment) | Self::At(moment) => Some(moment),
            Self::EndOf(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::ColorWhen;

    #[test]
    fn time_is_read_and_offset_is_refused() {
        let terminal = Terminal::detect(ColorWhen::Never);
        let read = |at, epoch| Moment::read(at, epoch, &terminal).map_err(|failure| failure.to_string());
        assert_eq!(
            read(Some("2026-01-02T03:04:05Z"), None),
            Ok(Moment::At(UnixMicros(1_767_323_045_000_000)))
        );
        assert_eq!(read(None, Some(4)), Ok(Moment::EndOf(Epoch(4))));
        assert!(matches!(read(None, None), Ok(Moment::Now(now)) if now.0 > 1_767_323_045_000_000));
        let cases = [("41", "expected a time, found an offset"), ("soon", "--at: expected a time")];
        for (at, expected) in cases {
            let refusal = read(Some(at), None).expect_err(at);
            assert!(refusal.contains(expected), "{at}: {refusal}");
        }
    }
}

//! The window of a command that reads a span of the journal: `--since` and `--until`.

use clap::Args;
use jiff::Zoned;
use qmp_wire::UnixMicros;

use crate::exit::Failure;
use crate::output;
use crate::time::parse::{self, When, WhenError};

/// `--since` and `--until`, which are times.
#[derive(Args, Clone, Debug, Default)]
pub struct WindowArgs {
    /// Only from this time on, such as 2h, 7d, today or 2026-01-02T15:04:05Z
    #[arg(long, short = 'S', value_name = "TIME")]
    pub since: Option<String>,

    /// Only before this time
    #[arg(long, short = 'U', value_name = "TIME")]
    pub until: Option<String>,
}

/// A begin and an end, each of which may be absent.
pub type Window = (Option<UnixMicros>, Option<UnixMicros>);

impl WindowArgs {
    /// The times. Notes on the standard error which of them are in the future.
    pub fn window(&self, now: &Zoned) -> Result<Window, Failure> {
        Ok((
            moment("--since", self.since.as_deref(), now, parse::parse_past)?,
            moment("--until", self.until.as_deref(), now, parse::parse)?,
        ))
    }
}

/// The time of the option `name`. Notes on the standard error if it is in the future.
pub fn moment(
    name: &str,
    text: Option<&str>,
    now: &Zoned,
    parse: fn(&str, &Zoned) -> Result<When, WhenError>,
) -> Result<Option<UnixMicros>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let when = parse(text, now).map_err(|error| Failure::usage(format_args!("{name}: {error}")))?;
    parse::future_note(name, text, when, now).iter().for_each(output::note);
    match when {
        When::At(moment) => Ok(Some(moment)),
        When::After(_) => Err(Failure::usage(format_args!("{name}: expected a time, found an offset"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(since: Option<&str>, until: Option<&str>) -> Result<Window, String> {
        let arguments = WindowArgs { since: since.map(Into::into), until: until.map(Into::into) };
        let now: Zoned = "2026-01-02T03:04:05+00:00[UTC]".parse().unwrap();
        arguments.window(&now).map_err(|failure| failure.to_string())
    }

    #[test]
    fn window_has_the_times_and_refuses_offsets() {
        let at = UnixMicros(1_767_319_445_000_000);
        assert_eq!(window(Some("1h"), None), Ok((Some(at), None)));
        assert_eq!(window(None, Some("2026-01-02T02:04:05Z")), Ok((None, Some(at))));
        for (since, until, option) in [(Some("41"), None, "--since"), (None, Some("41"), "--until")] {
            let error = window(since, until).unwrap_err();
            assert!(error.contains(&format!("{option}: expected a time, found an offset")), "{error}");
        }
    }
}

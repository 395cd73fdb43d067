//! The parameters of the endpoints that read a window of the journal.

use std::time::{Duration, Instant};

use qmp_history::{
    BUCKETS_MAX, CountsRequest, Facet, FindingsRequest, GapsRequest, LaneOrder, Scope, Severity,
    TimelineRequest,
};
use qmp_journal::{Globs, Query, RecordKind, WherePath};
use qmp_wire::{Offset, UnixMicros};

use super::error::ApiError;
use super::query::{glob, moment, number, parsed, refuse_repeated, unknown, within, yes_or_no};

/// How long a request may read records for a condition on their data, or in segments without a summary. The response then
/// says up to which record it has counted.
pub(super) const READ_TIME_MAX: Duration = Duration::from_millis(500);

/// Buckets of a timeline unless requested otherwise: the width of a screen.
const BUCKETS: u32 = 1_200;

/// Lanes of a timeline unless requested otherwise.
const LANES: usize = 40;

/// The most lanes of one response. With 1,200 buckets each, they are 24 MB while they are counted.
const LANES_MAX: usize = 1_000;

/// Single events in a timeline unless requested otherwise.
const MARKS: usize = 2_000;

/// The most single events of a timeline.
const MARKS_MAX: usize = 10_000;

/// Buckets of counts unless requested otherwise: the width of a small plot.
const SPARKS: u32 = 60;

/// The most buckets of counts, which each name has.
const SPARKS_MAX: u32 = 400;

/// Names of a facet unless requested otherwise.
const TOP: usize = 20;

/// The most names of a facet.
const TOP_MAX: usize = 1_000;

/// Findings or gaps of one response unless requested otherwise.
const ENTRIES: usize = 200;

/// The most findings or gaps of one response.
const ENTRIES_MAX: usize = 1_000;

/// The longest offset of a zone from UTC, in minutes.
const ZONE_MAX_MINUTES: i64 = 14 * 60;

/// The most digits of a time in microseconds, which reach the year 2286.
const MICROS_MAX_DIGITS: usize = 16;

/// Parameters that may have several values.
const REPEATABLE: [&str; 8] = ["by", "vm", "host", "event", "finding", "kind", "where", "severity"];

type Parameters = [(String, String)];

/// Parameters that select records in a window.
#[derive(Debug, Default)]
struct Filters<'p> {
    vm: Vec<&'p str>,
    host: Vec<&'p str>,
    event: Vec<&'p str>,
    query: Query,
    after: Option<u64>,
}

impl<'p> Filters<'p> {
    /// Takes a parameter; `false` if it is another one.
    fn take(&mut self, name: &str, value: &'p str) -> Result<bool, ApiError> {
        match name {
            "vm" => self.vm.push(glob(name, value)?),
            "host" => self.host.push(glob(name, value)?),
            "event" => self.event.push(glob(name, value)?),
            "kind" => self.query.kind.push(parsed::<RecordKind>(value)?),
            "where" => self.query.where_.push(parsed::<WherePath>(value)?),
            "since" => self.query.since = Some(instant(name, value)?),
            "until" => self.query.until = Some(instant(name, value)?),
            "after" => self.after = Some(number(name, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn scope(self, head: Offset) -> Result<Scope, ApiError> {
        let after = after(self.after, head)?;
        let (vm, host, event) = (globs(&self.vm)?, globs(&self.host)?, globs(&self.event)?);
        let query = Query { vm, host, event, ..self.query };
        Ok(Scope { query, after, deadline: Some(Instant::now() + READ_TIME_MAX) })
    }
}

/// The parameters of `GET /v1/timeline`.
pub(super) fn timeline(parameters: &Parameters, head: Offset) -> Result<TimelineRequest, ApiError> {
    const KNOWN: [&str; 14] = [
        "vm", "host", "event", "kind", "where", "since", "until", "after", "buckets", "lanes", "from",
        "sort", "marks", "severity",
    ];
    let mut filters = Filters::default();
    let mut request = TimelineRequest {
        scope: Scope::default(),
        buckets: BUCKETS,
        lanes: LANES,
        from: None,
        sort: LaneOrder::Name,
        marks: MARKS,
    };
    for (name, value) in parameters {
        match name.as_str() {
            "buckets" => request.buckets = within_limits(name, value, 1, BUCKETS_MAX)?,
            "lanes" => request.lanes = within_limits(name, value, 0, LANES_MAX)?,
            "marks" => request.marks = within_limits(name, value, 0, MARKS_MAX)?,
            "from" => request.from = Some(value.as_str().into()),
            "sort" => request.sort = order(value)?,
            // Of the response, and not of the reading.
            "severity" => {}
            name => {
                if !filters.take(name, value)? {
                    return Err(unknown(name, &KNOWN));
                }
            }
        }
    }
    refuse_repeated(parameters, &REPEATABLE)?;
    Ok(TimelineRequest { scope: filters.scope(head)?, ..request })
}

/// The severities whose counts `GET /v1/timeline` returns; none stands for all.
pub(super) fn severities(parameters: &Parameters) -> Result<Vec<Severity>, ApiError> {
    let severity = |value: &str| {
        Severity::ALL.into_iter().find(|severity| severity.name() == value).ok_or_else(|| {
            let known = Severity::ALL.map(Severity::name).join(", ");
            ApiError::bad_request(format!("severity={value}: expected one of {known}"))
        })
    };
    let values = parameters.iter().filter(|(name, _)| name == "severity");
    values.map(|(_, value)| severity(value)).collect()
}

/// The parameters of `GET /v1/counts`.
pub(super) fn counts(parameters: &Parameters, head: Offset) -> Result<CountsRequest, ApiError> {
    const KNOWN: [&str; 12] =
        ["by", "vm", "host", "event", "kind", "where", "since", "until", "after", "buckets", "top", "zone"];
    let mut filters = Filters::default();
    let mut request =
        CountsRequest { scope: Scope::default(), by: Vec::new(), buckets: SPARKS, top: TOP, zone_micros: 0 };
    for (name, value) in parameters {
        match name.as_str() {
            "by" => request.by.push(facet(value)?),
            "buckets" => request.buckets = within_limits(name, value, 1, SPARKS_MAX)?,
            "top" => request.top = within_limits(name, value, 0, TOP_MAX)?,
            "zone" => request.zone_micros = zone(value)?,
            name => {
                if !filters.take(name, value)? {
                    return Err(unknown(name, &KNOWN));
                }
            }
        }
    }
    refuse_repeated(parameters, &REPEATABLE)?;
    if request.by.is_empty() {
        request.by.push(Facet::Event);
    }
    request.by.sort_unstable();
    request.by.dedup();
    Ok(CountsRequest { scope: filters.scope(head)?, ..request })
}

/// The parameters of `GET /v1/findings`.
pub(super) fn findings(parameters: &Parameters, head: Offset) -> Result<FindingsRequest, ApiError> {
    const KNOWN: [&str; 8] = ["vm", "host", "finding", "since", "until", "open", "after", "limit"];
    let (mut vm, mut host, mut finding, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut request = FindingsRequest {
        since: None,
        until: None,
        vm: Globs::default(),
        host: Globs::default(),
        finding: Globs::default(),
        open: None,
        after: Offset(0),
        limit: ENTRIES,
    };
    for (name, value) in parameters {
        match name.as_str() {
            "vm" => vm.push(glob(name, value)?),
            "host" => host.push(glob(name, value)?),
            "finding" => finding.push(glob(name, value)?),
            "since" => request.since = Some(instant(name, value)?),
            "until" => request.until = Some(instant(name, value)?),
            "open" => request.open = Some(yes_or_no(name, value)?),
            "after" => last = Some(number(name, value)?),
            "limit" => request.limit = within_limits(name, value, 1, ENTRIES_MAX)?,
            name => return Err(unknown(name, &KNOWN)),
        }
    }
    refuse_repeated(parameters, &REPEATABLE)?;
    let (vm, host, finding) = (globs(&vm)?, globs(&host)?, globs(&finding)?);
    Ok(FindingsRequest { vm, host, finding, after: after(last, head)?, ..request })
}

/// The parameters of `GET /v1/gaps`.
pub(super) fn gaps(parameters: &Parameters, head: Offset) -> Result<GapsRequest, ApiError> {
    const KNOWN: [&str; 6] = ["vm", "host", "since", "until", "after", "limit"];
    let (mut vm, mut host, mut last) = (Vec::new(), Vec::new(), None);
    let mut request = GapsRequest {
        since: None,
        until: None,
        vm: Globs::default(),
        host: Globs::default(),
        after: Offset(0),
        limit: ENTRIES,
    };
    for (name, value) in parameters {
        match name.as_str() {
            "vm" => vm.push(glob(name, value)?),
            "host" => host.push(glob(name, value)?),
            "since" => request.since = Some(instant(name, value)?),
            "until" => request.until = Some(instant(name, value)?),
            "after" => last = Some(number(name, value)?),
            "limit" => request.limit = within_limits(name, value, 1, ENTRIES_MAX)?,
            name => return Err(unknown(name, &KNOWN)),
        }
    }
    refuse_repeated(parameters, &REPEATABLE)?;
    Ok(GapsRequest { vm: globs(&vm)?, host: globs(&host)?, after: after(last, head)?, ..request })
}

fn after(number: Option<u64>, head: Offset) -> Result<Offset, ApiError> {
    number.map_or(Ok(Offset(0)), |number| within("after", number, head))
}

fn globs(patterns: &[&str]) -> Result<Globs, ApiError> {
    Globs::parse(patterns.iter().copied()).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// A time: microseconds since the Unix epoch, or RFC 3339.
fn instant(name: &str, value: &str) -> Result<UnixMicros, ApiError> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return moment(name, value);
    }
    match value.parse().ok().filter(|_| digits.len() <= MICROS_MAX_DIGITS) {
        Some(micros) => Ok(UnixMicros(micros)),
        None => Err(ApiError::bad_request(format!(
            "{name}={value}: expected microseconds since 1970 in at most {MICROS_MAX_DIGITS} digits, or a timestamp such as \
             2026-01-02T03:04:05Z"
        ))),
    }
}

fn within_limits<T: Copy + std::str::FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    value: &str,
    min: T,
    max: T,
) -> Result<T, ApiError> {
    match value.parse::<T>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => {
            Err(ApiError::bad_request(format!("{name}={value}: expected a whole number from {min} to {max}")))
        }
    }
}

fn order(value: &str) -> Result<LaneOrder, ApiError> {
    match value {
        "name" => Ok(LaneOrder::Name),
        "trouble" => Ok(LaneOrder::Trouble),
        "activity" => Ok(LaneOrder::Activity),
        _ => Err(ApiError::bad_request(format!("sort={value}: expected name, trouble or activity"))),
    }
}

fn facet(value: &str) -> Result<Facet, ApiError> {
    Facet::ALL.into_iter().find(|facet| facet.name() == value).ok_or_else(|| {
        let known = Facet::ALL.map(Facet::name).join(", ");
        ApiError::bad_request(format!("by={value}: expected one of {known}"))
    })
}

/// The offset of a zone, such as `+02:00`, in microseconds.
fn zone(value: &str) -> Result<i64, ApiError> {
    let refused =
        || ApiError::bad_request(format!("zone={value}: expected an offset such as +02:00 (write + as %2B)"));
    let (sign, rest) = match value.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(refused()),
    };
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten().map(i64::from);
    let minutes = rest.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes) = (digits(hours)?, digits(minutes).filter(|minutes| *minutes < 60)?);
        Some(hours * 60 + minutes).filter(|minutes| *minutes <= ZONE_MAX_MINUTES)
    });
    Ok(sign * minutes.ok_or_else(refused)? * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_parameter_is_read() {
        let parameters = owned(&[
            ("vm", "web*"),
            ("event", "STOP"),
            ("kind", "event"),
            ("where", "a=1"),
            ("since", "1764288000000000"),
            ("until", "2026-01-01T00:00:00Z"),
            ("after", "7"),
            ("buckets", "100"),
            ("lanes", "3"),
            ("from", "web2"),
            ("sort", "trouble"),
            ("marks", "0"),
        ]);
        let request = timeline(&parameters, Offset(9)).expect("good parameters");
        assert_eq!((request.buckets, request.lanes, request.marks), (100, 3, 0));
        assert_eq!((request.from.as_deref(), request.sort), (Some("web2"), LaneOrder::Trouble));
        assert_eq!(request.scope.after, Offset(7));
        let query = request.scope.query;
        assert!(query.vm.matches("web1") && !query.vm.matches("db1") && query.event.matches("STOP"));
        assert_eq!(query.since, Some(UnixMicros(1_764_288_000_000_000)));
        assert_eq!(query.until, Some(UnixMicros(1_767_225_600_000_000)));

        let request = counts(&owned(&[("by", "vm"), ("by", "event"), ("zone", "-01:30")]), Offset(9));
        let request = request.expect("good parameters");
        assert_eq!(request.by, [Facet::Event, Facet::Vm]);
        assert_eq!(request.zone_micros, -5_400_000_000);
        assert_eq!(counts(&[], Offset(9)).expect("good parameters").by, [Facet::Event]);
        let request = findings(&owned(&[("open", "true"), ("finding", "why-*"), ("limit", "5")]), Offset(9));
        let request = request.expect("good parameters");
        assert_eq!(
            (request.open, request.limit, request.finding.matches("why-ended")),
            (Some(true), 5, true)
        );
        let request = gaps(&owned(&[("vm", "web1"), ("since", "-1")]), Offset(9)).expect("good parameters");
        assert_eq!((request.since, request.until), (Some(UnixMicros(-1)), None));
    }

    #[test]
    fn wrong_parameter_is_refused_with_advice() {
        let cases: [(&str, &str, &str); 10] = [
            ("lane", "1", "unknown parameter \"lane\"; did you mean lanes?"),
            ("buckets", "0", "buckets=0: expected a whole number from 1 to 4000"),
            ("lanes", "1001", "lanes=1001: expected a whole number from 0 to 1000"),
            ("sort", "size", "sort=size: expected name, trouble or activity"),
            (
                "since",
                "12345678901234567",
                "since=12345678901234567: expected microseconds since 1970 in at most 16 digits, or a timestamp",
            ),
            ("since", "-9223372036854775808", "since=-9223372036854775808: expected microseconds since 1970"),
            ("until", "yesterday", "until=yesterday: expected a timestamp"),
            ("after", "10", "after: 10: this journal ends at 9"),
            ("vm", "[a", "bad pattern \"[a\": "),
            ("follow", "true", "unknown parameter \"follow\"; known: vm, host, event,"),
        ];
        for (name, value, expected) in cases {
            let error = timeline(&owned(&[(name, value)]), Offset(9)).expect_err(name);
            assert_eq!(error.status, 400, "{name}={value}");
            assert!(error.desc.starts_with(expected), "{name}={value}: {}", error.desc);
        }
        for (severity, is_known) in [("warning", true), ("urgent", false), ("", false)] {
            assert_eq!(severities(&owned(&[("severity", severity)])).is_ok(), is_known, "{severity}");
        }
        for zone in ["", "02:00", "+2:00", "+02", "+02:60", "+15:00", "+aa:00", "é2:00"] {
            assert!(counts(&owned(&[("zone", zone)]), Offset(9)).is_err(), "{zone}");
        }
        assert!(counts(&owned(&[("by", "colour")]), Offset(9)).is_err());
    }

    #[test]
    fn repeated_parameter_that_takes_one_value_is_refused() {
        let parameters = owned(&[("since", "1"), ("vm", "a"), ("vm", "b"), ("since", "2")]);
        let refused = [
            timeline(&parameters, Offset(9)).err(),
            counts(&parameters, Offset(9)).err(),
            findings(&parameters, Offset(9)).err(),
            gaps(&parameters, Offset(9)).err(),
        ];
        for error in refused {
            assert_eq!(error.expect("refused").desc, "since is given twice; it takes one value");
        }
    }
}

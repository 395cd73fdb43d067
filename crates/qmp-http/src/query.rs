//! The parameters of `GET /v1/records` and `GET /v1/events`, parsed into a query of the journal.

use std::collections::HashSet;
use std::str::FromStr;

use jiff::fmt::temporal::Pieces;
use qmp_journal::{Globs, Query, RecordKind, WherePath};
use qmp_settings::suggest::nearest;
use qmp_wire::{Offset, UnixMicros};

use super::error::ApiError;

/// The most that `last` may request, in records. The records are searched from the end before the first is sent; a
/// reader that reads forwards is not limited.
pub(super) const LAST_MAX_RECORDS: usize = 10_000;

/// The records that a reader requests.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordQuery {
    pub(super) query: Query,
    pub(super) after: Option<Offset>,
    pub(super) last: Option<usize>,
    pub(super) follow: bool,
}

const NAMES: [&str; 10] =
    ["vm", "host", "event", "kind", "after", "since", "until", "where", "last", "follow"];

impl RecordQuery {
    /// Parses the parameters of a URL. `vm`, `host`, `event`, `kind` and `where` may be repeated.
    ///
    /// # Errors
    ///
    /// [`ApiError`] with the parameter that is wrong, and what to write.
    pub(super) fn read(parameters: &[(String, String)]) -> Result<Self, ApiError> {
        let mut request = Self::default();
        let (mut vm, mut host, mut event): (Vec<&str>, Vec<&str>, Vec<&str>) = <_>::default();
        for (name, value) in parameters {
            match name.as_str() {
                "vm" => vm.push(glob(name, value)?),
                "host" => host.push(glob(name, value)?),
                "event" => event.push(glob(name, value)?),
                "kind" => request.query.kind.push(parsed::<RecordKind>(value)?),
                "after" => request.after = Some(Offset(number(name, value)?)),
                "since" => request.query.since = Some(moment(name, value)?),
                "until" => request.query.until = Some(moment(name, value)?),
                "where" => request.query.where_.push(parsed::<WherePath>(value)?),
                "last" => request.last = Some(last(name, value)?),
                "follow" => request.follow = yes_or_no(name, value)?,
                _ => return Err(unknown(name, &NAMES)),
            }
        }
        refuse_repeated(parameters, &["vm", "host", "event", "kind", "where"])?;
        let refused = |error: qmp_journal::QueryError| ApiError::bad_request(error.to_string());
        request.query.vm = Globs::parse(vm).map_err(refused)?;
        request.query.host = Globs::parse(host).map_err(refused)?;
        request.query.event = Globs::parse(event).map_err(refused)?;
        Ok(request)
    }
}

/// Returns the offset `number`, given by the parameter or header `name` as that of a record that was read.
///
/// # Errors
///
/// [`ApiError`] if the offset is after the head: committed records stay, so it belongs to another journal, whose offsets
/// mean nothing in this one.
pub(super) fn within(name: &str, number: u64, head: Offset) -> Result<Offset, ApiError> {
    if number > head.0 {
        let desc = format!(
            "{name}: {number}: this journal ends at {}, so the offset is from another journal; leave it out",
            head.0
        );
        return Err(ApiError::bad_request(desc));
    }
    Ok(Offset(number))
}

/// Refuses a `]` without a `[`: in other patterns it is a literal, here more likely a mistake.
pub(super) fn glob<'v>(name: &str, value: &'v str) -> Result<&'v str, ApiError> {
    let mut in_class = false;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '[' => in_class = true,
            ']' if !std::mem::take(&mut in_class) => {
                return Err(ApiError::bad_request(format!(
                    "{name}={value}: a ] without a [; write \\] for the character"
                )));
            }
            _ => {}
        }
    }
    Ok(value)
}

pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|error: T::Err| ApiError::bad_request(error.to_string()))
}

pub(super) fn number<T: FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    let refused = || ApiError::bad_request(format!("{name}={value}: expected a whole number from 0"));
    value.parse().map_err(|_| refused())
}

fn last(name: &str, value: &str) -> Result<usize, ApiError> {
    let count: usize = number(name, value)?;
    if count > LAST_MAX_RECORDS {
        let desc =
            format!("{name}={value}: at most {LAST_MAX_RECORDS}; for more, read on from since=… or after=…");
        return Err(ApiError::bad_request(desc));
    }
    Ok(count)
}

pub(super) fn moment(name: &str, value: &str) -> Result<UnixMicros, ApiError> {
    match value.parse::<jiff::Timestamp>() {
        Ok(moment) => Ok(UnixMicros(moment.as_microsecond())),
        // A valid timestamp out of the range of `jiff::Timestamp`.
        Err(_) if Pieces::parse(value).is_ok_and(|at| at.time().is_some() && at.offset().is_some()) => {
            Err(ApiError::bad_request(format!(
                "{name}={value}: timestamps range from {} to {}; leave {name} out to go further",
                jiff::Timestamp::MIN,
                jiff::Timestamp::MAX
            )))
        }
        Err(_) => Err(ApiError::bad_request(format!(
            "{name}={value}: expected a timestamp such as 2026-01-02T03:04:05Z (write a + as %2B)"
        ))),
    }
}

pub(super) fn yes_or_no(name: &str, value: &str) -> Result<bool, ApiError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ApiError::bad_request(format!("{name}={value}: expected true or false"))),
    }
}

/// Refuses a second value of a parameter that is not `repeatable`: only one of both could have an effect.
pub(super) fn refuse_repeated(parameters: &[(String, String)], repeatable: &[&str]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    let mut single =
        parameters.iter().map(|(name, _)| name.as_str()).filter(|name| !repeatable.contains(name));
    match single.find(|name| !seen.insert(*name)) {
        Some(name) => Err(ApiError::bad_request(format!("{name} is given twice; it takes one value"))),
        None => Ok(()),
    }
}

/// Refuses all parameters.
pub(super) fn refuse_all(parameters: &[(String, String)]) -> Result<(), ApiError> {
    match parameters.first() {
        Some((name, _)) => {
            Err(ApiError::bad_request(format!("unknown parameter {name:?}; this address takes none")))
        }
        None => Ok(()),
    }
}

/// The error of a parameter that is none of `known`.
pub(super) fn unknown(name: &str, known: &[&'static str]) -> ApiError {
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known: {}", known.join(", ")),
    };
    ApiError::bad_request(format!("unknown parameter {name:?}; {advice}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_parameter_is_read() {
        let request = read(&[
            ("vm", "web*"),
            ("vm", "db1"),
            ("event", "STOP"),
            ("kind", "event"),
            ("kind", "detached"),
            ("after", "18446744073709551615"),
            ("since", "1970-01-01T00:00:01Z"),
            ("until", "1970-01-01T01:00:00.5+01:00"),
            ("where", "a.b=1"),
            ("where", "c=d"),
            ("last", "7"),
            ("follow", "true"),
        ])
        .expect("good parameters");
        assert!(request.query.vm.matches("web1") && request.query.vm.matches("db1"));
        assert!(!request.query.vm.matches("db2") && !request.query.event.matches("RESUME"));
        assert_eq!(request.query.kind, [RecordKind::Event, RecordKind::Detached]);
        assert_eq!(request.query.since, Some(UnixMicros(1_000_000)));
        assert_eq!(request.query.until, Some(UnixMicros(500_000)));
        assert_eq!(request.query.where_.len(), 2);
        assert_eq!((request.after, request.last, request.follow), (Some(Offset(u64::MAX)), Some(7), true));

        let nothing = read(&[]).expect("no parameters");
        assert!(nothing.query.vm.is_any() && nothing.after.is_none() && !nothing.follow);
    }

    #[test]
    fn wrong_parameter_is_refused_with_advice() {
        let cases: [(&str, &str, &str); 14] = [
            ("evnt", "STOP", "unknown parameter \"evnt\"; did you mean event?"),
            (
                "colour",
                "",
                "unknown parameter \"colour\"; known: vm, host, event, kind, after, since, until, where, last, follow",
            ),
            ("after", "-1", "after=-1: expected a whole number from 0"),
            ("last", "10001", "last=10001: at most 10000; for more, read on from since=… or after=…"),
            ("last", "many", "last=many: expected a whole number from 0"),
            ("since", "2h", "since=2h: expected a timestamp such as 2026-01-02T03:04:05Z (write a + as %2B)"),
            (
                "since",
                "9999-12-31T23:59:59Z",
                "since=9999-12-31T23:59:59Z: timestamps range from -009999-01-02T01:59:59Z to",
            ),
            ("until", "9999-13-31T23:59:59Z", "until=9999-13-31T23:59:59Z: expected a timestamp such as"),
            ("follow", "maybe", "follow=maybe: expected true or false"),
            ("kind", "evnt", "unknown kind \"evnt\": one of attached, event, finding, detached"),
            (
                "where",
                "action",
                "bad condition \"action\": write PATH=VALUE, such as action=reset or info.type=hyper-v",
            ),
            ("vm", "[a", "bad pattern \"[a\": "),
            ("vm", "a]", "vm=a]: a ] without a [; write \\] for the character"),
            ("follow", "1", "follow=1: expected true or false"),
        ];
        for (name, value, expected) in cases {
            let error = read(&[(name, value)]).expect_err(name);
            assert_eq!(error.status, 400, "{name}={value}");
            assert!(error.desc.starts_with(expected), "{name}={value}: {}", error.desc);
        }
    }

    #[test]
    fn repeated_parameter_that_takes_one_value_is_refused() {
        let singles = [("after", "1"), ("since", "1970-01-01T00:00:01Z"), ("until", "1970-01-01T00:00:01Z")];
        for single in singles.into_iter().chain([("last", "1"), ("follow", "true")]) {
            let error = read(&[single, ("vm", "a"), single]).expect_err(single.0);
            assert_eq!(error.desc, format!("{} is given twice; it takes one value", single.0));
        }
    }

    proptest! {
        /// A value that matches the document's pattern for a parameter is accepted.
        #[test]
        fn value_that_matches_the_document_is_accepted(
            (name, value) in prop_oneof![documented("vm"), documented("event"), documented("where")]
        ) {
            let parsed = read(&[(name, value.as_str())]);
            prop_assert!(parsed.is_ok(), "{name}={value:?}: {parsed:?}");
        }
    }

    /// A parameter with values that match the document's pattern.
    fn documented(name: &'static str) -> impl Strategy<Value = (&'static str, String)> {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
        let schema = &document["components"]["parameters"][name]["schema"]["items"];
        let pattern = schema["pattern"].as_str().expect("a pattern").trim_matches(['^', '$']);
        let values = proptest::string::string_regex(&format!("(?s){}", pattern.replace("[\\s\\S]", ".")));
        values.expect("a pattern").prop_map(move |value| (name, value))
    }

    fn read(parameters: &[(&str, &str)]) -> Result<RecordQuery, ApiError> {
        let owned: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        RecordQuery::read(&owned)
    }
}

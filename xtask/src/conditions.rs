//! Formats conditions: `action` is `reset`, without `-no-reboot`, from 2.1 on.

use crate::model::{Ends, Sequel, Values};
use crate::release::Release;

/// Returns the condition of a sequel; empty if it always follows.
pub(crate) fn of_sequel(sequel: &Sequel) -> String {
    let Sequel { when, option, unless_option, since, removed, .. } = sequel;
    text(when, option.as_deref(), unless_option.as_deref(), *since, *removed)
}

/// Returns the condition under which QEMU exits; empty for always.
pub(crate) fn of_ends(ends: &Ends) -> String {
    let Ends { when, option, unless_option, since, removed, .. } = ends;
    text(when, option.as_deref(), unless_option.as_deref(), *since, *removed)
}

/// Returns members and their values: `` `action` is `reset` or `pause` ``.
pub(crate) fn of_values(values: &Values) -> String {
    let one = |(member, values): (&String, &Vec<_>)| {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        format!("`{member}` is {}", values.join(" or "))
    };
    values.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Returns a span of releases: `from 2.1 on`, `before 4.0`, `from 2.1 on, before 4.0`; empty for all.
pub(crate) fn of_releases(since: Option<Release>, removed: Option<Release>) -> String {
    let since = since.map(|since| format!("from {since} on"));
    let removed = removed.map(|removed| format!("before {removed}"));
    since.into_iter().chain(removed).collect::<Vec<_>>().join(", ")
}

fn text(
    when: &Values,
    option: Option<&str>,
    unless_option: Option<&str>,
    since: Option<Release>,
    removed: Option<Release>,
) -> String {
    let parts = [
        of_values(when),
        option.map_or(String::new(), |option| format!("with `{option}`")),
        unless_option.map_or(String::new(), |option| format!("without `{option}`")),
        of_releases(since, removed),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

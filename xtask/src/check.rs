//! Checks that the catalogue is consistent, beyond the syntax of its files.
//!
//! All errors are collected, each with the module, the event or type, and the member.

mod errors;
mod events;
mod types;

use anyhow::{Result, bail};

use crate::model::Catalogue;
use errors::Errors;

/// Refuses an inconsistent catalogue.
///
/// # Errors
///
/// All errors, one per line.
pub(crate) fn check(catalogue: &Catalogue) -> Result<()> {
    let mut errors = Errors::default();
    releases(catalogue, &mut errors);
    types::check(catalogue, &mut errors);
    // The following checks walk through types: these have to be defined and finite.
    if errors.0.is_empty() {
        events::check(catalogue, &mut errors);
    }
    if errors.0.is_empty() {
        return Ok(());
    }
    bail!("the catalogue is not consistent:\n{}", errors.0.join("\n"));
}

fn releases(catalogue: &Catalogue, errors: &mut Errors) {
    let rising = catalogue.releases.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || catalogue.releases.iter().any(|release| release.micro.is_some()) {
        errors.add("catalogue/releases.toml", "releases must increase and have no micro number");
    }
    if catalogue.releases.is_empty() {
        errors.add("catalogue/releases.toml", "no release");
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::model::{Catalogue, Module};

    /// One event, one enum, one struct, all valid.
    const VALID: &str = r#"
        module = "m"
        [[enum]]
        name = "Action"
        summary = "What."
        source = "s"
        value = [{ name = "reset" }, { name = "pause", since = "0.13" }]
        [[struct]]
        name = "Info"
        summary = "What."
        source = "s"
        member = [{ name = "count", type = "int", summary = "How many." }]
        [[event]]
        name = "WATCHDOG"
        since = "0.12"
        summary = "What."
        libvirt = ["watchdog"]
        source = "s"
        throttle = { interval_ms = 1000, since = "0.13", key = [{ member = "id", since = "0.14" }] }
        member = [
          { name = "action", type = "Action", summary = "What." },
          { name = "id", type = "str", summary = "Which." },
          { name = "info", type = "Info", optional = true, summary = "More." },
        ]
        sequel = [{ event = "WATCHDOG", when = { action = ["reset"] } }]
        rule = [{ when = { action = ["reset"] }, then = { "info.count" = [1] } }]
        example = ['{"action": "reset", "id": "a"}']
    "#;

    #[test]
    fn inconsistent_catalogue_is_refused() {
        let cases = [
            // replaced              by                                     error
            ("module = \"m\"", "module = \"m\"", ""),
            ("type = \"Action\"", "type = \"Act\"", "event WATCHDOG: member action: type Act is not defined"),
            (
                "throttle =",
                "failure = { member = \"no\" }\n        throttle =",
                "failure: there is no member no",
            ),
            (
                "throttle =",
                "failure = { member = \"id\" }\n        throttle =",
                "failure: id must be an optional str",
            ),
            ("type = \"int\"", "type = \"Info\"", "struct Info: contains itself"),
            ("type = \"int\"", "type = \"[Info]\"", "struct Info: contains itself"),
            ("since = \"0.12\"", "since = \"0.9\"", "release 0.9 is not in"),
            ("optional = true", "since = \"0.11.1\"", "release 0.11.1 is not in"),
            ("since = \"0.12\"", "since = \"0.12\"\nremoved = \"0.12\"", "removed = 0.12 must come after"),
            ("name = \"pause\"", "name = \"reset\"", "enum Action: value reset is defined twice"),
            ("name = \"pause\"", "name = \"other\"", "value other cannot be called Other"),
            ("name = \"id\"", "name = \"action\"", "event WATCHDOG: member action is defined twice"),
            ("name = \"id\"", "name = \"1d\"", "member 1d cannot be a name in Rust"),
            ("name = \"id\"", "name = \"unknown\"", "member unknown cannot be a name in Rust"),
            ("member = \"id\"", "member = \"name\"", "throttle: there is no member name"),
            ("member = \"id\"", "member = \"action\"", "throttle: key action must be a str"),
            ("event = \"WATCHDOG\"", "event = \"NONE\"", "sequel 1: there is no event NONE"),
            ("{ action = [\"reset\"] } }]", "{ action = [\"rest\"] } }]", "action has no value rest"),
            ("\"info.count\"", "\"info.sum\"", "rule 1: there is no member info.sum"),
            ("\"info.count\" = [1]", "\"info.count\" = [true]", "rule 1: info.count is never true"),
            ("'{\"action\": \"reset\", \"id\": \"a\"}'", "", "at least one example"),
            ("'{\"action\": \"reset\", \"id\": \"a\"}'", "'[]'", "example 1: not a JSON object"),
            ("summary = \"How many.\"", "summary = \"\"", "summary must be one line"),
            ("libvirt = [\"watchdog\"]", "libvirt = [\"wake\"]", "libvirt: wake is no event of libvirt"),
            ("libvirt = [\"watchdog\"]", "libvirt = [\"lifecycle\"]", "lifecycle is no event of libvirt"),
        ];
        for (replaced, by, expected) in cases {
            assert!(VALID.contains(replaced), "{replaced}");
            let errors = errors_of(&VALID.replacen(replaced, by, 1));
            assert!(errors.contains(expected) && errors.is_empty() == expected.is_empty(), "{by}: {errors}");
        }
    }

    #[test]
    fn unknown_key_is_refused() {
        let cases = ["name = \"id\", sinc = \"1.0\"", "name = \"id\", optional = 1"];
        for case in cases {
            assert!(toml::from_str::<Module>(&VALID.replacen("name = \"id\"", case, 1)).is_err(), "{case}");
        }
    }

    fn errors_of(module: &str) -> String {
        let module: Module = toml::from_str(module).unwrap();
        let releases = ["0.12", "0.13", "0.14"].map(|text| text.to_owned().try_into().unwrap());
        let catalogue = Catalogue { releases: releases.into(), modules: vec![module] };
        check(&catalogue).err().map_or(String::new(), |error| error.to_string())
    }
}

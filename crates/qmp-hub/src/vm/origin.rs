//! Where a VM came from: a VM is removed by the source that added it.

use std::fmt;
use std::sync::Arc;

/// Where a VM came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VmOrigin {
    /// A `[[vm]]` of the configuration file.
    Configuration,
    /// `--attach`.
    CommandLine,
    /// The program that the hub is part of.
    Program,
    /// A rule of discovery, as it is displayed: `[[discover]] glob = "/run/vm/*.sock"`.
    Discovered(Arc<str>),
}

impl fmt::Display for VmOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => formatter.write_str("configuration"),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Program => formatter.write_str("program"),
            Self::Discovered(rule) => formatter.write_str(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_by_people() {
        let cases = [
            (VmOrigin::Configuration, "configuration"),
            (VmOrigin::CommandLine, "command line"),
            (VmOrigin::Program, "program"),
            (VmOrigin::Discovered("[[discover]] processes = true".into()), "[[discover]] processes = true"),
        ];
        for (origin, expected) in cases {
            assert_eq!(origin.to_string(), expected);
        }
    }
}

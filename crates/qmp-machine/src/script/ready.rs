//! The scripts that come with the program.

use super::Script;

/// A script that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The name, for `--script NAME`.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        /// All bundled scripts; the most instructive are first.
        pub const SCRIPTS: &[Ready] = &[
            $(Ready { name: $name, text: include_str!(concat!("../../scripts/", $name, ".toml")) },)*
        ];
    };
}

scripts! {
    "day",
    "io-errors",
    "migration",
    "watchdog-loop",
    "unplug-race",
    "reboot-loop",
    "panic",
    "jobs",
    "console",
    "bad-monitor",
}

/// Returns the script of that name.
#[must_use]
pub fn find(name: &str) -> Option<Ready> {
    SCRIPTS.iter().copied().find(|ready| ready.name == name)
}

impl Ready {
    /// Parses the script.
    ///
    /// # Panics
    ///
    /// Never: a test parses all bundled scripts.
    #[must_use]
    pub fn script(self) -> Script {
        match Script::parse(self.name, self.text) {
            Ok(script) => script,
            Err(error) => unreachable!("a script of the program is sound: {error}"),
        }
    }
}

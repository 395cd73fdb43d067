//! The scripts that come with the program.

use super::model::Script;

/// A script that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundledScript {
    /// The name, for `--script NAME`.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        /// All bundled scripts; the most instructive are first.
        pub const SCRIPTS: &[BundledScript] = &[
            $(BundledScript { name: $name, text: include_str!(concat!("../../scripts/", $name, ".toml")) },)*
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
pub fn find(name: &str) -> Option<BundledScript> {
    SCRIPTS.iter().copied().find(|bundled| bundled.name == name)
}

impl BundledScript {
    /// Parses the script.
    ///
    /// # Panics
    ///
    /// Never: a test parses all bundled scripts.
    #[must_use]
    pub fn script(self) -> Script {
        match Script::parse(self.name, self.text) {
            Ok(script) => script,
            Err(error) => unreachable!("a bundled script is valid: {error}"),
        }
    }
}

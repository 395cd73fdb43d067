//! The scripts that come with the program.

use super::Script;

/// A script that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its name, for `--script NAME`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        /// All of them; those that show most stand first.
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

/// The script of that name.
#[must_use]
pub fn find(name: &str) -> Option<Ready> {
    SCRIPTS.iter().copied().find(|ready| ready.name == name)
}

impl Ready {
    /// Reads it.
    ///
    /// # Panics
    ///
    /// Never: a test reads them all.
    #[must_use]
    pub fn script(self) -> Script {
        match Script::parse(self.name, self.text) {
            Ok(script) => script,
            Err(error) => unreachable!("a script of the program is sound: {error}"),
        }
    }
}

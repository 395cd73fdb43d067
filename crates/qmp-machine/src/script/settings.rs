//! The machine settings of a script.

use qmp_events::{RELEASES, Release};

use crate::{
    action::Action,
    config::MachineConfig,
    guest::Guest,
    transitions::{PanicAction, RebootAction, ShutdownAction, WatchdogPolicy},
};

/// The machine settings that a script changes; the others keep their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineSettings {
    /// The QEMU release that the machine claims to be.
    pub release: Option<Release>,
    /// The action at a reboot.
    pub reboot: Option<RebootAction>,
    /// The action at a shutdown.
    pub shutdown: Option<ShutdownAction>,
    /// The action at a panic.
    pub panic: Option<PanicAction>,
    /// The action when a watchdog expires.
    pub watchdog: Option<WatchdogPolicy>,
    /// Whether the machine waits for `cont`.
    pub start_stopped: Option<bool>,
    /// Whether the machine waits for a migration.
    pub incoming: Option<bool>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Number of processors.
    pub cpus: Option<u32>,
    /// Whether an operating system runs in the guest.
    pub guest: Option<Guest>,
    /// Whether the usual devices and the operating system are left out.
    pub bare: bool,
    /// Devices in addition to the usual ones.
    pub devices: Vec<Action>,
}

impl MachineSettings {
    /// Writes the settings of the script into `config`.
    pub fn apply(&self, config: &mut MachineConfig) {
        set(&mut config.release, self.release);
        set(&mut config.policy.reboot, self.reboot);
        set(&mut config.policy.shutdown, self.shutdown);
        set(&mut config.policy.panic, self.panic);
        set(&mut config.policy.watchdog, self.watchdog);
        set(&mut config.start_stopped, self.start_stopped);
        set(&mut config.incoming, self.incoming);
        set(&mut config.memory_bytes, self.memory_bytes);
        set(&mut config.cpus, self.cpus);
        if self.bare {
            let bare = MachineConfig::bare();
            (config.devices, config.guest) = (bare.devices, bare.guest);
        }
        set(&mut config.guest, self.guest);
        config.devices.extend(self.devices.iter().cloned());
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Parses the number of a release: `7.2`, or `7.2.22`.
///
/// # Errors
///
/// A message for users: the text is not a number, or there is no such release.
pub fn release(text: &str) -> Result<Release, String> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    let (major, minor, micro) = match numbers.as_deref() {
        Some([major, minor]) => (*major, *minor, 0),
        Some([major, minor, micro]) => (*major, *minor, *micro),
        _ => return Err(format!("\"{text}\" is not a release; write 7.2 or 7.2.22")),
    };
    let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let line = Release::new(number(major), number(minor));
    if !RELEASES.contains(&line) {
        let (first, last) = (RELEASES[0], Release::newest());
        return Err(format!(
            "release {major}.{minor} does not exist; the first is {first}, the newest {last}"
        ));
    }
    Ok(Release::stable(line.major, line.minor, number(micro)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_must_exist() {
        type Case<'a> = (&'a str, Result<(u16, u16, u16), &'a str>);
        let cases: [Case<'_>; 7] = [
            ("7.2", Ok((7, 2, 0))),
            ("7.2.22", Ok((7, 2, 22))),
            ("0.14", Ok((0, 14, 0))),
            ("7", Err("not a release")),
            ("7.3", Err("release 7.3 does not exist")),
            ("7.2.x", Err("write 7.2")),
            ("", Err("write 7.2")),
        ];
        for (text, expected) in cases {
            match (release(text), expected) {
                (Ok(found), Ok((major, minor, micro))) => {
                    assert_eq!(found, Release::stable(major, minor, micro), "{text}");
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn unset_setting_keeps_its_default() {
        let mut config = MachineConfig::default();
        MachineSettings::default().apply(&mut config);
        assert_eq!(config, MachineConfig::default());
        let settings = MachineSettings {
            release: Some(Release::stable(7, 2, 0)),
            bare: true,
            cpus: Some(4),
            ..MachineSettings::default()
        };
        settings.apply(&mut config);
        assert_eq!((config.release, config.cpus, config.devices.len()), (Release::stable(7, 2, 0), 4, 0));
    }
}

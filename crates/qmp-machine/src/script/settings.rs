//! The machine that a script wants.

use qmp_events::{RELEASES, Release};

use crate::{Action, Guest, MachineConfig, PanicAction, RebootAction, ShutdownAction, WatchdogAction};

/// What of a machine a script sets; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The release of QEMU that it claims to be.
    pub release: Option<(u32, u32, u32)>,
    /// What it does at a reboot.
    pub reboot: Option<RebootAction>,
    /// What it does at a shutdown.
    pub shutdown: Option<ShutdownAction>,
    /// What it does at a panic.
    pub panic: Option<PanicAction>,
    /// What it does when a watchdog expires.
    pub watchdog: Option<WatchdogAction>,
    /// Whether it waits for `cont`.
    pub start_stopped: Option<bool>,
    /// Whether it waits for a migration.
    pub incoming: Option<bool>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Whether somebody is at home in the guest.
    pub guest: Option<Guest>,
    /// Whether the usual devices and the operating system are left out.
    pub bare: bool,
    /// Devices besides the usual ones.
    pub devices: Vec<Action>,
}

impl Settings {
    /// Sets what the script says.
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

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Reads the number of a release: `7.2`, or `7.2.22`.
///
/// # Errors
///
/// What is wrong, for people: it is no number, or there is no such release.
pub fn release(text: &str) -> Result<(u32, u32, u32), String> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    let (major, minor, micro) = match numbers.as_deref() {
        Some([major, minor]) => (*major, *minor, 0),
        Some([major, minor, micro]) => (*major, *minor, *micro),
        _ => return Err(format!("\"{text}\" is no release; write 7.2 or 7.2.22")),
    };
    let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let line = Release::new(number(major), number(minor));
    if !RELEASES.contains(&line) {
        let (first, last) = (RELEASES[0], Release::newest());
        return Err(format!("there is no release {major}.{minor}; the first is {first}, the newest {last}"));
    }
    Ok((major, minor, micro))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_those_that_exist() {
        type Case<'a> = (&'a str, Result<(u32, u32, u32), &'a str>);
        let cases: [Case<'_>; 7] = [
            ("7.2", Ok((7, 2, 0))),
            ("7.2.22", Ok((7, 2, 22))),
            ("0.14", Ok((0, 14, 0))),
            ("7", Err("no release")),
            ("7.3", Err("there is no release 7.3")),
            ("7.2.x", Err("write 7.2")),
            ("", Err("write 7.2")),
        ];
        for (text, expected) in cases {
            match (release(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_set_stays() {
        let mut config = MachineConfig::default();
        Settings::default().apply(&mut config);
        assert_eq!(config, MachineConfig::default());
        let settings =
            Settings { release: Some((7, 2, 0)), bare: true, cpus: Some(4), ..Settings::default() };
        settings.apply(&mut config);
        assert_eq!((config.release, config.cpus, config.devices.len()), ((7, 2, 0), 4, 0));
    }
}

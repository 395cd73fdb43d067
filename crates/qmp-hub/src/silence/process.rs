//! The process of a monitor that does not answer.

use qmp_host::process::ProcessStat;

/// The process of a monitor, and the letter of its state, if the system shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MonitorProcess {
    pub(crate) pid: Option<i32>,
    pub(crate) state: Option<char>,
}

impl MonitorProcess {
    pub(crate) fn look(pid: Option<i32>) -> Self {
        let found = pid.and_then(|pid| ProcessStat::read(u32::try_from(pid).ok()?));
        Self { pid, state: found.map(|process| process.state) }
    }

    /// Whether a signal or a debugger stopped it: it cannot answer.
    pub(crate) fn is_stopped(self) -> bool {
        matches!(self.state, Some('T' | 't'))
    }

    /// Why its monitor may not answer.
    pub(crate) fn explained(self) -> String {
        match (self.pid, self.state) {
            (Some(pid), Some('T' | 't')) => format!("its process {pid} is stopped, by SIGSTOP or a debugger"),
            (Some(pid), Some('D')) => {
                format!("its process {pid} waits for the kernel, as for a disk that does not answer")
            }
            (_, Some(_)) => "QEMU hangs, or is busy".to_owned(),
            _ => "QEMU hangs, is stopped, or is busy".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanation_names_what_the_system_says() {
        let cases = [
            (Some(7), Some('T'), "its process 7 is stopped, by SIGSTOP or a debugger"),
            (Some(7), Some('D'), "its process 7 waits for the kernel, as for a disk that does not answer"),
            (Some(7), Some('S'), "QEMU hangs, or is busy"),
            (Some(7), None, "QEMU hangs, is stopped, or is busy"),
            (None, None, "QEMU hangs, is stopped, or is busy"),
        ];
        for (pid, state, expected) in cases {
            assert_eq!(MonitorProcess { pid, state }.explained(), expected, "{pid:?} {state:?}");
        }
    }
}

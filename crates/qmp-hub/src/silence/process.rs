//! What the system says of the process of a monitor that does not answer.

/// The state of a process in the letter of `/proc/PID/stat`; `None` if there is no such process.
///
/// Source: proc(5).
pub(super) fn state(pid: i32) -> Option<char> {
    read(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name stands before the state, in brackets, and may have brackets and blanks itself.
fn read(stat: &str) -> Option<char> {
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// Why a monitor may not answer whose process is in that state.
pub(super) fn explained(pid: Option<i32>, state: Option<char>) -> String {
    match (pid, state) {
        (Some(pid), Some('T' | 't')) => format!("its process {pid} is stopped, by SIGSTOP or a debugger"),
        (Some(pid), Some('D')) => {
            format!("its process {pid} waits for the kernel, as for a disk that does not answer")
        }
        (_, Some(_)) => "QEMU hangs, or is busy".to_owned(),
        _ => "QEMU hangs, is stopped, or is busy".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_stands_behind_the_name() {
        let cases = [
            ("1 (qemu) T 1 2 3", Some('T')),
            ("1 (a ) S (b) R 1", Some('R')),
            ("1 (qemu)", None),
            ("", None),
        ];
        for (stat, expected) in cases {
            assert_eq!(read(stat), expected, "{stat:?}");
        }
        let own = i32::try_from(std::process::id()).expect("a number of Linux");
        assert!(state(own).is_some());
        assert_eq!(state(i32::MAX), None);
    }

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
            assert_eq!(explained(pid, state), expected, "{pid:?} {state:?}");
        }
    }
}

//! What the system says of the process of a monitor that does not answer.

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

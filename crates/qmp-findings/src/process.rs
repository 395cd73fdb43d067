//! The process at the other end of a monitor, as snapshots name it.

use serde_json::Value;

use crate::persist::persist;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u64,
    /// Its name (`comm`), up to 15 bytes.
    pub name: Box<str>,
    /// When it was started, if known.
    pub start: Option<ProcessStart>,
}

/// The start of a process: tells apart two processes with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStart {
    /// In clock ticks since the host was started.
    pub ticks: u64,
    /// The id of that boot of the host.
    pub boot_id: Box<str>,
}

/// Whether two snapshots name one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Same,
    Another,
    Unknown,
}

persist!(Process { pid, name, start });
persist!(ProcessStart { ticks, boot_id });

impl Process {
    /// Reads the member `process` of a snapshot.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let text = |member: &str| value.get(member).and_then(Value::as_str).map(Box::from);
        let ticks = value.get("start_ticks").and_then(Value::as_u64);
        let start = ticks.zip(text("boot_id")).map(|(ticks, boot_id)| ProcessStart { ticks, boot_id });
        let pid = value.get("pid").and_then(Value::as_u64)?;
        Some(Self { pid, name: text("name").unwrap_or_default(), start })
    }

    /// Whether the process is a QEMU, and not a manager that opened the socket for one, or a program that forwards a
    /// monitor.
    #[must_use]
    pub fn is_qemu(&self) -> bool {
        is_qemu(&self.name)
    }

    /// Compares the processes of two snapshots. Different ids show different processes; equal ids prove nothing, since
    /// ids are reused. A manager that opened the socket for its QEMU, or a program that forwards a monitor, has another
    /// lifetime than the QEMU.
    pub(crate) fn compare(before: Option<&Self>, after: Option<&Self>) -> Identity {
        let (Some(before), Some(after)) = (before, after) else { return Identity::Unknown };
        if !before.is_qemu() || !after.is_qemu() {
            return Identity::Unknown;
        }
        match (&before.start, &after.start) {
            _ if before.pid != after.pid => Identity::Another,
            (Some(one), Some(other)) if one == other => Identity::Same,
            (Some(_), Some(_)) => Identity::Another,
            _ => Identity::Unknown,
        }
    }
}

/// Whether a process of that name is a QEMU. A process with an empty name is not.
pub(crate) fn is_qemu(name: &str) -> bool {
    name.starts_with("qemu") || name.contains("kvm")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processes_are_compared_by_id_and_start() {
        let process = |pid: u64, start: Option<(u64, &str)>, name: &str| {
            let mut value = json!({"pid": pid, "name": name});
            if let Some((ticks, boot_id)) = start {
                (value["start_ticks"], value["boot_id"]) = (ticks.into(), boot_id.into());
            }
            Process::read(&value).expect("a process")
        };
        let qemu = |pid, start| process(pid, start, "qemu-system-x86");
        let before = qemu(7, Some((100, "a")));
        let cases = [
            ("itself", Some(before.clone()), Identity::Same),
            ("another id", Some(qemu(8, Some((200, "a")))), Identity::Another),
            ("another id, start unknown", Some(qemu(8, None)), Identity::Another),
            ("the same id, reused", Some(qemu(7, Some((200, "a")))), Identity::Another),
            ("the same id after a boot of the host", Some(qemu(7, Some((100, "b")))), Identity::Another),
            ("the same id of another program", Some(process(7, Some((200, "a")), "sh")), Identity::Unknown),
            ("start unknown", Some(qemu(7, None)), Identity::Unknown),
            ("not seen", None, Identity::Unknown),
        ];
        for (name, after, expected) in cases {
            assert_eq!(Process::compare(Some(&before), after.as_ref()), expected, "{name}");
        }
        let manager = |pid| process(pid, Some((100, "a")), "libvirtd");
        assert_eq!(Process::compare(Some(&manager(7)), Some(&manager(7))), Identity::Unknown);
        assert_eq!(Process::compare(Some(&manager(7)), Some(&manager(8))), Identity::Unknown);
        assert_eq!(Process::compare(None, Some(&before)), Identity::Unknown);
    }
}

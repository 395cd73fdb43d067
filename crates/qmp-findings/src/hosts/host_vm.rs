//! A VM on one host.

use qmp_wire::{Body, Record};

use crate::correlators::Correlators;

use super::migration_sides::MigrationSides;
use super::run::Run;

/// A VM on one host: its identity, whether it runs, and its migrations.
#[derive(Debug, Default)]
pub(super) struct HostVm {
    pub(super) uuid: Option<u128>,
    pub(super) run: Option<Run>,
    pub(super) migrations: MigrationSides,
}

/// What a record has changed of the VM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostVmChange {
    pub(super) uuid: bool,
    pub(super) run: bool,
    pub(super) migration: bool,
}

impl HostVm {
    /// Takes a record, which `correlators` have taken.
    pub(super) fn take(&mut self, record: &Record<'_>, correlators: &Correlators) -> HostVmChange {
        let condition = correlators.condition(&record.vm);
        let opens = matches!(record.body, Body::Attached { .. });
        let uuid = opens && self.identify(&record.vm, correlators);
        if uuid {
            // It is another VM, with the same name.
            (self.run, self.migrations) = (None, MigrationSides::default());
        }
        HostVmChange {
            uuid,
            run: Run::follow(&mut self.run, Some(record), condition.as_deref()),
            migration: self.migrations.take(record, condition.as_deref()),
        }
    }

    /// Takes the state of a VM without its records.
    pub(super) fn adopt(&mut self, vm: &str, correlators: &Correlators) {
        let condition = correlators.condition(vm);
        self.identify(vm, correlators);
        Run::follow(&mut self.run, None, condition.as_deref());
        self.migrations.follow(condition.as_deref());
    }

    /// Whether nothing is to be concluded from it any more, unless a record comes.
    pub(super) fn is_idle(&self) -> bool {
        let is_over = |run: &Run| matches!(run.end, super::run::RunEnd::Ended(_));
        self.run.as_ref().is_none_or(is_over)
            && self.migrations.left.is_none()
            && self.migrations.arrived.is_none()
    }

    /// Reads the UUID that the VM reported. Returns whether it is another one.
    fn identify(&mut self, vm: &str, correlators: &Correlators) -> bool {
        let uuid = correlators.identity(vm).1.and_then(read_uuid);
        std::mem::replace(&mut self.uuid, uuid) != uuid
    }
}

/// Reads a UUID. That of a QEMU without one has zeros only, and is no identity.
fn read_uuid(text: &str) -> Option<u128> {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    let mut uuid = 0u128;
    let mut count = 0;
    for digit in digits {
        count += 1;
        uuid = uuid << 4 | u128::from(char::from(digit).to_digit(16)?);
    }
    (count == 32 && uuid != 0).then_some(uuid)
}

/// The usual form of a UUID.
pub(super) fn write_uuid(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_without_a_digit_but_zero_is_no_identity() {
        let uuid = "12345678-9abc-def0-1234-56789abcdef0";
        let cases = [
            (uuid, Some(uuid)),
            ("12345678-9ABC-DEF0-1234-56789ABCDEF0", Some(uuid)),
            ("00000000-0000-0000-0000-000000000000", None),
            ("", None),
            ("12345678", None),
            ("12345678-9abc-def0-1234-56789abcdefg", None),
            ("é2345678-9abc-def0-1234-56789abcdef0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read_uuid(text).map(write_uuid).as_deref(), expected, "{text}");
        }
    }
}

//! The real-time clock.

use qmp_events::{EventKind, Release};
use qmp_server::{ObjectType, Type};
use serde::Deserialize;
use serde_json::json;

use super::power::expect_running;
use crate::{commands::Entry, vm::Vm};

/// Source: measured; 5.2 and 7.2 report 32 bits of the offset, 10.0 and later all.
const WHOLE_OFFSET_SINCE: Release = Release::new(10, 0);

/// Path of a PC's clock in the object tree.
///
/// Source: measured on the `pc` machine of 7.2 and of 11.1.
const PATH: &str = "/machine/unattached/device[9]";
const PATH_IN_BRIDGE: &str = "/machine/unattached/device[3]/rtc";
const PATH_IN_BRIDGE_SINCE: Release = Release::new(8, 1);

#[derive(Deserialize)]
struct Offset {
    offset: i64,
}

pub(crate) fn commands() -> Vec<Entry> {
    let describe = |arguments: ObjectType| arguments.required("offset", Type::Int);
    vec![Entry::new("x-guest-set-clock", describe, |vm: &mut Vm, Offset { offset }| {
        expect_running(vm)?;
        let reported = if vm.release >= WHOLE_OFFSET_SINCE { offset } else { low_half(offset) };
        let path = if vm.release >= PATH_IN_BRIDGE_SINCE { PATH_IN_BRIDGE } else { PATH };
        vm.raise(EventKind::RtcChange, json!({"offset": reported, "qom-path": path}));
        Ok(())
    })]
}

/// Returns the low 32 bits as a signed number.
#[expect(clippy::cast_possible_truncation, reason = "those releases truncate the offset")]
fn low_half(offset: i64) -> i64 {
    i64::from(offset as i32)
}

//! A balloon in the guest's memory.

use qmp_real_qemu::{MonitorLine, Scenario};

use crate::rates::keep_their_distance;

const WHOLE: u64 = 384 << 20;
const LESS: u64 = 320 << 20;

/// The first event comes at once, when only a part is done; then one a second, the last with the value that was asked.
#[test]
fn inflates_and_deflates() {
    let scenario = Scenario::new(
        "balloon-change",
        "The command `balloon` asks the guest for a sixth of its memory, and gives it back.",
    )
    .shows(&["BALLOON_CHANGE"])
    .options("-device virtio-balloon-pci,id=balloon0");
    let Some((mut vm, _linux)) = scenario.start_linux(&["virtio_pci", "virtio_balloon"]) else { return };
    let mut lines = Vec::new();
    for target in [LESS, WHOLE] {
        vm.execute(&format!("balloon value={target}"));
        let came = vm.until(&format!("BALLOON_CHANGE actual={target}"));
        let values: Vec<u64> = came.iter().map(actual).collect();
        let falls = values.windows(2).all(|pair| pair[1] < pair[0]);
        let rises = values.windows(2).all(|pair| pair[1] > pair[0]);
        assert!(if target == LESS { falls } else { rises }, "{values:?}");
        // Back within the window of the last one, so that there may be but one.
        assert!(values.len() > 1 || target == WHOLE, "the guest gives its memory piece by piece: {values:?}");
        assert_eq!(vm.execute("query-balloon")["actual"], target);
        lines.extend(came);
    }
    keep_their_distance(&lines);
    vm.end();
}

fn actual(line: &MonitorLine) -> u64 {
    line.message["data"]["actual"].as_u64().expect("bytes")
}

//! The subject of an event: the job, the device, the port.

use qmp_events::EventKind;

use crate::observation::Event;

/// The job or device that tells events of one kind apart; `None` if the event has no such member.
pub(super) fn of<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    use EventKind as K;
    match event.kind? {
        K::JobStatusChange | K::VserportChange | K::BlockJobPending | K::BlockExportDeleted => {
            event.text("id")
        }
        K::BlockJobCancelled | K::BlockJobCompleted | K::BlockJobError | K::BlockJobReady => {
            event.text("device")
        }
        K::DeviceDeleted | K::DeviceUnplugGuestError => event.named("device").or_else(|| event.text("path")),
        K::MemUnplugError => event.text("device"),
        K::DeviceTrayMoved => event.named("id").or_else(|| event.text("device")),
        K::BlockIoError => {
            event.named("qom-path").or_else(|| event.named("device")).or_else(|| event.text("node-name"))
        }
        K::NetdevStreamConnected
        | K::NetdevStreamDisconnected
        | K::NetdevVhostUserConnected
        | K::NetdevVhostUserDisconnected => event.text("netdev-id"),
        K::PrManagerStatusChanged => event.text("id"),
        K::NicRxFilterChanged => event.named("name").or_else(|| event.text("path")),
        _ => None,
    }
}

//! The releases that added and removed events, members and values, written by hand: the catalogue must contain the
//! same.

use qmp_events::describe::{MemberDescription, members};
use qmp_events::{EventKind, RELEASES, Release, catalogue};

/// Release, events that it added, events that it removed.
const EVENTS: &[(&str, &str, &str)] = &[
    ("0.12", "SHUTDOWN RESET POWERDOWN STOP DEBUG", ""),
    (
        "0.13",
        "RESUME VNC_CONNECTED VNC_INITIALIZED VNC_DISCONNECTED BLOCK_IO_ERROR RTC_CHANGE WATCHDOG",
        "DEBUG",
    ),
    ("0.14", "SPICE_CONNECTED SPICE_INITIALIZED SPICE_DISCONNECTED", ""),
    ("1.1", "BLOCK_JOB_COMPLETED BLOCK_JOB_CANCELLED DEVICE_TRAY_MOVED SUSPEND WAKEUP", ""),
    ("1.2", "BALLOON_CHANGE SUSPEND_DISK", ""),
    ("1.3", "SPICE_MIGRATE_COMPLETED BLOCK_JOB_ERROR BLOCK_JOB_READY", ""),
    ("1.5", "DEVICE_DELETED GUEST_PANICKED", ""),
    ("1.6", "NIC_RX_FILTER_CHANGED", ""),
    ("1.7", "BLOCK_IMAGE_CORRUPTED", ""),
    ("2.0", "QUORUM_FAILURE QUORUM_REPORT_BAD", ""),
    ("2.1", "ACPI_DEVICE_OST VSERPORT_CHANGE", ""),
    ("2.3", "BLOCK_WRITE_THRESHOLD", ""),
    ("2.4", "MEM_UNPLUG_ERROR MIGRATION", ""),
    ("2.6", "DUMP_COMPLETED MIGRATION_PASS", ""),
    ("2.12", "BLOCK_JOB_PENDING COMMAND_DROPPED", ""),
    ("3.0", "JOB_STATUS_CHANGE PR_MANAGER_STATUS_CHANGED", ""),
    ("3.1", "COLO_EXIT", ""),
    ("4.0", "RDMA_GID_STATUS_CHANGED", "COMMAND_DROPPED"),
    ("4.2", "FAILOVER_NEGOTIATED UNPLUG_PRIMARY", ""),
    ("5.0", "GUEST_CRASHLOADED", ""),
    ("5.1", "MEMORY_DEVICE_SIZE_CHANGE", ""),
    ("5.2", "BLOCK_EXPORT_DELETED MEMORY_FAILURE", ""),
    ("6.2", "DEVICE_UNPLUG_GUEST_ERROR", ""),
    ("7.1", "VFU_CLIENT_HANGUP", ""),
    ("7.2", "NETDEV_STREAM_CONNECTED NETDEV_STREAM_DISCONNECTED", ""),
    ("8.2", "CPU_POLARIZATION_CHANGE HV_BALLOON_STATUS_REPORT", ""),
    ("9.1", "GUEST_PVSHUTDOWN VFIO_MIGRATION", "MEM_UNPLUG_ERROR RDMA_GID_STATUS_CHANGED"),
    ("10.0", "NETDEV_VHOST_USER_CONNECTED NETDEV_VHOST_USER_DISCONNECTED", ""),
    ("10.2", "SCLP_CPI_INFO_AVAILABLE", ""),
];

/// A change of a member by a release: added, or made optional.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Mandatory,
    Optional,
    MadeOptional,
}

use Change::{MadeOptional, Mandatory, Optional};

/// Members that were added after their event.
const MEMBERS: &[(&str, &str, &str, Change)] = &[
    ("2.2", "BLOCK_IMAGE_CORRUPTED", "fatal", Mandatory),
    ("2.2", "BLOCK_IO_ERROR", "nospace", Optional),
    ("2.2", "BLOCK_IO_ERROR", "reason", Mandatory),
    ("2.3", "VNC_CONNECTED", "server.websocket", Mandatory),
    ("2.3", "VNC_CONNECTED", "client.websocket", Mandatory),
    ("2.3", "VNC_INITIALIZED", "server.websocket", Mandatory),
    ("2.3", "VNC_INITIALIZED", "client.websocket", Mandatory),
    ("2.3", "VNC_DISCONNECTED", "server.websocket", Mandatory),
    ("2.3", "VNC_DISCONNECTED", "client.websocket", Mandatory),
    ("2.4", "BLOCK_IMAGE_CORRUPTED", "node-name", Optional),
    ("2.6", "QUORUM_REPORT_BAD", "type", Mandatory),
    ("2.8", "BLOCK_IO_ERROR", "node-name", Mandatory),
    ("2.12", "BLOCK_IO_ERROR", "node-name", MadeOptional),
    ("2.8", "DEVICE_TRAY_MOVED", "id", Mandatory),
    ("2.9", "GUEST_PANICKED", "info", Optional),
    ("2.10", "SHUTDOWN", "guest", Mandatory),
    ("2.10", "RESET", "guest", Mandatory),
    ("4.0", "SHUTDOWN", "reason", Mandatory),
    ("4.0", "RESET", "reason", Mandatory),
    ("6.2", "MEMORY_DEVICE_SIZE_CHANGE", "qom-path", Mandatory),
    ("7.0", "RTC_CHANGE", "qom-path", Mandatory),
    ("9.2", "BLOCK_IO_ERROR", "qom-path", Mandatory),
    ("10.1", "NETDEV_STREAM_CONNECTED", "addr.keep-alive-count", Optional),
    ("10.1", "NETDEV_STREAM_CONNECTED", "addr.keep-alive-idle", Optional),
    ("10.1", "NETDEV_STREAM_CONNECTED", "addr.keep-alive-interval", Optional),
];

/// Values that were added after their member.
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("2.4", "WATCHDOG", "action", "inject-nmi"),
    ("2.5", "MIGRATION", "status", "postcopy-active"),
    ("2.7", "ACPI_DEVICE_OST", "info.slot-type", "CPU"),
    ("2.8", "GUEST_PANICKED", "action", "poweroff"),
    ("2.8", "VNC_CONNECTED", "server.family", "vsock"),
    ("2.8", "SPICE_CONNECTED", "client.family", "vsock"),
    ("2.8", "MIGRATION", "status", "colo"),
    ("2.12", "GUEST_PANICKED", "info.type", "s390"),
    ("10.1", "GUEST_PANICKED", "info.type", "tdx"),
    ("11.0", "GUEST_PANICKED", "info.type", "sev"),
    ("2.11", "MIGRATION", "status", "pre-switchover"),
    ("2.11", "MIGRATION", "status", "device"),
    ("3.0", "BLOCK_JOB_COMPLETED", "type", "create"),
    ("5.1", "BLOCK_JOB_COMPLETED", "type", "amend"),
    ("6.0", "BLOCK_JOB_COMPLETED", "type", "snapshot-load"),
    ("6.0", "BLOCK_JOB_CANCELLED", "type", "snapshot-save"),
    ("6.0", "BLOCK_JOB_READY", "type", "snapshot-delete"),
    ("3.0", "MIGRATION", "status", "postcopy-paused"),
    ("3.0", "MIGRATION", "status", "postcopy-recover"),
    ("4.2", "MIGRATION", "status", "wait-unplug"),
    ("5.0", "GUEST_PANICKED", "action", "run"),
    ("7.2", "SHUTDOWN", "reason", "snapshot-load"),
    ("9.1", "MIGRATION", "status", "postcopy-recover-setup"),
    ("10.2", "MIGRATION", "status", "postcopy-device"),
    ("11.0", "MIGRATION", "status", "failing"),
    ("11.0", "VFIO_MIGRATION", "device-state", "pre-copy-p2p-prepare"),
];

#[test]
fn events_are_added_and_removed_in_their_releases() {
    let mut count = 0;
    for release in RELEASES {
        let row = EVENTS.iter().find(|(row, ..)| self::release(row) == *release);
        let (added, removed) = row.map_or(("", ""), |(_, added, removed)| (*added, *removed));
        let in_catalogue = |matches: &dyn Fn(&qmp_events::EventDesc) -> bool| -> Vec<&str> {
            catalogue().iter().filter(|desc| matches(desc)).map(|desc| desc.name).collect()
        };
        assert_eq!(in_catalogue(&|desc| desc.since == *release), sorted(added), "added in {release}");
        let removed_events = in_catalogue(&|desc| desc.removed == Some(*release));
        assert_eq!(removed_events, sorted(removed), "removed in {release}");
        count += sorted(added).len();
    }
    assert_eq!((count, catalogue().len()), (61, 61));
}

#[test]
fn flags_are_those_of_the_table() {
    let unstable: Vec<&str> = catalogue().iter().filter(|desc| desc.unstable).map(|desc| desc.name).collect();
    assert_eq!(unstable, ["CPU_POLARIZATION_CHANGE", "SCLP_CPI_INFO_AVAILABLE"]);
    let deprecated: Vec<_> =
        catalogue().iter().filter_map(|desc| Some((desc.name, desc.deprecated?.to_string()))).collect();
    assert_eq!(deprecated, [("MEM_UNPLUG_ERROR", "6.2".to_owned())]);
}

#[test]
fn members_are_added_in_their_releases() {
    for (since, event, path, change) in MEMBERS {
        let before = member(event, path, before(since));
        let after = member(event, path, release(since));
        let (before, after) = (before.map(|member| member.optional), after.map(|member| member.optional));
        let found = match (before, after) {
            (None, Some(false)) => Some(Mandatory),
            (None, Some(true)) => Some(Optional),
            (Some(false), Some(true)) => Some(MadeOptional),
            _ => None,
        };
        assert_eq!(found, Some(*change), "{event} {path} in {since}");
    }
}

/// Only the changes of the table exist.
#[test]
fn only_listed_members_changed() {
    for desc in catalogue() {
        for pair in RELEASES.windows(2).filter(|pair| desc.exists_in(pair[0]) && desc.exists_in(pair[1])) {
            for member in members(desc, Some(pair[1])) {
                let before = self::member(desc.name, &member.name, pair[0]);
                // Members of objects and of branches are added with them.
                let parent = member.name.rsplit_once('.').map(|(parent, _)| parent);
                let added_with_parent =
                    parent.is_some_and(|parent| self::member(desc.name, parent, pair[0]).is_none());
                if before.is_none_or(|before| before.optional != member.optional)
                    && !added_with_parent
                    && member.when.is_none()
                {
                    let is_listed = MEMBERS.iter().any(|(since, event, path, _)| {
                        (release(since), *event, *path) == (pair[1], desc.name, &*member.name)
                    });
                    assert!(is_listed, "{} {} in {}", desc.name, member.name, pair[1]);
                }
            }
        }
    }
}

#[test]
fn values_are_added_in_their_releases() {
    for (since, event, path, value) in VALUES {
        let has_value = |release| {
            let values = member(event, path, release).unwrap().values.unwrap();
            values.contains(value)
        };
        assert!(has_value(release(since)), "{event} {path} {value} in {since}");
        assert!(!has_value(before(since)), "{event} {path} {value} before {since}");
    }
}

/// The 13 events of the document of 2010 and the 35 of that of 2016.
#[test]
fn events_of_both_documents_are_in_the_catalogue() {
    let of_2010 = "BLOCK_IO_ERROR RESET RESUME RTC_CHANGE SHUTDOWN SPICE_CONNECTED SPICE_DISCONNECTED \
        SPICE_INITIALIZED STOP VNC_CONNECTED VNC_DISCONNECTED VNC_INITIALIZED WATCHDOG";
    let of_2016 = "ACPI_DEVICE_OST BALLOON_CHANGE BLOCK_IMAGE_CORRUPTED BLOCK_IO_ERROR BLOCK_JOB_CANCELLED \
        BLOCK_JOB_COMPLETED BLOCK_JOB_ERROR BLOCK_JOB_READY DEVICE_DELETED DEVICE_TRAY_MOVED GUEST_PANICKED \
        MEM_UNPLUG_ERROR MIGRATION MIGRATION_PASS NIC_RX_FILTER_CHANGED POWERDOWN QUORUM_FAILURE \
        QUORUM_REPORT_BAD RESET RESUME RTC_CHANGE SHUTDOWN SPICE_CONNECTED SPICE_DISCONNECTED \
        SPICE_INITIALIZED SPICE_MIGRATE_COMPLETED STOP SUSPEND SUSPEND_DISK VNC_CONNECTED VNC_DISCONNECTED \
        VNC_INITIALIZED VSERPORT_CHANGE WAKEUP WATCHDOG";
    assert_eq!((sorted(of_2010).len(), sorted(of_2016).len()), (13, 35));
    let (at_2010, at_2016) = (Release::new(0, 14), Release::new(2, 6));
    for (names, release) in [(of_2010, at_2010), (of_2016, at_2016)] {
        for name in sorted(names) {
            let kind = EventKind::from_name(name).unwrap_or_else(|| panic!("{name} is unknown"));
            assert!(kind.desc().exists_in(release), "{name} in {release}");
        }
    }
}

fn sorted(names: &str) -> Vec<&str> {
    let mut names: Vec<&str> = names.split_whitespace().collect();
    names.sort_unstable();
    names
}

fn release(text: &str) -> Release {
    text.parse().expect("a release")
}

/// Returns the release before that one.
fn before(text: &str) -> Release {
    *RELEASES.iter().rev().find(|other| **other < release(text)).expect("an older release")
}

fn member(event: &str, path: &str, release: Release) -> Option<MemberDescription> {
    let desc = EventKind::from_name(event).expect("an event").desc();
    members(desc, Some(release)).into_iter().find(|member| member.name == path)
}

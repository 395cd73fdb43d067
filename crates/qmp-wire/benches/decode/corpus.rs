//! The stream of a busy monitor: events of the two documents, as QEMU formats them, about 170 bytes each.

/// Names and data of the events, each once.
const EVENTS: [(&str, &str); 16] = [
    ("RESUME", ""),
    ("RTC_CHANGE", r#"{"offset": 78, "qom-path": "/machine/unattached/device[8]"}"#),
    ("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#),
    ("WATCHDOG", r#"{"action": "reset"}"#),
    ("VSERPORT_CHANGE", r#"{"open": true, "id": "channel0"}"#),
    (
        "BLOCK_JOB_READY",
        r#"{"device": "drive-virtio-disk0", "len": 10737418240, "offset": 10737418240, "speed": 0, "type": "mirror"}"#,
    ),
    (
        "BLOCK_JOB_COMPLETED",
        r#"{"device": "drive-virtio-disk0", "len": 10737418240, "offset": 10737418240, "speed": 0, "type": "stream"}"#,
    ),
    ("DEVICE_DELETED", r#"{"device": "net1", "path": "/machine/peripheral/net1"}"#),
    (
        "BLOCK_IO_ERROR",
        r##"{"device": "ide0-hd1", "node-name": "#block212", "reason": "No space left on device", "operation": "write", "action": "stop", "nospace": true}"##,
    ),
    (
        "BLOCK_IMAGE_CORRUPTED",
        r#"{"device": "ide0-hd0", "msg": "Prevented active L1 table overwrite", "offset": 196608, "size": 65536, "fatal": true}"#,
    ),
    (
        "DEVICE_TRAY_MOVED",
        r#"{"device": "ide1-cd0", "id": "/machine/unattached/device[19]", "tray-open": true}"#,
    ),
    (
        "VNC_CONNECTED",
        r#"{"server": {"auth": "sasl", "family": "ipv4", "service": "5901", "host": "0.0.0.0", "websocket": false}, "client": {"family": "ipv4", "service": "58425", "host": "127.0.0.1", "websocket": false}}"#,
    ),
    (
        "ACPI_DEVICE_OST",
        r#"{"info": {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}}"#,
    ),
    (
        "QUORUM_REPORT_BAD",
        r#"{"node-name": "1.raw", "sector-num": 345435, "sectors-count": 5, "type": "read"}"#,
    ),
    ("GUEST_PANICKED", r#"{"action": "pause"}"#),
    ("BALLOON_CHANGE", r#"{"actual": 944766976}"#),
];

/// `count` events, one after another, with line ends.
pub(crate) fn stream(count: usize) -> Vec<u8> {
    let mut stream = String::new();
    for (index, (name, data)) in EVENTS.iter().cycle().take(count).enumerate() {
        let (seconds, microseconds) = (1_767_323_045 + index / 100, index * 7919 % 1_000_000);
        let stamp = format!(r#"{{"seconds": {seconds}, "microseconds": {microseconds}}}"#);
        let data = if data.is_empty() { String::new() } else { format!(r#", "data": {data}"#) };
        stream += &format!("{{\"timestamp\": {stamp}, \"event\": \"{name}\"{data}}}\r\n");
    }
    stream.into_bytes()
}

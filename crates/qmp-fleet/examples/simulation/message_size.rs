//! The bytes of a message on the wire and in a stream, by the encoding of this crate.

use qmp_fleet::{CloudEventAttributes, Link, Message};
use qmp_wire::{Body, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};

/// What a file store of the server adds to a message: its sequence, time, lengths and checksum.
const STORE_OVERHEAD_BYTES: u64 = 30;

/// The bytes of a usual event in a stream.
pub(crate) fn stored_bytes() -> u64 {
    sent_bytes() + STORE_OVERHEAD_BYTES
}

/// The bytes of a usual event as it is published.
pub(crate) fn sent_bytes() -> u64 {
    let body = Body::Event {
        name: "NIC_RX_FILTER_CHANGED".into(),
        sent_name: None,
        timestamp: Timestamp::from_wire(1_767_323_045, 678_001).expect("in range"),
        data: Some(r#"{"name": "net0", "path": "/machine/peripheral/net0/virtio-backend"}"#.into()),
    };
    let record = Record {
        offset: Some(Offset(1_234_567)),
        vm: "customer-web1".into(),
        epoch: Epoch(7),
        seq: Seq(1_234),
        received: UnixMicros(1_767_323_045_678_901),
        body,
    };
    let attributes = CloudEventAttributes {
        id: "5f0c9a7be1d24c07b1f4b8f2c7a9d3e6/customer-web1/7/1234/1767323045678901".to_owned(),
        source: "//node0123.site07.example.org/qmp/customer-web1".to_owned(),
        ty: "org.qemu.qmp.NIC_RX_FILTER_CHANGED".to_owned(),
    };
    let link = Link { previous: Offset(1_234_566), offset: Offset(1_234_567) };
    let message = Message::new(&record, "node0123", "5f0c9a7be1d24c07b1f4b8f2c7a9d3e6", link, &attributes);
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    (message.subject.len() + "NATS/1.0\r\n\r\n".len() + headers + message.payload.len()) as u64
}

//! A line of a QEMU to a typed event, in comparison with the `qapi` crate: framing, envelope and data together.
//!
//! The input is every example of the catalogue that `qapi` can decode; `qapi` refuses unknown events and values.

use divan::Bencher;
use divan::counter::ItemsCount;
use qmp_events::{Event, catalogue};
use qmp_wire::{FRAME_MAX_BYTES, FrameReader, Message};

fn main() {
    divan::main();
}

/// The examples as a QEMU sends them, one message a line.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for desc in catalogue() {
        let datas = desc.examples.iter().map(|data| format!(", \"data\": {data}"));
        let without = desc.members.is_empty().then(String::new);
        lines.extend(datas.chain(without).map(|data| {
            let time = "{\"seconds\": 1767323045, \"microseconds\": 678001}";
            format!("{{\"timestamp\": {time}, \"event\": \"{}\"{data}}}\r\n", desc.name)
        }));
    }
    lines.retain(|line| serde_json::from_str::<qapi::qmp::Event>(line).is_ok());
    assert!(lines.len() > 50, "only {} examples are left", lines.len());
    lines
}

#[divan::bench]
fn ours(bencher: Bencher<'_, '_>) {
    let lines = lines();
    let stream = lines.concat();
    let mut reader = FrameReader::new(FRAME_MAX_BYTES);
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        reader.push(stream.as_bytes());
        while let Ok(Some(message)) = reader.next_message() {
            let Message::Event(event) = message else { continue };
            divan::black_box(Event::decode(&event.name, event.data)).ok();
        }
    });
}

#[divan::bench]
fn qapi(bencher: Bencher<'_, '_>) {
    let lines = lines();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        for line in &lines {
            divan::black_box(serde_json::from_str::<qapi::qmp::Event>(line)).ok();
        }
    });
}

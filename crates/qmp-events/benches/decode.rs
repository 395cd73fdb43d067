//! Decodes every example of the catalogue to a typed event, beside the `qapi` crate.
//!
//! `qapi` decodes whole messages only; the rows named `message` do the same work: the envelope with `serde_json`,
//! then the data. In the hub a faster scan splits the envelope, and only the time for `data` counts.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use qmp_events::{Event, catalogue};
use serde::Deserialize;
use serde_json::value::RawValue;

fn main() {
    divan::main();
}

/// One event as a message and in parts.
struct Sample {
    name: &'static str,
    data: Option<&'static str>,
    message: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The examples that `qapi` can decode too: it refuses unknown events and values.
fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for desc in catalogue() {
        let datas = desc.examples.iter().map(|data| Some(*data));
        let without = desc.members.is_empty().then_some(None);
        samples.extend(datas.chain(without).map(|data| sample(desc.name, data)));
    }
    samples.retain(|sample| serde_json::from_str::<qapi::qmp::Event>(&sample.message).is_ok());
    assert!(samples.len() > 50, "only {} samples are left", samples.len());
    samples
}

fn sample(name: &'static str, data: Option<&'static str>) -> Sample {
    let tail = data.map_or(String::new(), |data| format!(", \"data\": {data}"));
    let message = format!(
        "{{\"timestamp\": {{\"seconds\": 1767323045, \"microseconds\": 678001}}, \"event\": \"{name}\"{tail}}}"
    );
    Sample { name, data, message }
}

#[divan::bench]
fn data(bencher: Bencher<'_, '_>) {
    let samples = samples();
    let bytes: usize = samples.iter().filter_map(|sample| sample.data).map(str::len).sum();
    bencher.counter(ItemsCount::new(samples.len())).counter(BytesCount::new(bytes)).bench(|| {
        for Sample { name, data, .. } in &samples {
            divan::black_box(Event::decode(name, *data)).ok();
        }
    });
}

#[divan::bench]
fn message(bencher: Bencher<'_, '_>) {
    let samples = samples();
    bencher.counter(ItemsCount::new(samples.len())).counter(bytes_of(&samples)).bench(|| {
        for Sample { message, .. } in &samples {
            let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(message) else { continue };
            divan::black_box(Event::decode(envelope.event, envelope.data.map(RawValue::get))).ok();
        }
    });
}

#[divan::bench]
fn message_qapi(bencher: Bencher<'_, '_>) {
    let samples = samples();
    bencher.counter(ItemsCount::new(samples.len())).counter(bytes_of(&samples)).bench(|| {
        for Sample { message, .. } in &samples {
            divan::black_box(serde_json::from_str::<qapi::qmp::Event>(message)).ok();
        }
    });
}

fn bytes_of(samples: &[Sample]) -> BytesCount {
    BytesCount::new(samples.iter().map(|sample| sample.message.len()).sum::<usize>())
}

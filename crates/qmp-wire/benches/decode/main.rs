//! Decodes a stream of events, beside other decoders and a lower bound.
//!
//! The load is a storm: the kernel hands over 64 KiB at a time. A real QEMU cannot send more than about 3,000
//! events a second; a hub with a thousand of them can meet all of these at once.
//!
//! `cargo bench -p qmp-wire --bench decode` prints items (events) a second. Compare within one run.

mod corpus;

use std::time::Instant;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use qmp_wire::{Client, ClientConfig, ClientOutput, FRAME_MAX_BYTES, FrameReader, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Events in the stream: a megabyte, which leaves the first levels of cache as real input does.
const EVENTS: usize = 6_000;

/// Bytes that one read of a socket returns.
const READ_BYTES: usize = 64 << 10;

fn main() {
    divan::main();
}

/// Runs `decode` over the stream; it returns the number of events.
fn bench(bencher: Bencher<'_, '_>, mut decode: impl FnMut(&[u8]) -> usize) {
    let stream = corpus::stream(EVENTS);
    assert_eq!(decode(&stream), EVENTS);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(stream.len()))
        .bench_local(|| decode(divan::black_box(&stream)));
}

/// The lines of a stream.
fn lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', stream).map(move |end| {
        let line = &stream[start..end];
        start = end + 1;
        line
    })
}

/// Finding the lines and checking their encoding: the minimum that any decoder has to do.
#[divan::bench]
fn limit_split_and_utf8(bencher: Bencher<'_, '_>) {
    bench(bencher, |stream| lines(stream).filter(|line| std::str::from_utf8(line).is_ok()).count());
}

/// The envelope by serde, `data` raw.
#[divan::bench]
fn serde_json_envelope(bencher: Bencher<'_, '_>) {
    #[derive(Deserialize)]
    struct Stamp {
        seconds: i64,
        microseconds: i64,
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        event: std::borrow::Cow<'a, str>,
        timestamp: Stamp,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    bench(bencher, |stream| {
        let decode = |line| serde_json::from_slice::<Envelope<'_>>(line).ok();
        lines(stream)
            .filter_map(decode)
            .map(|message| {
                divan::black_box((message.timestamp.seconds, message.timestamp.microseconds, message.data));
                divan::black_box(message.event);
            })
            .count()
    });
}

/// The message type of the `qapi` crate, as its codec decodes it.
#[divan::bench]
fn qapi_message(bencher: Bencher<'_, '_>) {
    bench(bencher, |stream| {
        let decode = |line| serde_json::from_slice::<qapi::qmp::QmpMessageAny>(line).ok();
        lines(stream).filter_map(decode).map(divan::black_box).count()
    });
}

/// Frames and envelopes of this crate.
#[divan::bench]
fn frame_reader(bencher: Bencher<'_, '_>) {
    bench(bencher, |stream| {
        let mut reader = FrameReader::new(FRAME_MAX_BYTES);
        let mut events = 0;
        for bytes in stream.chunks(READ_BYTES) {
            reader.push(bytes);
            while let Ok(Some(Message::Event(event))) = reader.next_message() {
                divan::black_box(event);
                events += 1;
            }
        }
        events
    });
}

/// The whole client machine of this crate.
#[divan::bench]
fn client_machine(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    bench(bencher, |stream| {
        let mut client = Client::new(ClientConfig::new(1), now);
        let mut events = 0;
        for bytes in stream.chunks(READ_BYTES) {
            client.handle_input(bytes);
            while let Ok(Some(ClientOutput::Event(event))) = client.poll_output() {
                divan::black_box(event);
                events += 1;
            }
        }
        events
    });
}

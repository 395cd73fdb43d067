//! A message for which there is no memory. The limit is one of the process, so the test runs itself once more.

use std::process::Command;

use qmp_wire::{FRAME_MAX_BYTES, FrameError, FrameReader, has_memory};

/// Set in the process that has little memory.
const LIMITED: &str = "QMP_WIRE_TEST_LIMITED";

#[test]
fn message_without_memory_is_an_error() {
    if std::env::var_os(LIMITED).is_some() {
        return read_until_memory_ends();
    }
    let limited = Command::new("sh")
        .args(["-c", "ulimit -v 200000; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "message_without_memory_is_an_error", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .expect("runs");
    assert!(limited.status.success(), "{}: {limited:?}", limited.status);
}

fn read_until_memory_ends() {
    let mut reader = FrameReader::new(FRAME_MAX_BYTES);
    reader.push(br#"{"event": "N", "data": {"x": ""#);
    let piece = vec![b'z'; 64 << 10];
    let error = loop {
        reader.push(&piece);
        match reader.next_message() {
            Ok(None) => {}
            Ok(Some(_)) => panic!("the message has no end"),
            Err(error) => break error,
        }
    };
    let FrameError::NoMemory { bytes } = error else { panic!("{error}") };
    assert!((1 << 20..FRAME_MAX_BYTES).contains(&bytes), "{bytes}");
    assert_eq!(reader.held_bytes(), 0);
    reader.push(b"{}");
    assert_eq!(reader.next_message().expect_err("the same"), error);
    assert!(has_memory(1 << 20) && !has_memory(FRAME_MAX_BYTES));
}

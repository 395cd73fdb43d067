//! Any input of a client: no panic, everything that is answered is one line of ASCII, and nothing is kept that is not
//! the beginning of a message. The first byte chooses a release and where the input is cut.
//!
//! `cargo +nightly fuzz run server_input`
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use qmp_wire::{
    dialect::Value,
    server::{Profile, Server},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let version = [(3, 0, 0), (7, 2, 22), (11, 1, 3)][usize::from(choice % 3)];
    let profile = Profile { version, package: "".into(), out_of_band: true, pretty: choice & 64 != 0 };
    let mut server = Server::new(Arc::new(profile));
    for chunk in bytes.chunks(1 + usize::from(choice / 3 % 16)) {
        server.handle_input(chunk);
        while let Some((id, request)) = server.poll_request() {
            server.reply(id, Ok(Value::Object(request.arguments)));
        }
        assert!(server.output().iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')));
        assert!(server.output().is_empty() || server.output().ends_with(b"\r\n"));
        server.consume_output(server.output().len());
        assert!(server.wants_input() && !server.is_busy());
    }
});

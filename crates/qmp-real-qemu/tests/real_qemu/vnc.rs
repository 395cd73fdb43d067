//! VNC, with a client that speaks as much of RFB 3.8 as it takes to be let in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use des::Des;
use des::cipher::generic_array::GenericArray;
use des::cipher::{BlockEncrypt, KeyInit};
use qmp_real_qemu::{Scenario, Vm};

/// Security types, and what the server says of them: RFC 6143, 7.1.2 and 7.2.
const NO_AUTHENTICATION: u8 = 1;
const PASSWORD: u8 = 2;
const CHALLENGE_BYTES: usize = 16;

/// Where the VNC server listens, on a port that it chose itself.
fn connect(vm: &mut Vm) -> TcpStream {
    let vnc = vm.execute("query-vnc");
    let port = vnc["service"].as_str().expect("a port").parse::<u16>().expect("a number");
    TcpStream::connect(("127.0.0.1", port)).expect("QEMU listens")
}

fn read<const N: usize>(client: &mut impl Read) -> [u8; N] {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).expect("QEMU answers");
    bytes
}

/// Agrees on the version and takes the one security type that is offered.
fn greet(client: &mut (impl Read + Write), security: u8) {
    assert_eq!(&read::<12>(client), b"RFB 003.008\n");
    client.write_all(b"RFB 003.008\n").expect("QEMU reads");
    assert_eq!(read::<2>(client), [1, security], "one security type is offered");
    client.write_all(&[security]).expect("QEMU reads");
}

/// Answers the challenge with a password of at most eight bytes: they are the key, each with its bits in reverse.
///
/// Source: RFC 6143, 7.2.2, and every implementation for the order of the bits.
fn prove(client: &mut (impl Read + Write), password: &str) {
    let mut key = [0; 8];
    for (byte, character) in key.iter_mut().zip(password.bytes()) {
        *byte = character.reverse_bits();
    }
    let cipher = Des::new(&key.into());
    let mut challenge = read::<CHALLENGE_BYTES>(client);
    for block in challenge.chunks_exact_mut(8) {
        cipher.encrypt_block(GenericArray::from_mut_slice(block));
    }
    client.write_all(&challenge).expect("QEMU reads");
}

/// Takes a shared screen: `ClientInit`, and the beginning of `ServerInit`.
fn initialize(client: &mut (impl Read + Write)) {
    assert_eq!(read::<4>(client), [0; 4], "let in");
    client.write_all(&[1]).expect("QEMU reads");
    read::<24>(client);
}

#[test]
fn client_without_password() {
    let scenario = Scenario::new("vnc", "A VNC client connects without a password, and disconnects.")
        .shows(&["VNC_CONNECTED", "VNC_INITIALIZED", "VNC_DISCONNECTED"])
        .options("-vnc 127.0.0.1:0,to=999");
    let Some(mut vm) = scenario.start() else { return };
    let mut client = connect(&mut vm);
    let line = vm.next(
        "VNC_CONNECTED server.auth=none server.family=ipv4 client.websocket=false client.host=127.0.0.1",
    );
    assert_eq!(
        line.message["data"]["client"]["service"],
        client.local_addr().expect("an address").port().to_string()
    );
    greet(&mut client, NO_AUTHENTICATION);
    initialize(&mut client);
    vm.next("VNC_INITIALIZED server.auth=none client.family=ipv4 client.host=127.0.0.1");
    drop(client);
    vm.next("VNC_DISCONNECTED server.auth=none client.family=ipv4");
    vm.end();
}

#[test]
fn client_on_a_unix_socket() {
    let scenario = Scenario::new("vnc-unix", "A VNC client connects by a unix socket, and leaves.")
        .options("-vnc unix:vnc.sock");
    let Some(mut vm) = scenario.start() else { return };
    let mut client = UnixStream::connect(vm.home().path().join("vnc.sock")).expect("QEMU listens");
    vm.next("VNC_CONNECTED server.family=unix client.family=unix");
    greet(&mut client, NO_AUTHENTICATION);
    initialize(&mut client);
    vm.next("VNC_INITIALIZED client.family=unix");
    drop(client);
    vm.next("VNC_DISCONNECTED client.family=unix");
    vm.end();
}

#[test]
fn client_with_its_password() {
    let scenario =
        Scenario::new("vnc-password", "A VNC client connects, is let in with its password, and leaves.")
            .options("-vnc 127.0.0.1:0,to=999,password=on");
    let Some(mut vm) = scenario.start() else { return };
    vm.execute("set_password protocol=vnc password=correct");
    let mut client = connect(&mut vm);
    vm.next("VNC_CONNECTED server.auth=vnc client.family=ipv4");
    greet(&mut client, PASSWORD);
    prove(&mut client, "correct");
    initialize(&mut client);
    vm.next("VNC_INITIALIZED server.auth=vnc client.family=ipv4 !client.sasl_username");
    drop(client);
    vm.next("VNC_DISCONNECTED server.auth=vnc client.family=ipv4");
    vm.end();
}

#[test]
fn client_with_a_wrong_password() {
    let scenario = Scenario::new("vnc-wrong-password", "A VNC client connects with a wrong password.")
        .options("-vnc 127.0.0.1:0,to=999,password=on");
    let Some(mut vm) = scenario.start() else { return };
    vm.execute("set_password protocol=vnc password=correct");
    let mut client = connect(&mut vm);
    vm.next("VNC_CONNECTED server.auth=vnc");
    greet(&mut client, PASSWORD);
    prove(&mut client, "wrong");
    assert_eq!(read::<4>(&mut client), [0, 0, 0, 1], "refused");
    vm.next("VNC_DISCONNECTED server.auth=vnc client.family=ipv4");
    vm.end();
}

/// QEMU says nothing of a client that is there at the end.
#[test]
fn client_at_the_end() {
    let scenario = Scenario::new("vnc-quit", "The command `quit` while a VNC client is connected.")
        .options("-vnc 127.0.0.1:0,to=999");
    let Some(mut vm) = scenario.start() else { return };
    let mut client = connect(&mut vm);
    vm.next("VNC_CONNECTED");
    greet(&mut client, NO_AUTHENTICATION);
    initialize(&mut client);
    vm.next("VNC_INITIALIZED");
    vm.send("quit");
    vm.lines(&["SHUTDOWN reason=host-qmp-quit", "reply"]);
    vm.ends();
    vm.end();
}

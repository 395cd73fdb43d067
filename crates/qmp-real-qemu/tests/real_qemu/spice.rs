//! SPICE, with a client that links its channels and is silent from then on.

mod link;
mod ticket;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use qmp_real_qemu::{Scenario, Vm, is_missing, program};

use link::{INPUTS, MAIN, link, session};

/// Whether this QEMU has no SPICE, after saying so; in CI that is a failure.
fn has_no_spice() -> bool {
    if is_missing() {
        return true;
    }
    let help = Command::new(program()).args(["-spice", "help"]).stdin(Stdio::null()).output();
    // It fails whether or not it knows the option.
    let has_none = !help.is_ok_and(|output| output.stdout.starts_with(b"spice options"));
    if has_none {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} has no SPICE; install qemu-system-modules-spice",
            program()
        );
        eprintln!("skipped: {} has no SPICE", program());
    }
    has_none
}

/// Without passwords.
const SPICE: &str = "-spice addr=127.0.0.1,port={port},disable-ticketing=on";

fn connect(vm: &mut Vm) -> TcpStream {
    let port = vm.execute("query-spice")["port"].as_u64().expect("a port");
    TcpStream::connect(("127.0.0.1", u16::try_from(port).expect("a port"))).expect("QEMU listens")
}

#[test]
fn two_channels() {
    if has_no_spice() {
        return;
    }
    let scenario =
        Scenario::new("spice", "A SPICE client links its main channel and that of its inputs, and leaves.")
            .shows(&["SPICE_CONNECTED", "SPICE_INITIALIZED", "SPICE_DISCONNECTED"])
            .options(SPICE);
    let Some(mut vm) = scenario.start() else { return };
    let mut main = connect(&mut vm);
    vm.next("SPICE_CONNECTED server.host=127.0.0.1 server.family=ipv4 client.family=ipv4");
    link(&mut main, 0, MAIN);
    vm.next("SPICE_INITIALIZED server.auth=none client.channel-type=1 client.channel-id=0 client.tls=false");
    let session = session(&mut main);

    let mut inputs = connect(&mut vm);
    vm.next("SPICE_CONNECTED");
    link(&mut inputs, session, INPUTS);
    vm.next("SPICE_INITIALIZED client.channel-type=3 client.tls=false");
    drop(inputs);
    vm.next("SPICE_DISCONNECTED client.family=ipv4");
    drop(main);
    vm.next("SPICE_DISCONNECTED client.family=ipv4");
    vm.end();
}

#[test]
fn client_that_never_links() {
    if has_no_spice() {
        return;
    }
    let scenario =
        Scenario::new("spice-no-link", "A SPICE client connects, says nothing, and leaves.").options(SPICE);
    let Some(mut vm) = scenario.start() else { return };
    let client = connect(&mut vm);
    vm.next("SPICE_CONNECTED");
    drop(client);
    vm.next("SPICE_DISCONNECTED");
    vm.end();
}

#[test]
fn migration() {
    if has_no_spice() {
        return;
    }
    let scenario = Scenario::new(
        "spice-migrate",
        "The commands `client_migrate_info` and `migrate`, while no SPICE client is connected.",
    )
    .shows(&["SPICE_MIGRATE_COMPLETED"])
    .options(SPICE);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.execute("client_migrate_info protocol=spice hostname=127.0.0.1 port=5900");
    vm.execute("migrate uri=exec:cat>/dev/null");
    vm.until("SPICE_MIGRATE_COMPLETED");
    vm.found("why-paused cause=migration by=unknown");
    vm.end();
}

/// How far from the time a line may be on a machine under load.
const LATE: Duration = Duration::from_secs(2);

/// How long QEMU waits for a client that does not say that it has moved.
const PATIENCE_WITH_CLIENTS: Duration = Duration::from_secs(10);

/// The client is silent, as it is: QEMU gives up waiting for it.
#[test]
fn migration_with_a_client() {
    if has_no_spice() {
        return;
    }
    let away = Scenario::new(
        "spice-migrate-client",
        "The commands `client_migrate_info` and `migrate` to another QEMU, while a SPICE client is connected that does not answer.",
    )
    .shows(&["SPICE_MIGRATE_COMPLETED"])
    .options(SPICE);
    let Some(mut away) = away.start() else { return };
    let home = Scenario::new(
        "spice-migrate-incoming",
        "A VM is migrated here whose SPICE client is to come along, and does not.",
    )
    .beside(&away)
    .options(&format!("{SPICE} -incoming unix:migrate.sock"));
    let Some(mut home) = home.start() else { return };
    let port = home.execute("query-spice")["port"].as_u64().expect("a port");
    for vm in [&mut away, &mut home] {
        vm.execute(r#"migrate-set-capabilities capabilities=[{"capability":"events","state":true}]"#);
    }
    let mut main = connect(&mut away);
    away.next("SPICE_CONNECTED");
    link(&mut main, 0, MAIN);
    away.next("SPICE_INITIALIZED client.channel-type=1");
    session(&mut main);
    away.cont();
    away.execute(&format!("client_migrate_info protocol=spice hostname=127.0.0.1 port={port}"));
    away.send("migrate uri=unix:migrate.sock");
    let completed = away.until("MIGRATION status=completed").pop().expect("the last");
    let moved = away.until("SPICE_MIGRATE_COMPLETED").pop().expect("the last");
    let waited = moved.arrived.duration_since(completed.arrived);
    assert!(waited + LATE > PATIENCE_WITH_CLIENTS && waited < PATIENCE_WITH_CLIENTS + LATE, "{waited:?}");
    // It has been told where to go.
    away.next("SPICE_DISCONNECTED");
    home.until("MIGRATION status=completed");
    away.finds("migration direction=outgoing result=completed");
    away.finds("why-paused cause=migration");
    home.finds("migration direction=incoming result=completed");
    home.end();
    away.end();
    drop(main);
}

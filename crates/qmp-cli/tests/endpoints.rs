//! The program with a hub over TLS with tokens, and errors of TLS and of tokens.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qmp_testing::MonitorThread;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::Value;
use support::{Process, RunResult, directory, line_with, qmp, run};

const LOOK: &str = "look-look-look-look-look-look-look";
const ANY: &str = "any.any.any.any.any.any.any.any.any";

/// A hub at a port of this host, with a certificate for `localhost`.
struct TlsHub {
    home: tempfile::TempDir,
    address: String,
    _hub: Process,
    _vm: MonitorThread,
}

impl TlsHub {
    /// Starts a hub with a certificate that expires in `until_year`.
    fn start(until_year: i32) -> Self {
        Self::start_with(|home| certificate(home, until_year))
    }

    fn start_with(certificate: impl FnOnce(&Path)) -> Self {
        let home = directory();
        let path = |name: &str| home.path().join(name).display().to_string();
        certificate(home.path());
        write(home.path(), "tokens", &format!("look {LOOK}\nadmin {ANY} operate\n"));
        write(home.path(), "token", &format!("{LOOK}\n"));
        let vm = MonitorThread::start(home.path().join("web1.sock"));
        let attach = format!("web1={}", vm.address());
        let (certificate, key, tokens) = (path("hub.pem"), path("hub.key"), path("tokens"));
        let line = ["serve", "--no-findings", "--attach", &attach, "--http", "tcp:127.0.0.1:0"];
        let files = ["--tls-certificate", &certificate, "--tls-key", &key, "--token-file", &tokens];
        let hub = Process::start(home.path(), &[&line[..], &files].concat());
        let serving = hub.wait_for("serving");
        assert!(serving.ends_with("  with a token"), "{serving}");
        let address = serving.split_whitespace().nth(1).expect("an address").to_owned();
        assert!(hub.wait_for("qmp tail").contains("--hub https://HOST:"));
        hub.wait_for("web1: attached");
        Self { home, address: address.replace("127.0.0.1", "localhost"), _hub: hub, _vm: vm }
    }

    /// Runs `arguments` with the hub at `address`, and that token in the environment.
    fn ask(&self, address: &str, token: Option<&str>, arguments: &[&str]) -> RunResult {
        let mut command = qmp(self.home.path(), arguments);
        command.env("QMP_HUB", address).env_remove("QMP_TOKEN");
        command.envs(token.map(|token| ("QMP_TOKEN", token)));
        support::run_result(command.output().expect("the program runs"))
    }
}

fn certificate(home: &Path, until_year: i32) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write(home, "ca.pem", &params.self_signed(&key).expect("a certificate").pem());
    let authority = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, "hub");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
    let key = KeyPair::generate().expect("a key");
    write(home, "hub.pem", &params.signed_by(&key, &authority).expect("a certificate").pem());
    write(home, "hub.key", &key.serialize_pem());
}

/// Writes a self-signed certificate, which is also the trusted authority.
fn self_signed(home: &Path, is_ca: IsCa) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    write(home, "hub.pem", &certificate);
    write(home, "ca.pem", &certificate);
    write(home, "hub.key", &key.serialize_pem());
}

fn write(home: &Path, name: &str, text: &str) {
    std::fs::write(home.join(name), text).expect("writes");
    std::fs::set_permissions(home.join(name), std::fs::Permissions::from_mode(0o600)).expect("is ours");
}

#[test]
fn each_command_works_over_tls() {
    let world = TlsHub::start(2100);
    let ca = world.home.path().join("ca.pem").display().to_string();
    let token = world.home.path().join("token").display().to_string();
    let ask = |token, arguments: &[&str]| {
        world.ask(&world.address, token, &[arguments, &["--hub-ca", &ca]].concat())
    };

    let tail =
        Process::start_with(world.home.path(), &["tail", "--hub-ca", &ca, "--token-file", &token], |tail| {
            tail.env("QMP_HUB", &world.address);
        });
    // Tail is connected once it prints the newest record.
    let stop = loop {
        let stop = ask(Some(ANY), &["exec", "web1", "stop"]);
        assert_eq!(stop.code, Some(0), "{stop:?}");
        // It may have connected between the event and the record of the command.
        if let Ok(line) = tail.stdout.recv_timeout(std::time::Duration::from_millis(500)) {
            if !line.contains("\"execute\":\"stop\"") {
                line_with(&tail.stdout, "\"execute\":\"stop\"");
            }
            break stop;
        }
    };
    let since = serde_json::from_str::<Value>(&stop.stdout).expect("JSON")["since"].to_string();
    let commands: [&[&str]; 4] = [
        &["log", "-n", "1", "--event", "STOP"],
        &["wait", "web1", "STOP", "--since", &since, "--timeout", "20s"],
        &["status", "web1"],
        &["why", "web1"],
    ];
    for arguments in commands {
        let ran = ask(Some(LOOK), arguments);
        assert!(ran.code == Some(0) && ran.stdout.contains("web1"), "{arguments:?} {ran:?}");
    }
    let refused = ask(Some(LOOK), &["exec", "web1", "stop"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.starts_with("qmp: the hub refused: NotAllowed: the token look is for observers"));
    assert_eq!(tail.interrupt(), Some(0));
}

#[test]
fn errors_of_tokens_and_tls_have_hints() {
    let world = TlsHub::start(2100);
    let path = |name: &str| world.home.path().join(name).display().to_string();
    let (ca, tokens) = (path("ca.pem"), path("tokens"));
    let port = world.address.rsplit_once(':').expect("a port").1;
    let (by_number, plain) = (format!("https://127.0.0.1:{port}"), format!("tcp:127.0.0.1:{port}"));
    let unauthorized =
        "\nhint: the token is read from the variable QMP_TOKEN, or from a file: --token-file FILE\n";
    let ask_token = format!(
        "qmp: the hub refused: Unauthorized: this hub requires a token; send the header `Authorization: Bearer TOKEN`{unauthorized}"
    );
    let wrong_token =
        format!("qmp: the hub refused: Unauthorized: the token is not one of this hub{unauthorized}");
    let unknown = format!(
        "qmp: cannot trust the hub at {}: its certificate comes from an authority that is not trusted here\n\
         hint: give the file of its authority: --hub-ca FILE\n",
        world.address
    );
    let other_name = format!(
        "qmp: cannot trust the hub at {by_number}: its certificate is for localhost\nhint: use one of these names in --hub\n"
    );
    let plainly = "qmp: this port requires TLS; use https:// and the hub's name\n".to_owned();
    let file = format!(
        "qmp: {tokens} is not a token: expected one word of printable letters and digits\n\
         hint: the file of a client has only its token; NAME and role are in the hub's file\n"
    );
    let no_authority =
        format!("qmp: {} holds no certificate; it should be PEM, beginning with -----BEGIN\n", path("token"));
    let (https, token) = (world.address.as_str(), path("token"));
    //  address, token, arguments; exit code, standard error
    type Case<'c> = (&'c str, Option<&'c str>, &'c [&'c str], i32, &'c str);
    let cases: [Case<'_>; 7] = [
        (https, None, &["status", "--hub-ca", &ca], 1, &ask_token),
        (https, Some("wrong-wrong-wrong-wrong-wrong-wrong"), &["status", "--hub-ca", &ca], 1, &wrong_token),
        (https, Some(LOOK), &["status"], 1, &unknown),
        (&by_number, Some(LOOK), &["status", "--hub-ca", &ca], 1, &other_name),
        (&plain, Some(LOOK), &["status"], 2, &plainly),
        (https, None, &["status", "--hub-ca", &ca, "--token-file", &tokens], 2, &file),
        (https, None, &["status", "--hub-ca", &token, "--token-file", &token], 2, &no_authority),
    ];
    for (address, token, arguments, code, stderr) in cases {
        let ran = world.ask(address, token, arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), stderr), "{address} {arguments:?}");
    }
}

#[test]
fn expired_certificate_is_reported() {
    let world = TlsHub::start(2021);
    let ca = world.home.path().join("ca.pem").display().to_string();
    let ran = world.ask(&world.address, Some(LOOK), &["status", "--hub-ca", &ca]);
    let stderr = format!(
        "qmp: cannot trust the hub at {}: its certificate has expired\n\
         hint: renew it; the hub reloads the file by itself; or is the clock of this host wrong?\n",
        world.address
    );
    assert_eq!((ran.code, ran.stderr), (Some(1), stderr));
}

#[test]
fn self_signed_certificate_is_accepted_unless_it_is_of_an_authority() {
    let hint = "its certificate is one of an authority, which is for signing others\nhint: a self-signed certificate needs CA:FALSE";
    let cases = [(IsCa::ExplicitNoCa, None), (IsCa::Ca(BasicConstraints::Unconstrained), Some(hint))];
    for (is_ca, refused) in cases {
        let world = TlsHub::start_with(|home| self_signed(home, is_ca));
        let ca = world.home.path().join("ca.pem").display().to_string();
        let ran = world.ask(&world.address, Some(LOOK), &["status", "--hub-ca", &ca]);
        assert_eq!(ran.code, Some(i32::from(refused.is_some())), "{ran:?}");
        assert!(ran.stderr.contains(refused.unwrap_or_default()), "{ran:?}");
    }
}

#[test]
fn demo_with_invalid_tokens_does_not_start() {
    let home = directory();
    write(home.path(), "tokens", "me short\n");
    let tokens = home.path().join("tokens").display().to_string();
    let ran = run(home.path(), &["serve", "--demo=1", "--http", "tcp:127.0.0.1:0", "--token-file", &tokens]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.starts_with("qmp: cannot serve at tcp:127.0.0.1:0: "), "{ran:?}");
    // `--check-config` reports the same as a warning.
    let endpoint = ["--http", "tcp:127.0.0.1:0", "--token-file", &tokens];
    let ran = run(home.path(), &[&["serve", "--check-config", "--attach", "a=/a"], &endpoint[..]].concat());
    assert!(
        ran.stderr
            .contains(&format!("warning: tcp:127.0.0.1:0: {tokens}:1: the token of me has 5 characters")),
        "{ran:?}"
    );
}

#[test]
fn port_without_tls_is_reported() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let attach = format!("web1={}", vm.address());
    let hub = Process::start(home.path(), &["serve", "--attach", &attach, "--http", "tcp:127.0.0.1:0"]);
    let address =
        hub.wait_for("serving").split_whitespace().nth(1).expect("an address").replace("tcp:", "https://");
    let ran = run(home.path(), &["status", "--hub", &address]);
    let stderr = format!(
        "qmp: cannot trust the hub at {address}: the peer does not speak TLS\n\
         hint: a port of this host without a certificate has the address tcp:127.0.0.1:PORT\n"
    );
    assert_eq!((ran.code, ran.stderr), (Some(1), stderr));
}

#[test]
fn address_for_other_hosts_needs_certificate_and_tokens() {
    let home = directory();
    let ran = run(home.path(), &["serve", "--attach", "a=/a", "--http", "tcp:0.0.0.0:0"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            Some(2),
            "qmp: tcp:0.0.0.0:0 can be reached from other hosts, so it needs a certificate and tokens, and has neither\n\
             hint: --tls-certificate FILE --tls-key FILE --token-file FILE\n\
             hint: or serve at a unix socket or at tcp:127.0.0.1:PORT, which is reached from other hosts with ssh -L\n"
        )
    );
}

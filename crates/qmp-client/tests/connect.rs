//! Connecting to a monitor: every kind of address, and every error.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::fs;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake::{STOP, next_line};
use qmp_client::{Address, ConnectConfig, ConnectError, connect, connect_with};
use qmp_testing::{GREETING, MonitorSocket, Peer};
use tokio::net::{TcpStream, UnixListener, UnixStream};

#[tokio::test]
async fn unix_path_longer_than_socket_address_is_dialled() {
    let directory = tempfile::tempdir().unwrap();
    let path = deep(directory.path()).join("qmp");
    assert!(path.as_os_str().len() > 107);
    let listener = {
        // Bound by a short name, as by a QEMU that was started in that directory.
        let short = directory.path().join("s");
        let listener = UnixListener::bind(&short).unwrap();
        fs::rename(short, &path).unwrap();
        listener
    };
    serve_one(&unix(&path, false), async { Peer::new(listener.accept().await.unwrap().0) }).await;
}

#[tokio::test]
async fn tcp_v4_v6_and_host_names_are_dialled() {
    for (bound, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("127.0.0.1:0", "localhost")] {
        let Ok(listener) = tokio::net::TcpListener::bind(bound).await else {
            println!("skipped {bound}: this host has no such address");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let address = Address::Tcp { host: host.into(), port, listen: false };
        serve_one(&address, async { Peer::new(listener.accept().await.unwrap().0) }).await;
    }
}

#[tokio::test]
async fn address_with_server_on_accepts_qemu_that_dials_in() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("qmp"), deep(directory.path()).join("qmp")] {
        let address = unix(&path, true);
        let dialled = async {
            let peer = Peer::new(dial(&path).await);
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "for its owner only");
            peer
        };
        serve_one(&address, dialled).await;
        assert!(!path.exists(), "the socket file goes with its listener");
    }

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = Address::Tcp { host: "127.0.0.1".into(), port, listen: true };
    let dialled = async {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => break Peer::new(stream),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    serve_one(&address, dialled).await;
}

#[tokio::test]
async fn stale_socket_file_is_replaced_and_other_files_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale socket file");
    serve_one(&unix(&path, true), async { Peer::new(dial(&path).await) }).await;

    let answered = UnixListener::bind(&path).unwrap();
    let error = connect(&unix(&path, true)).await.unwrap_err();
    assert!(matches!(error, ConnectError::InUse { .. }), "{error:?}");
    drop(answered);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = connect(&unix(&path, true)).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotASocket { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn inherited_socket_is_adopted_once() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let connected = Address::Fd { number: inherit(ours.into()), listen: false };
    serve_one(&connected, async { Peer::new(UnixStream::from_std(theirs).unwrap()) }).await;
    let error = connect(&connected).await.unwrap_err();
    assert!(error.to_string().contains("serves for one connection only"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let listening = Address::Fd { number: inherit(listener.into()), listen: true };
    serve_one(&listening, async { Peer::new(dial(&path).await) }).await;

    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = connect(&Address::Fd { number: inherit(ours.into()), listen: true }).await.unwrap_err();
    assert!(error.to_string().contains("leave out ,server=on"), "{error}");
}

#[tokio::test]
async fn failure_to_connect_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let long_name = deep(directory.path()).join("n".repeat(100));
    let taken = UnixListener::bind(directory.path().join("taken")).unwrap();
    let cases: [(Address, &str); 6] = [
        (unix(&directory.path().join("none"), false), "is the VM running?"),
        (unix(&stale, false), "no process listens on"),
        (unix(&file, false), "is not a socket"),
        (unix(&directory.path().join("taken"), true), "leave out ,server=on"),
        (unix(&directory.path().join("none/qmp"), true), "cannot listen on"),
        (unix(&long_name, true), "is too long for a socket"),
    ];
    for (address, expected) in cases {
        let error = connect(&address).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{address}: {error}");
    }
    drop(taken);
}

#[tokio::test]
async fn full_backlog_returns_busy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    let error = connect(&unix(&path, false)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("is in use and other clients wait"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn monitor_in_use_returns_no_greeting() {
    let fake = MonitorSocket::listen();
    let error = connect(&fake.address()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::NoGreeting { waited, .. } if waited == Duration::from_secs(5)),
        "{error:?}"
    );
    assert!(error.to_string().contains("in use by another client"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn failure_to_negotiate_says_what_to_do() {
    let deep = format!(r#"{{"event": "X", "data": {}"#, "[".repeat(1100));
    let deep_greeting = format!(r#"{{"QMP": {}"#, "[".repeat(1100));
    let cases: [(&str, &[&str], bool, &str); 12] = [
        ("console", &["login: "], true, r#"is not a QMP server: it begins with "login: \r\n""#),
        ("human monitor", &["QEMU 7.2.22 monitor"], false, "is not a QMP server: it begins with \"QEMU 7.2"),
        ("other JSON", &[r#"{"hello": 1}"#], false, "is not a QMP server: it begins with"),
        (
            "greeting without members",
            &[r#"{"QMP": {}}"#],
            false,
            "is not a QMP server: invalid greeting: it has no list of capabilities",
        ),
        (
            "greeting with a version of another form",
            &[r#"{"QMP": {"version": 7, "capabilities": []}}"#],
            false,
            "is not a QMP server: invalid greeting: version is not an object",
        ),
        (
            "deep JSON before the reply",
            &[GREETING, &deep],
            false,
            "broke the protocol before the negotiation was done: message nests deeper than the limit",
        ),
        (
            "deep JSON in place of the greeting",
            &[&deep_greeting],
            false,
            "broke the protocol before the negotiation was done: message nests deeper than the limit",
        ),
        ("greets only", &[GREETING], false, "did not answer qmp_capabilities within 5s"),
        ("closes", &[], true, "before the negotiation was done: the VM closed the connection"),
        (
            "greets and closes",
            &[GREETING, STOP],
            true,
            "before the negotiation was done: the VM closed the connection",
        ),
        (
            "error in place of the greeting",
            &[r#"{"error": {"class": "GenericError", "desc": "for members only"}}"#],
            true,
            "refused this client: for members only",
        ),
        (
            "closes in a message",
            &[r#"{"QMP": "#],
            true,
            "negotiation was done: the VM closed the connection in the middle of",
        ),
    ];
    for (name, lines, closes, expected) in cases {
        let fake = MonitorSocket::listen();
        let address = fake.address();
        let server = async {
            let mut peer = fake.accept().await;
            for line in lines {
                peer.say(line).await;
            }
            (!closes).then_some(peer)
        };
        let (connected, _peer) = tokio::join!(connect(&address), server);
        let error = connected.unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[tokio::test]
async fn refused_negotiation_returns_the_servers_error() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.say(GREETING).await;
        let heard = peer.hear().await;
        peer.refuses(&heard, "GenericError", "not today").await;
        peer
    };
    let (connected, _peer) = tokio::join!(connect(&address), server);
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("refused qmp_capabilities: GenericError: not today"), "{error}");
}

#[tokio::test]
async fn host_without_answer_returns_dial_timeout() {
    // A listening socket whose queue is full: further connections get no answer.
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&socket, &any).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let port = listener.local_addr().unwrap().port();
    let mut config = ConnectConfig::default();
    config.dial_timeout = Duration::from_millis(200);
    let mut queued = Vec::new();
    let address = Address::Tcp { host: "127.0.0.1".into(), port, listen: false };
    let error = loop {
        match qmp_client::Connection::open(&address, &config).await {
            Ok(connection) if queued.len() < 8 => queued.push(connection),
            Ok(_) => panic!("the queue is never full"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnectError::DialTimeout { .. }), "{error:?}");
}

#[tokio::test]
async fn greeting_is_available_from_monitor() {
    let fake = MonitorSocket::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer
    };
    let config = ConnectConfig::default();
    let (connected, _peer) = tokio::join!(connect_with(&address, &config), server);
    let (monitor, _events) = connected.unwrap();
    let greeting = monitor.greeting();
    assert_eq!(greeting.raw, GREETING);
    assert_eq!(
        greeting.version.map(|version| (version.major, version.minor, version.micro)),
        Some((7, 2, 22))
    );
    assert_eq!(greeting.capabilities, [Box::from("oob")]);
}

/// One whole conversation with the scripted server `peer`.
async fn serve_one<S>(address: &Address, peer: impl Future<Output = Peer<S>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let server = async {
        let mut peer = peer.await;
        peer.negotiate().await;
        peer.answer("query-name", "{}").await;
        peer.say(STOP).await;
    };
    let client = async {
        let (monitor, mut events) =
            connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        monitor.execute("query-name", ()).await.unwrap();
        assert_eq!(next_line(&mut events).await, "STOP");
        assert_eq!(next_line(&mut events).await, "ended: the VM closed the connection");
    };
    tokio::join!(client, server);
}

/// Connects as soon as the socket listens.
async fn dial(path: &Path) -> UnixStream {
    loop {
        // A short way to a path that may be long.
        let directory = fs::File::open(path.parent().unwrap()).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
        match UnixStream::connect(format!("/proc/self/fd/{number}/qmp")).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A directory whose path fits no socket address.
fn deep(directory: &Path) -> PathBuf {
    let deep = directory.join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    deep
}

fn unix(path: &Path, listen: bool) -> Address {
    Address::Unix { path: path.to_owned(), listen }
}

/// Makes a descriptor as an exec would pass it on.
fn inherit(descriptor: OwnedFd) -> i32 {
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::empty()).unwrap();
    descriptor.into_raw_fd()
}

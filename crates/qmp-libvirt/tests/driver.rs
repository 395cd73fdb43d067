//! The driver against a scripted daemon at a unix socket.

use std::path::Path;

use qmp_libvirt::{ConnectError, Domain, FollowItem, FollowSocket, SessionError, Source, Uuid};
use qmp_testing::{LibvirtDaemon, LibvirtDomain, LibvirtSocket, QEMU, REMOTE, wait_for};

/// A daemon at a socket, with `vm1` that runs.
struct Host {
    directory: tempfile::TempDir,
    socket: LibvirtSocket,
}

impl Host {
    fn new(change: impl FnOnce(&mut LibvirtDaemon)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut daemon = LibvirtDaemon::new(vec![LibvirtDomain::running("vm1", [7; 16], 1)]);
        change(&mut daemon);
        std::fs::create_dir(directory.path().join("libvirt")).expect("a directory");
        let socket = LibvirtSocket::bind(&directory.path().join("libvirt/libvirt-sock"), daemon);
        Self { directory, socket }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Connects as an ordinary user does.
    async fn connect(&self) -> Result<FollowSocket, ConnectError> {
        FollowSocket::connect(&Source::Session, self.path()).await
    }
}

/// Returns the next item that is an attachment or an event, by its name.
async fn next(follow: &mut FollowSocket) -> Result<String, SessionError> {
    loop {
        match follow.next().await? {
            FollowItem::Attached(attachment) => return Ok(format!("attached {}", attachment.domain.name)),
            FollowItem::Event { event, .. } => return Ok(event.name.into()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn events_arrive_until_the_daemon_closes() {
    let host = Host::new(|_| {});
    let mut follow = host.connect().await.expect("connects");
    assert_eq!(follow.socket(), host.path().join("libvirt/libvirt-sock"));
    assert_eq!(follow.info().host_name.as_deref(), Some("host1"));
    assert_eq!(next(&mut follow).await.as_deref(), Ok("attached vm1"));
    for event in ["STOP", "RESUME"] {
        host.socket.with(|daemon| daemon.emit("vm1", event, None));
        assert_eq!(next(&mut follow).await.as_deref(), Ok(event));
    }
    host.socket.disconnect();
    let error = next(&mut follow).await.expect_err("closed");
    assert_eq!(error.to_string(), "libvirt closed the connection");
}

#[tokio::test]
async fn message_longer_than_a_read_arrives_whole() {
    let host = Host::new(|_| {});
    let mut follow = host.connect().await.expect("connects");
    next(&mut follow).await.expect("attached");
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    host.socket.with(|daemon| daemon.emit("vm1", "LONG", Some(&data)));
    let item = follow.next().await.expect("an event");
    let FollowItem::Event { event, .. } = item else { panic!("{item:?}") };
    assert_eq!(event.data.as_deref(), Some(&*data));
}

#[tokio::test]
async fn connection_ends_with_the_call_that_ends_it() {
    let host = Host::new(|_| {});
    let mut follow = host.connect().await.expect("connects");
    next(&mut follow).await.expect("attached");
    host.socket.with(|daemon| daemon.unanswered.push((REMOTE, 59)));
    let closing = tokio::spawn(follow.close());
    tokio::task::spawn_blocking(move || {
        wait_for("the call", || {
            host.socket.with(|daemon| daemon.calls().contains(&(REMOTE, 2)).then_some(()))
        });
        host.socket.disconnect();
        host
    })
    .await
    .expect("called");
    closing.await.expect("closes");
}

#[tokio::test]
async fn absent_daemon_is_named_with_the_next_move() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = FollowSocket::connect(&Source::Session, directory.path()).await.expect_err("absent");
    let ConnectError::Absent { paths, .. } = &error else { panic!("{error:?}") };
    assert_eq!(paths.len(), 2);
    assert!(error.to_string().ends_with("start libvirtd or virtqemud"), "{error}");
}

#[tokio::test]
async fn refusals_are_errors_of_connecting() {
    let cases = [
        ("sasl", (REMOTE, 1), 0, vec![1], "auth_unix_rw"),
        ("no agent", (REMOTE, 70), 94, vec![2], "org.libvirt.unix.manage"),
        ("no access", (REMOTE, 1), 88, vec![0], "domain.getattr"),
    ];
    for (name, procedure, code, authentications, part) in cases {
        let host = Host::new(|daemon| {
            daemon.authentications = authentications;
            daemon.refusals.insert(procedure, (code, "as told".to_owned()));
        });
        let error = host.connect().await.expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[tokio::test]
async fn daemon_of_a_user_is_found_at_any_path() {
    let host = Host::new(|daemon| daemon.refused_uri = Some("qemu:///system".to_owned()));
    let source = Source::Socket(host.path().join("libvirt/libvirt-sock"));
    let mut follow = FollowSocket::connect(&source, host.path()).await.expect("connects");
    assert_eq!(next(&mut follow).await.as_deref(), Ok("attached vm1"));
}

#[tokio::test]
async fn connection_for_commands_gets_replies_and_no_events() {
    let host = Host::new(|_| {});
    let source = Source::Session;
    let mut commands = FollowSocket::connect_for_commands(&source, host.path()).await.expect("connects");
    let domain = Domain { name: "vm1".into(), uuid: Uuid::from_bytes([7; 16]), id: 1 };
    let sent = commands.execute_on(domain, r#"{"execute":"stop"}"#);
    let item = commands.next().await.expect("a reply");
    let FollowItem::Reply { call, result: Ok(reply) } = item else { panic!("{item:?}") };
    assert_eq!((call, &*reply), (sent, r#"{"return":{},"id":"libvirt-1"}"#));
    let calls = host.socket.with(|daemon| daemon.calls().to_vec());
    assert_eq!(calls, [(REMOTE, 66), (REMOTE, 1), (REMOTE, 60), (QEMU, 1)], "no registration, and no list");
}

//! The start of a session, and what ends one.

use std::time::Duration;

use qmp_libvirt::{ConnectionError, FrameError, SessionError, Step};
use qmp_testing::{LibvirtDaemon, QEMU, REMOTE, libvirt_frame};

use crate::conversation::Conversation;

#[test]
fn registration_precedes_list_of_domains() {
    let mut conversation = Conversation::with_vm1();
    let items = conversation.run().expect("opens");
    assert_eq!(
        items,
        ["connected 9.0.0 host1", "running vm1#1", "listed", "attached vm1#1 found: running booted"]
    );
    let calls = [
        (REMOTE, 66),
        (REMOTE, 1),
        (REMOTE, 60),
        (REMOTE, 157),
        (REMOTE, 59),
        (REMOTE, 316),
        (REMOTE, 316),
        (QEMU, 4),
        (REMOTE, 273),
        (REMOTE, 229),
        (REMOTE, 212),
    ];
    assert_eq!(conversation.daemon.calls(), calls);
}

#[test]
fn authentication_decides_the_next_call() {
    type Case = (&'static str, &'static [u32], Result<&'static [u32], &'static str>);
    let cases: [Case; 5] = [
        ("none", &[0], Ok(&[66, 1])),
        ("nothing listed", &[], Ok(&[66, 1])),
        ("polkit", &[2], Ok(&[66, 70, 1])),
        ("sasl", &[1], Err("auth_unix_rw")),
        ("unknown", &[9], Err("unknown kind of authentication (9)")),
    ];
    for (name, authentications, expected) in cases {
        let mut daemon = LibvirtDaemon::new(Vec::new());
        daemon.authentications = authentications.to_vec();
        let mut conversation = Conversation::new(daemon);
        match (conversation.run(), expected) {
            (Ok(_), Ok(calls)) => {
                let made: Vec<_> = conversation.daemon.calls().iter().map(|(_, number)| *number).collect();
                assert!(made.starts_with(calls), "{name}: {made:?}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[test]
fn refusal_names_the_next_move() {
    let cases = [
        ((QEMU, 4), 29, Step::RegisterMonitorEvents, "without `-ro`"),
        ((REMOTE, 273), 88, Step::List, "domain.getattr"),
        ((REMOTE, 70), 94, Step::Authenticate, "org.libvirt.unix.manage"),
        ((REMOTE, 1), 1, Step::Open, "cannot open the hypervisor: libvirt refuses with code 1: as told"),
    ];
    for (procedure, code, expected, part) in cases {
        let mut daemon = LibvirtDaemon::new(Vec::new());
        daemon.authentications = vec![2];
        daemon.refusals.insert(procedure, (code, "as told".to_owned()));
        let error = Conversation::new(daemon).run().expect_err("refused");
        assert!(matches!(&error, SessionError::Refused { step, .. } if *step == expected), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn daemon_without_version_and_name_is_followed() {
    let mut conversation = Conversation::with_vm1();
    for procedure in [60, 157, 59] {
        conversation.daemon.refusals.insert((REMOTE, procedure), (39, "unknown procedure".to_owned()));
    }
    let items = conversation.run().expect("opens");
    assert_eq!(items[0], "connected unknown unknown");
}

#[test]
fn slow_open_is_waited_for_and_silence_is_not() {
    let mut conversation = Conversation::with_vm1();
    conversation.daemon.unanswered.push((REMOTE, 1));
    assert_eq!(conversation.run(), Ok(Vec::new()));
    assert_eq!(conversation.pass(Duration::from_secs(59)), Ok(Vec::new()));
    let error = conversation.pass(Duration::from_secs(2));
    assert_eq!(error, Err(ConnectionError::NoReply.into()));
}

#[test]
fn silent_daemon_is_pinged_and_given_up() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    assert_eq!(conversation.pass(Duration::from_secs(600)), Ok(Vec::new()), "it answers pings");

    let (start, mut pings) = (conversation.now, 0);
    let error = loop {
        conversation.now = conversation.follow.poll_timeout();
        if let Err(error) = conversation.follow.handle_timeout(conversation.now) {
            break error;
        }
        let ping = conversation.follow.transmit().to_vec();
        assert_eq!(ping, libvirt_frame([0x6b65_6570, 1, 1, 2, 0, 0], &[]));
        conversation.follow.consume_transmit(ping.len());
        pings += 1;
    };
    assert_eq!(error, ConnectionError::Silent.into());
    assert!((11..=12).contains(&pings), "{pings}");
    assert!(conversation.now - start <= Duration::from_secs(60));
}

#[test]
fn ping_is_answered_once_while_nothing_is_sent() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    for _ in 0..1000 {
        conversation.daemon.ping();
    }
    let pings = conversation.daemon.take_output();
    conversation.follow.handle_input(&pings, conversation.now);
    assert_eq!(conversation.follow.poll_item(conversation.now), Ok(None));
    assert_eq!(conversation.follow.transmit(), libvirt_frame([0x6b65_6570, 1, 2, 2, 0, 0], &[]));
}

#[test]
fn end_of_stream_and_bad_frames_end_the_session() {
    let cases: [(&str, &[u8], &str); 3] = [
        ("between frames", &[], "libvirt closed the connection"),
        ("within a frame", &[0, 0, 0], "the connection ended within a frame"),
        ("a bad length", &[0, 0, 0, 27], "a frame of 27 bytes: the least is 28, and the most 16777220"),
    ];
    for (name, bytes, expected) in cases {
        let mut conversation = Conversation::with_vm1();
        conversation.open();
        conversation.follow.handle_input(bytes, conversation.now);
        let polled = conversation.follow.poll_item(conversation.now);
        let error = polled.map_or_else(|error| error, |_| conversation.follow.handle_end());
        assert_eq!(error.to_string(), expected, "{name}");
        assert_eq!(conversation.follow.handle_end(), error, "{name}: it stays the same");
    }
    assert_eq!(
        SessionError::from(ConnectionError::from(FrameError::Truncated)).to_string(),
        "the connection ended within a frame"
    );
}

#[test]
fn event_with_bytes_left_over_ends_the_session() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    conversation.daemon.send(&libvirt_frame([REMOTE, 1, 325, 2, 1, 0], &[0; 32]));
    let error = conversation.run().expect_err("malformed");
    assert_eq!(error.to_string(), "an event that is not as it must be: 4 bytes after the last value");
}

#[test]
fn unknown_frames_are_skipped() {
    let mut conversation = Conversation::with_vm1();
    conversation.open();
    let frames = [
        [0x1234_5678, 1, 6, 2, 0, 0],
        [REMOTE, 2, 318, 2, 0, 0],
        [REMOTE, 1, 9999, 2, 0, 0],
        [QEMU, 1, 6, 77, 0, 0],
        [REMOTE, 1, 212, 1, 4_000_000, 0],
    ];
    for header in frames {
        conversation.daemon.send(&libvirt_frame(header, b"anything"));
    }
    conversation.daemon.emit("vm1", "STOP", None);
    let items = conversation.run().expect("goes on");
    assert_eq!(items.len(), frames.len() + 1);
    assert!(items[..frames.len()].iter().all(|item| item.starts_with("Unknown")), "{items:?}");
    assert_eq!(items[frames.len()], "event STOP");
}

#[test]
fn at_most_four_calls_are_in_flight() {
    let domain = |number: u8| qmp_testing::LibvirtDomain::running("vm", [number; 16], i32::from(number));
    let mut conversation = Conversation::new(LibvirtDaemon::new((0..50).map(domain).collect()));
    conversation.daemon.unanswered.push((REMOTE, 229));
    conversation.open();
    assert_eq!(conversation.daemon.unreplied_calls(), 4);
}

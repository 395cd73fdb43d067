//! A follower of a real libvirtd, on a blocking socket, that keeps all frames.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use qmp_libvirt::{EndReason, Follow, FollowItem};
use qmp_testing::{Libvirt, PATIENCE};

/// The pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(10);

/// A follower on a connection.
pub(crate) struct Follower {
    stream: UnixStream,
    follow: Follow,
    /// The stream of each direction, in the order of the pieces.
    pub(crate) pieces: Vec<(char, Vec<u8>)>,
}

impl Follower {
    pub(crate) fn connect(libvirt: &Libvirt) -> Self {
        Self::connect_to(&libvirt.socket(), "qemu:///session")
    }

    pub(crate) fn connect_to(socket: &Path, uri: &str) -> Self {
        let stream = UnixStream::connect(socket).expect("libvirtd listens");
        stream.set_read_timeout(Some(TICK)).expect("sets");
        let follow = Follow::new(uri, Instant::now());
        Self { stream, follow, pieces: Vec::new() }
    }

    /// Reads the next item.
    pub(crate) fn next(&mut self) -> String {
        loop {
            match self.follow.poll_item(Instant::now()).expect("goes on") {
                Some(item) => return words(&item),
                None => self.exchange(),
            }
        }
    }

    /// Reads on until this item, and returns the items up to it.
    pub(crate) fn until(&mut self, last: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut items = Vec::new();
        while !items.iter().any(|item| item == last) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {last} behind {items:?}");
            match self.follow.poll_item(Instant::now()).expect("goes on") {
                Some(item) => items.push(words(&item)),
                None => self.exchange(),
            }
        }
        items
    }

    /// Ends the connection as libvirt demands.
    pub(crate) fn close(mut self) -> Vec<(char, Vec<u8>)> {
        self.follow.close(Instant::now());
        self.write();
        let mut rest = Vec::new();
        self.stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        self.stream.read_to_end(&mut rest).expect("reads");
        self.pieces.push(('<', rest));
        self.pieces
    }

    fn exchange(&mut self) {
        self.write();
        let mut buffer = vec![0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("libvirtd closed the connection"),
            Ok(length) => {
                buffer.truncate(length);
                self.follow.handle_input(&buffer, Instant::now());
                self.pieces.push(('<', buffer));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        if Instant::now() >= self.follow.poll_timeout() {
            self.follow.handle_timeout(Instant::now()).expect("libvirtd replies");
        }
    }

    fn write(&mut self) {
        let request = self.follow.transmit().to_vec();
        if !request.is_empty() {
            self.stream.write_all(&request).expect("writes");
            self.follow.consume_transmit(request.len());
            self.pieces.push(('>', request));
        }
    }
}

/// An item on one line, without the numbers of runs.
pub(crate) fn words(item: &FollowItem) -> String {
    match item {
        FollowItem::Connected(_) => "connected".to_owned(),
        FollowItem::Listed => "listed".to_owned(),
        FollowItem::Running(domain) => format!("running {}", domain.name),
        FollowItem::Attached(attachment) => {
            let started = attachment.started.map(|started| format!(" {}", started.detail_word()));
            let state = attachment.state.as_ref().expect("a state");
            let (started, state, reason) =
                (started.unwrap_or_default(), state.state_word(), state.reason_word());
            format!("attached {}{started}: {state} {reason}", attachment.domain.name)
        }
        FollowItem::Event { event, .. } => {
            format!("{} {}", event.name, event.data.as_deref().unwrap_or_default()).trim().to_owned()
        }
        FollowItem::Detached { reason: EndReason::Stopped(how), .. } => {
            format!("detached {}", how.detail_word())
        }
        FollowItem::Gone { .. } => "gone".to_owned(),
        other => format!("{other:?}"),
    }
}

//! A follower and a scripted daemon, connected in memory, on a clock that the test moves.

use std::time::{Duration, Instant};

use qmp_libvirt::{Began, EndReason, Follow, FollowItem, SessionError};
use qmp_testing::{LibvirtDaemon, LibvirtDomain};

pub(crate) const UUID: [u8; 16] =
    [0x5f, 0x93, 0x79, 0x3e, 0xc8, 0x0e, 0x4e, 0xec, 0xa3, 0x6b, 0xa2, 0xe6, 0xd2, 0x18, 0xbd, 0xbc];

/// A follower, a daemon and a clock.
pub(crate) struct Conversation {
    pub(crate) follow: Follow,
    pub(crate) daemon: LibvirtDaemon,
    pub(crate) now: Instant,
}

impl Conversation {
    pub(crate) fn new(daemon: LibvirtDaemon) -> Self {
        let now = Instant::now();
        Self { follow: Follow::new("qemu:///system", now), daemon, now }
    }

    /// With a daemon that runs `vm1` under the number 1.
    pub(crate) fn with_vm1() -> Self {
        Self::new(LibvirtDaemon::new(vec![LibvirtDomain::running("vm1", UUID, 1)]))
    }

    /// Exchanges bytes until both sides wait, and returns the items in words.
    pub(crate) fn run(&mut self) -> Result<Vec<String>, SessionError> {
        let mut items = Vec::new();
        loop {
            while let Some(item) = self.follow.poll_item(self.now)? {
                items.push(words(&item));
            }
            let request = self.follow.transmit().to_vec();
            self.follow.consume_transmit(request.len());
            self.daemon.handle_input(&request);
            let reply = self.daemon.take_output();
            if reply.is_empty() && request.is_empty() {
                return Ok(items);
            }
            self.follow.handle_input(&reply, self.now);
        }
    }

    /// As [`run`](Self::run), without the items.
    pub(crate) fn open(&mut self) -> &mut Self {
        self.run().expect("opens");
        self
    }

    /// Moves the clock, and handles the passing of time.
    pub(crate) fn pass(&mut self, span: Duration) -> Result<Vec<String>, SessionError> {
        let end = self.now + span;
        let mut items = Vec::new();
        while self.follow.poll_timeout() <= end {
            self.now = self.follow.poll_timeout();
            self.follow.handle_timeout(self.now)?;
            items.extend(self.run()?);
        }
        self.now = end;
        Ok(items)
    }
}

/// An item on one line.
pub(crate) fn words(item: &FollowItem) -> String {
    match item {
        FollowItem::Connected(info) => {
            let version = info.version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
            format!("connected {version} {}", info.host_name.as_deref().unwrap_or("unknown"))
        }
        FollowItem::Listed => "listed".to_owned(),
        FollowItem::Off(domain) => format!("off {}", domain.name),
        FollowItem::Running(domain) => format!("running {}#{}", domain.name, domain.id),
        FollowItem::Occupied(domain) => format!("occupied {}#{}", domain.name, domain.id),
        FollowItem::Unreadable(domain) => format!("unreadable {}#{}", domain.name, domain.id),
        FollowItem::Attached(attachment) => {
            let began = match attachment.began {
                Began::Found => "found",
                Began::Started => "started",
                Began::Reopened => "reopened",
            };
            let started = attachment.started.map(|started| format!(" {}", started.detail_word()));
            let state = match &attachment.state {
                Ok(state) => format!("{} {}", state.state_word(), state.reason_word()),
                Err(error) => format!("error {}", error.code),
            };
            let (name, id) = (&attachment.domain.name, attachment.domain.id);
            format!("attached {name}#{id} {began}{}: {state}", started.unwrap_or_default())
        }
        FollowItem::Event { event, .. } => format!("event {}", event.name),
        FollowItem::Detached { reason, .. } => match reason {
            EndReason::Stopped(lifecycle) => format!("detached {}", lifecycle.detail_word()),
            EndReason::Replaced { id } => format!("detached replaced by #{id}"),
            EndReason::MonitorLost { ago } => format!("detached monitor lost {} s ago", ago.as_secs()),
        },
        FollowItem::Gone { .. } => "gone".to_owned(),
        FollowItem::Reply { result: Ok(reply), .. } => format!("reply {reply}"),
        FollowItem::Reply { result: Err(error), .. } => format!("error {}", error.code),
        FollowItem::State { result: Ok(state), .. } => {
            format!("state {} {}", state.state_word(), state.reason_word())
        }
        FollowItem::State { result: Err(error), .. } => format!("state error {}", error.code),
        other => format!("{other:?}"),
    }
}

//! However relays end, every reply that they hold reaches its client.

use qmp_client::{ExecuteError, FollowConfig, FollowEvent, ForwardedCommand, PendingReply, ReplySink};
use qmp_journal::JournalOptions;
use qmp_testing::{GREETING, MonitorSocket};
use tokio::sync::oneshot;

use super::*;
use crate::vm::{FollowedVm, VmOrigin};

/// A client that notes how its reply came.
#[derive(Debug)]
struct ReplyRecorder(oneshot::Sender<(bool, Result<Box<str>, ExecuteError>)>);

impl ReplySink for ReplyRecorder {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        let _ = self.0.send((false, result));
    }

    fn deliver_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        let _ = self.0.send((true, result));
    }
}

/// A reply that its client does not have, and where the client gets it.
async fn pending() -> (PendingReply, oneshot::Receiver<(bool, Result<Box<str>, ExecuteError>)>) {
    let socket = MonitorSocket::listen();
    let address = socket.address();
    let vm = tokio::spawn(async move {
        let mut peer = socket.accept().await;
        peer.say(GREETING).await;
        while let Some(request) = peer.hear_or_end().await {
            peer.returns(&request, "{}").await;
        }
    });
    let mut follow = qmp_client::follow(address, FollowConfig::default());
    let (to, reply) = oneshot::channel();
    let mut to = Some(to);
    let pending = loop {
        match follow.next().await {
            FollowEvent::Attached { .. } => {}
            FollowEvent::Reply(reply) => break reply,
            other => panic!("{other:?}"),
        }
        let passed = ForwardedCommand {
            command: "stop",
            arguments: None,
            out_of_band: false,
            descriptors: Vec::new(),
        };
        let asker = Box::new(ReplyRecorder(to.take().expect("attached once")));
        follow.commander().forward(passed, asker).expect("attached");
    };
    vm.abort();
    (pending, reply)
}

fn vm() -> FollowedVm {
    let address: qmp_client::Address = "/vm1.sock".parse().expect("an address");
    let follow = qmp_client::follow(address.clone(), FollowConfig::default());
    let now = qmp_host::clock::now();
    FollowedVm::new("vm1".parse().expect("a name"), address, VmOrigin::Program, follow.commander(), now)
}

/// How the relays of a VM end.
#[derive(Clone, Copy, Debug)]
enum End {
    VmRemoved,
    Dropped,
    FeedDied,
    HubStopped,
    /// They go on, and the journal does not commit.
    Stalled,
}

#[tokio::test]
async fn held_reply_reaches_its_client_however_the_relays_end() {
    for end in [End::VmRemoved, End::Dropped, End::FeedDied, End::HubStopped, End::Stalled] {
        let home = tempfile::tempdir().expect("a directory");
        let journal =
            Journal::open(&home.path().join("journal.db"), JournalOptions::default()).expect("opens");
        let (reply, received) = pending().await;
        tokio::time::pause();
        let (memory, open_files) = (ReaderMemory::new(1 << 20), OpenFiles::default());
        let (relays, vm) = (Relays::new(&journal, &memory, &open_files), vm());
        let of_vm = relays.begin(vm.relayed());
        // A record that the feed does not find: it is as far behind as it can be.
        of_vm.line.recorded(1);
        of_vm.line.hold(reply);
        let mut of_vm = Some(of_vm);
        let taken = of_vm.take_if(|_| !matches!(end, End::FeedDied | End::Stalled));
        match (end, taken) {
            (End::VmRemoved, Some(of_vm)) => relays.close(Box::new(of_vm)).await,
            (End::HubStopped, Some(of_vm)) => relays.stop(vec![of_vm]).await,
            (End::FeedDied, _) => relays.abort(),
            (_, taken) => drop(taken),
        }
        let (early, result) = received.await.expect("the reply is not lost");
        assert_eq!((early, result.as_deref().ok()), (true, Some("{}")), "{end:?}");
        tokio::time::resume();
    }
}

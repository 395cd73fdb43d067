//! journald, by its native protocol: every record is an entry with fields, among them a `MESSAGE_ID` for each kind.
//!
//! An entry is one datagram, or, if it is too long for the socket, a sealed file in memory whose descriptor is sent.

mod entry;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::delivery::{Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink};
use super::kind::SinkKind;

pub(super) static KIND: SinkKind =
    SinkKind { variant: &Variant { key: &JOURNALD, options: &[] }, may_hold_back: true, read };

static JOURNALD: KeySchema = KeySchema::new(
    "journald",
    Form::Any(&[Form::True, Form::Path]),
    "true, or the path of journald's socket",
    "Writes each record to journald; a path is that of journald's socket.",
)
.example("true");

/// The socket of journald.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long journald may take for an entry. Its queue empties as fast as its disk.
const JOURNALD_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct Journald {
    socket: PathBuf,
}

struct JournaldSink {
    socket_path: PathBuf,
    rule: Box<str>,
    socket: Option<UnixDatagram>,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let socket = match settings.get(&JOURNALD)?.get_ref().as_bool() {
        Some(true) => SOCKET.into(),
        Some(false) => {
            settings
                .problem(&JOURNALD, "a rule that does nothing: write journald = true, or leave the rule out");
            return None;
        }
        None => PathBuf::from(settings.text(&JOURNALD)?),
    };
    if !socket.exists() {
        let socket = socket.display();
        settings.warn(&JOURNALD, &format!("there is no {socket}: entries wait until journald runs"));
    }
    Some(Arc::new(Journald { socket }))
}

impl RuleAction for Journald {
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        Box::new(JournaldSink { socket_path: self.socket.clone(), rule: origin.rule.clone(), socket: None })
    }

    fn target(&self) -> String {
        self.socket.display().to_string()
    }
}

impl Sink for JournaldSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        Box::pin(async {
            for (delivered, delivery) in deliveries.iter().enumerate() {
                let entry = entry::of(&delivery.record, delivery.held_back, &self.rule);
                let sending = tokio::time::timeout(JOURNALD_TIMEOUT, self.send(&entry));
                let sent = sending.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                if let Err(error) = sent {
                    self.socket = None;
                    let path = self.socket_path.display();
                    return DeliveryOutcome::unavailable(
                        delivered,
                        format!("cannot write to journald at {path}: {error}"),
                    );
                }
            }
            DeliveryOutcome::done(deliveries.len())
        })
    }
}

impl JournaldSink {
    async fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        // A restarted journald listens at a new socket with the same path.
        if let Some(socket) = self.socket.take()
            && send(&socket, entry).await.is_ok()
        {
            self.socket = Some(socket);
            return Ok(());
        }
        let socket = connect(&self.socket_path)?;
        send(&socket, entry).await?;
        self.socket = Some(socket);
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

async fn send(socket: &UnixDatagram, entry: &[u8]) -> io::Result<()> {
    match socket.send(entry).await {
        Ok(_) => Ok(()),
        Err(error) if is_too_long(&error) => {
            let file = sealed(entry)?;
            socket.async_io(Interest::WRITABLE, || send_descriptor(socket, &file)).await
        }
        Err(error) => Err(error),
    }
}

fn is_too_long(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MSGSIZE | Errno::NOBUFS))
}

/// A sealed file in memory, as journald requires: its content cannot be changed.
fn sealed(entry: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create("qmp-journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = entry;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

fn send_descriptor(socket: &UnixDatagram, file: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(socket, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram as Listener;

    use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};

    use super::entry::tests::parse;
    use super::*;

    fn delivery(data_bytes: usize) -> Delivery {
        let data = format!(r#"{{"a": "{}"}}"#, "x".repeat(data_bytes));
        let body =
            Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: Some(data.into()) };
        let (offset, epoch, seq) = (Some(Offset(data_bytes as u64 + 1)), Epoch(1), Seq(1));
        Delivery {
            record: Record { offset, vm: "v".into(), epoch, seq, received: UnixMicros(0), body },
            held_back: 0,
        }
    }

    /// The content of one datagram: its bytes, or the file of the descriptor in it.
    fn receive(listener: &Listener) -> Vec<u8> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut buffer = vec![0; 1 << 20];
        let got = rustix::net::recvmsg(
            listener,
            &mut [std::io::IoSliceMut::new(&mut buffer)],
            &mut control,
            rustix::net::RecvFlags::empty(),
        )
        .expect("a datagram");
        for message in control.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(descriptors) = message {
                let file = std::fs::File::from(descriptors.into_iter().next().expect("a descriptor"));
                let seals = rustix::fs::fcntl_get_seals(&file).expect("seals");
                assert!(seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW));
                let mut bytes =
                    vec![0; usize::try_from(file.metadata().expect("a size").len()).expect("small")];
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).expect("reads");
                return bytes;
            }
        }
        buffer.truncate(got.bytes);
        buffer
    }

    #[tokio::test]
    async fn entries_of_any_length_are_delivered_also_to_a_restarted_journald() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("socket");
        let mut entries = JournaldSink { socket_path: path.clone(), rule: "r".into(), socket: None };
        let outcome = entries.deliver(&[delivery(0)]).await;
        assert!(outcome.delivered == 0 && outcome.failure.is_some(), "no listener: {outcome:?}");
        for _ in 0..2 {
            let listener = Listener::bind(&path).expect("binds");
            let deliveries = [delivery(1), delivery(3 << 20), delivery(2)];
            let outcome = entries.deliver(&deliveries).await;
            assert!(outcome.delivered == 3 && outcome.failure.is_none(), "{outcome:?}");
            for expected in &deliveries {
                let fields = parse(&receive(&listener));
                let mut line = Vec::new();
                expected.record.write_json(&mut line);
                assert_eq!(fields["QMP_RECORD"].as_bytes(), line);
            }
            drop(listener);
            std::fs::remove_file(&path).expect("removes");
        }
    }
}

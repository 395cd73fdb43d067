//! The commands of a connection: waiting, sent, and replied to.
//!
//! Without out-of-band execution QEMU reads one command at a time and leaves the rest in the socket, so everything
//! is sent at once. With it, an out-of-band command gets through only while QEMU still reads, and QEMU stops
//! reading when its queue is full: at most [`IN_BAND_MAX`] in-band commands are sent at a time.
//!
//! A command with an attachment (file descriptors, which travel with its first byte) is alone in flight: later
//! descriptors would replace its own before it runs.

use std::collections::{BTreeMap, VecDeque};

use super::request;

/// Maximum number of in-band commands in flight when out-of-band execution is enabled.
///
/// QEMU's queue has 8 entries, and QEMU stops reading when the eighth is used; with 1 running and 7 queued an
/// out-of-band command after them is still read. Source: QMP specification, "Out-of-band execution".
const IN_BAND_MAX: usize = 8;

/// The commands of one connection.
#[derive(Debug)]
pub(super) struct Commands {
    nonce: u64,
    next: u64,
    mode: Mode,
    /// In the order of their numbers, without those for out-of-band execution.
    queued: VecDeque<QueuedCommand>,
    /// Likewise, those for out-of-band execution.
    queued_out_of_band: VecDeque<QueuedCommand>,
    in_flight: BTreeMap<u64, Lane>,
    /// Number of the in-band commands in flight, and of those with an attachment.
    in_band: usize,
    attached: usize,
    transmit: Vec<u8>,
    /// Number of bytes of `transmit` already sent.
    sent_bytes: usize,
    /// The command with an attachment whose first byte is not sent: its number and its start in `transmit`.
    attachment: Option<(u64, usize)>,
}

/// Whether commands may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Negotiating,
    Open { out_of_band: bool },
}

/// The mode of execution of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    InBand,
    OutOfBand,
    /// In-band, with an attachment.
    Attached,
}

#[derive(Debug)]
struct QueuedCommand {
    number: u64,
    lane: Lane,
    command: Box<str>,
    arguments: Option<Box<str>>,
}

impl Commands {
    pub(super) fn new(nonce: u64) -> Self {
        Self {
            nonce,
            next: 0,
            mode: Mode::Negotiating,
            queued: VecDeque::new(),
            queued_out_of_band: VecDeque::new(),
            in_flight: BTreeMap::new(),
            in_band: 0,
            attached: 0,
            transmit: Vec::new(),
            sent_bytes: 0,
            attachment: None,
        }
    }

    /// Sends `qmp_capabilities` before all waiting commands; returns its number.
    pub(super) fn negotiate(&mut self, out_of_band: bool) -> u64 {
        let number = self.next_number();
        let arguments = out_of_band.then(|| Box::from(r#"{"enable": ["oob"]}"#));
        self.send(&QueuedCommand {
            number,
            lane: Lane::InBand,
            command: "qmp_capabilities".into(),
            arguments,
        });
        number
    }

    /// Enters command mode and sends the waiting commands.
    pub(super) fn open(&mut self, out_of_band: bool) {
        self.mode = Mode::Open { out_of_band };
        self.send_queued();
    }

    /// Queues a command; returns its number.
    pub(super) fn queue(&mut self, lane: Lane, command: &str, arguments: Option<&str>) -> u64 {
        let number = self.next_number();
        let (command, arguments) = (command.into(), arguments.map(Box::from));
        let queue = if lane == Lane::OutOfBand { &mut self.queued_out_of_band } else { &mut self.queued };
        queue.push_back(QueuedCommand { number, lane, command, arguments });
        self.send_queued();
        number
    }

    /// Removes the command with the raw `id` of a reply and returns its number; `None` if no command in flight has
    /// that id.
    pub(super) fn complete(&mut self, id: Option<&str>) -> Option<u64> {
        let number = request::number(id?, self.nonce)?;
        let lane = self.in_flight.remove(&number)?;
        self.in_band -= usize::from(lane != Lane::OutOfBand);
        self.attached -= usize::from(lane == Lane::Attached);
        self.send_queued();
        Some(number)
    }

    /// Returns the bytes to send, up to the next command with an attachment.
    pub(super) fn transmit(&self) -> &[u8] {
        let end = match self.attachment {
            Some((_, start)) if start > self.sent_bytes => start,
            _ => self.transmit.len(),
        };
        &self.transmit[self.sent_bytes..end]
    }

    /// Returns the command whose attachment goes with the first byte of [`transmit`](Self::transmit).
    pub(super) fn transmit_attachment(&self) -> Option<u64> {
        self.attachment.filter(|(_, start)| *start == self.sent_bytes).map(|(number, _)| number)
    }

    /// Removes the first `sent_bytes` of [`transmit`](Self::transmit).
    pub(super) fn consume_transmit(&mut self, sent_bytes: usize) {
        self.sent_bytes += sent_bytes.min(self.transmit().len());
        if self.attachment.is_some_and(|(_, start)| start < self.sent_bytes) {
            self.attachment = None;
        }
        if self.sent_bytes == self.transmit.len() {
            self.transmit = Vec::new();
            self.sent_bytes = 0;
        }
    }

    /// Returns the bytes of memory held outside of the value itself, without the texts of waiting commands.
    pub(super) fn held_bytes(&self) -> usize {
        (self.queued.capacity() + self.queued_out_of_band.capacity()) * size_of::<QueuedCommand>()
            + self.in_flight.len() * size_of::<(u64, Lane)>()
            + self.transmit.capacity()
    }

    fn next_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn send_queued(&mut self) {
        while let Some(queued) = self.next_to_send() {
            self.send(&queued);
        }
        for queue in [&mut self.queued, &mut self.queued_out_of_band] {
            if queue.is_empty() {
                *queue = VecDeque::new();
            }
        }
    }

    /// Removes the next command to send: the first, unless an out-of-band one overtakes it.
    fn next_to_send(&mut self) -> Option<QueuedCommand> {
        let Mode::Open { out_of_band } = self.mode else { return None };
        let number = |queue: &VecDeque<QueuedCommand>| queue.front().map_or(u64::MAX, |first| first.number);
        let is_out_of_band = number(&self.queued_out_of_band) < number(&self.queued);
        let first = if is_out_of_band { &mut self.queued_out_of_band } else { &mut self.queued };
        let room = match first.front()?.lane {
            Lane::Attached => self.in_band == 0,
            Lane::OutOfBand if out_of_band => true,
            _ => self.attached == 0 && (!out_of_band || self.in_band < IN_BAND_MAX),
        };
        match room {
            true => first.pop_front(),
            false if out_of_band => self.queued_out_of_band.pop_front(),
            false => None,
        }
    }

    fn send(&mut self, queued: &QueuedCommand) {
        let QueuedCommand { number, lane, ref command, ref arguments } = *queued;
        let out_of_band = lane == Lane::OutOfBand && self.mode == Mode::Open { out_of_band: true };
        if lane == Lane::Attached {
            self.attachment = Some((number, self.transmit.len()));
        }
        request::write(&mut self.transmit, out_of_band, command, arguments.as_deref(), self.nonce, number);
        // An out-of-band command without negotiated out-of-band execution is sent in-band.
        let lane = if lane == Lane::OutOfBand && !out_of_band { Lane::InBand } else { lane };
        self.in_flight.insert(number, lane);
        self.in_band += usize::from(lane != Lane::OutOfBand);
        self.attached += usize::from(lane == Lane::Attached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachment_is_due_at_first_byte_of_its_command() {
        let mut commands = Commands::new(1);
        commands.open(true);
        commands.queue(Lane::OutOfBand, "query-yank", None);
        let getfd = commands.queue(Lane::Attached, "getfd", None);
        commands.queue(Lane::OutOfBand, "query-yank", None);
        let sent = |commands: &Commands| String::from_utf8(commands.transmit().to_vec()).unwrap();

        assert_eq!(commands.transmit_attachment(), None);
        assert_eq!(sent(&commands), "{\"exec-oob\": \"query-yank\", \"id\": \"0000000000000001-0\"}\r\n");
        commands.consume_transmit(3);
        assert_eq!(commands.transmit_attachment(), None);
        commands.consume_transmit(usize::MAX);

        assert_eq!(commands.transmit_attachment(), Some(getfd));
        assert!(sent(&commands).starts_with("{\"execute\": \"getfd\""));
        assert!(sent(&commands).contains("\"exec-oob\""), "the next command may follow in the same write");
        commands.consume_transmit(1);
        assert_eq!(commands.transmit_attachment(), None);
        commands.consume_transmit(usize::MAX);
        assert_eq!((sent(&commands).as_str(), commands.transmit.capacity()), ("", 0));
    }

    #[test]
    fn reply_is_paired_once_and_only_after_sending() {
        let mut commands = Commands::new(1);
        let queued = commands.queue(Lane::InBand, "stop", None);
        let id = format!("\"0000000000000001-{queued}\"");
        assert_eq!(commands.complete(Some(&id)), None, "not sent");
        commands.open(false);
        assert_eq!(commands.complete(None), None, "no id");
        assert_eq!(commands.complete(Some(&id)), Some(queued));
        assert_eq!(commands.complete(Some(&id)), None, "again");
    }
}

//! A publisher, a stream that loses messages, and a receiver: at the end the receiver has each record once and in order.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use qmp_fleet::{
    Confirmation, Link, Publisher, PublisherState, Receiver, ReceiverConfig, ReceiverOutput, StreamMark,
};
use qmp_wire::Offset;

/// Attempts after the last fault; each lets more than an hour pass.
const ROUNDS_MAX: usize = 10;

#[derive(Clone, Debug)]
enum Step {
    /// The host records events, some of which the rule selects.
    Record(Vec<bool>),
    /// The host publishes; each message is lost or stored with the end of the connection, or acknowledged at once or later.
    Publish(Vec<Fate>),
    /// The host starts again with the state that it had saved.
    RestartHost,
    /// The host writes its state.
    SaveHost,
    /// The server loses the last messages of the stream, and other hosts publish so many.
    Truncate(usize, usize),
    /// The stream is deleted and made again.
    Recreate,
    /// The fleet hub reads so many messages.
    Read(usize),
    /// The fleet hub starts again; messages that waited are gone.
    RestartReceiver,
    /// The fleet hub confirms, and the host reads it or not.
    Confirm(bool),
    /// Time passes, in seconds.
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Stored,
    Acknowledged,
    Late,
}

struct World {
    now: Instant,
    /// The selected records of the journal.
    journal: Vec<u64>,
    head: u64,
    publisher: Publisher,
    /// The position of the rule.
    position: u64,
    saved: (u64, PublisherState),
    /// Acknowledgements that the server has sent and the host has not read: offsets and sequence numbers.
    late: Vec<(u64, u64)>,
    /// The server was restarted since the host looked at the stream.
    is_unchecked: bool,
    created: u32,
    /// `None`: the message of another host.
    stream: Vec<Option<Link>>,
    receiver: Receiver<u64>,
    /// The number of messages of the stream that the fleet hub has read, and which stream.
    read: usize,
    read_created: u32,
    committed: Vec<u64>,
    asked: bool,
    confirmation: Option<Confirmation>,
}

impl World {
    fn new() -> Self {
        let state = PublisherState::default();
        Self {
            now: Instant::now(),
            journal: Vec::new(),
            head: 0,
            publisher: Publisher::new("j", 8, state.clone()),
            position: 0,
            saved: (0, state),
            late: Vec::new(),
            is_unchecked: true,
            created: 0,
            stream: Vec::new(),
            receiver: Self::receiver(),
            read: 0,
            read_created: 0,
            committed: Vec::new(),
            asked: false,
            confirmation: None,
        }
    }

    fn receiver() -> Receiver<u64> {
        // Nothing is given up; a small bound of memory.
        let lost_after = Duration::from_secs(1_000_000_000);
        Receiver::new(ReceiverConfig { waiting_max_bytes: 5, lost_after, ask_every: Duration::from_secs(30) })
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Record(selected) => self.record(&selected),
            Step::Publish(fates) => self.publish(&fates),
            Step::RestartHost => {
                self.position = self.saved.0;
                self.publisher = Publisher::new("j", 8, self.saved.1.clone());
                self.late.clear();
                self.is_unchecked = true;
            }
            Step::SaveHost => self.saved = (self.position, self.publisher.state().clone()),
            Step::Truncate(lost, others) => {
                self.stream.truncate(self.stream.len().saturating_sub(lost));
                self.stream.extend((0..others).map(|_| None));
                self.is_unchecked = true;
            }
            Step::Recreate => {
                self.stream.clear();
                self.created += 1;
                self.is_unchecked = true;
            }
            Step::Read(count) => self.read(count),
            Step::RestartReceiver => {
                self.receiver = Self::receiver();
                self.receiver.resume("j", Offset(self.last()));
            }
            Step::Confirm(is_seen) => self.confirm(is_seen),
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.publisher.handle_timeout(self.now);
                self.receiver.handle_timeout(self.now);
                self.take_output();
            }
        }
    }

    fn last(&self) -> u64 {
        self.committed.last().copied().unwrap_or(0)
    }

    fn record(&mut self, selected: &[bool]) {
        for is_selected in selected {
            self.head += 1;
            if *is_selected {
                self.journal.push(self.head);
            }
        }
    }

    /// One delivery of the rule, as the driver does it.
    fn publish(&mut self, fates: &[Fate]) {
        if self.is_unchecked {
            self.is_unchecked = false;
            self.end_connection();
            let last = self.stream.len() as u64;
            self.publisher.observe_stream(StreamMark {
                created: self.created.to_string().into(),
                first: 1,
                last,
            });
            if let Some(confirmation) = &self.confirmation {
                self.publisher.confirm(confirmation, self.now);
            }
        }
        let offsets: Vec<u64> =
            self.journal.iter().copied().filter(|offset| *offset > self.position).collect();
        let all: Vec<Offset> = offsets.iter().copied().map(Offset).collect();
        let in_flight = if all.is_empty() { 0 } else { self.publisher.begin(&all) };
        if self.go_back() {
            return;
        }
        let (mut acknowledgements, mut is_lost) = (std::mem::take(&mut self.late), false);
        for (offset, fate) in offsets[in_flight..].iter().zip(fates) {
            if !self.publisher.has_room() {
                break;
            }
            let link = self.publisher.publish(Offset(*offset));
            if !matches!(fate, Fate::Lost) {
                self.stream.push(Some(link));
            }
            let acknowledgement = (*offset, self.stream.len() as u64);
            match fate {
                Fate::Acknowledged => acknowledgements.push(acknowledgement),
                Fate::Late => self.late.push(acknowledgement),
                Fate::Lost | Fate::Stored => is_lost = true,
            }
        }
        for (offset, sequence) in acknowledgements {
            self.publisher.acknowledge(Offset(offset), sequence, self.now);
        }
        if is_lost {
            self.end_connection();
        }
        self.position = self.position.max(self.publisher.state().published);
        self.go_back();
    }

    /// The connection is lost, with the messages in flight and their acknowledgements.
    fn end_connection(&mut self) {
        self.publisher.abandon();
        self.late.clear();
    }

    fn go_back(&mut self) -> bool {
        let repeat = self.publisher.poll_repeat();
        if let Some((Offset(after), _)) = repeat {
            self.position = after;
        }
        repeat.is_some()
    }

    fn read(&mut self, count: usize) {
        if self.read > self.stream.len() || self.read_created != self.created {
            (self.read, self.read_created) = (0, self.created);
        }
        for _ in 0..count {
            let Some(message) = self.stream.get(self.read) else { break };
            self.read += 1;
            if let Some(link) = *message {
                self.receiver.receive("j", link, 1, link.offset.0, self.now);
            }
        }
        self.take_output();
    }

    fn take_output(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Message(offset) => self.committed.push(offset),
                ReceiverOutput::Hole(_) => {}
                ReceiverOutput::Ask { .. } => self.asked = true,
                ReceiverOutput::Lost(hole) => panic!("{hole:?}"),
            }
        }
    }

    fn confirm(&mut self, is_seen: bool) {
        let again = std::mem::take(&mut self.asked);
        if self.committed.is_empty() && !again {
            return;
        }
        let confirmation = Confirmation { journal: "j".into(), offset: Offset(self.last()), again };
        if is_seen {
            self.publisher.confirm(&confirmation, self.now);
        }
        self.confirmation = Some(confirmation);
    }

    /// Publishes all, without a fault.
    fn publish_all(&mut self) {
        loop {
            self.publish(&[Fate::Acknowledged; 8]);
            let last = self.journal.last().copied().unwrap_or(0);
            if self.position >= last && self.publisher.repeat_cause().is_none() {
                return;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.committed == self.journal
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Lost),
        1 => Just(Fate::Stored),
        6 => Just(Fate::Acknowledged),
        4 => Just(Fate::Late),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any::<bool>(), 1..6).prop_map(Step::Record),
        6 => prop::collection::vec(fate(), 1..10).prop_map(Step::Publish),
        1 => Just(Step::RestartHost),
        2 => Just(Step::SaveHost),
        1 => (1..12_usize, 0..8_usize).prop_map(|(lost, others)| Step::Truncate(lost, others)),
        1 => Just(Step::Recreate),
        5 => (1..10_usize).prop_map(Step::Read),
        1 => Just(Step::RestartReceiver),
        3 => any::<bool>().prop_map(Step::Confirm),
        2 => (1..100_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// After any loss of messages, acknowledgements and confirmations, and any restart, the fleet hub has in the end
    /// committed exactly the selected records, each once and in order, a few records after the last fault.
    #[test]
    fn fleet_hub_has_each_record_once_and_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            let committed = &world.committed;
            prop_assert!(committed.iter().zip(&world.journal).all(|(found, wanted)| found == wanted), "{:?}", committed);
        }
        for _ in 0..ROUNDS_MAX {
            // A further record shows the hole before it.
            world.step(Step::Record(vec![true]));
            world.publish_all();
            world.step(Step::Read(usize::MAX));
            world.step(Step::Confirm(true));
            world.step(Step::Wait(4_000));
            if world.is_whole() {
                break;
            }
        }
        prop_assert!(world.is_whole(), "{:?} instead of {:?}", world.committed, world.journal);
    }
}

//! The records of an epoch in the journal, with and without room.

use proptest::prelude::*;

use super::*;

/// A journal that has room or not, and what it took.
#[derive(Debug, Default)]
struct Records {
    has_no_room: bool,
    accepted: Vec<String>,
}

impl Records {
    fn append(&mut self, text: String) -> bool {
        if !self.has_no_room {
            self.accepted.push(text);
        }
        !self.has_no_room
    }
}

#[test]
fn records_follow_from_what_happens_and_from_room() {
    //  name, steps, what the journal has
    let cases = [
        ("quiet", "1 attached|9 left", "attached|hub stopped until 9"),
        (
            "events",
            "1 attached|2 events 2|3 events 1|9 left",
            "attached|2 events|1 events|hub stopped until 9",
        ),
        (
            "peer closes",
            "1 attached|5 detached|6 attached|9 left",
            "attached|peer closed until 5|attached|hub stopped until 9",
        ),
        ("never attached", "1 detached|9 left", ""),
        ("events outside an epoch", "1 events 2|2 attached|9 left", "attached|hub stopped until 9"),
        (
            "overrun ends at the first event that is lost",
            "1 attached|2 events 1|3 full|4 events 2|5 events 1|6 room|7 attached|9 left",
            "attached|1 events|overrun, 3 lost, until 4|attached|hub stopped until 9",
        ),
        (
            "peer closes in an overrun",
            "1 attached|3 full|4 events 2|5 detached|6 room|7 attached|9 left",
            "attached|overrun, 2 lost, until 4|attached|hub stopped until 9",
        ),
        (
            "another peer attaches before there is room",
            "1 attached|3 full|4 events 2|5 detached|6 attached|7 room|8 attached|9 left",
            "attached|overrun, 2 lost, until 4|attached|hub stopped until 9",
        ),
        (
            "no room for the end of the connection",
            "1 attached|3 full|5 detached|6 room|7 attached|9 left",
            "attached|overrun, 0 lost, until 5|attached|hub stopped until 9",
        ),
        (
            "no room to open",
            "1 full|2 attached|3 events 2|4 room|5 attached|9 left",
            "attached|hub stopped until 9",
        ),
        ("no room to open, and the peer closes", "1 full|2 attached|3 detached|4 room|9 left", ""),
        (
            "left in an overrun",
            "1 attached|3 full|4 events 2|5 left|6 room|7 left",
            "attached|overrun, 2 lost, until 4",
        ),
        ("no room when it is left", "1 attached|3 full|4 left|5 room|6 left", "attached|hub stopped until 6"),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(recorded(steps), expected, "{name}");
    }
}

#[test]
fn overrun_keeps_the_certain_time_when_an_event_was_sent_late() {
    //  sent at (s)   received at (µs)   certain until (µs)
    let cases = [
        (None, 9_000_000, 9_000_000),
        (Some(8), 9_000_000, 8_000_000),
        // A recorded event was received after this one was sent.
        (Some(3), 9_000_000, 5_000_000),
        // A clock of the VM's host that is ahead.
        (Some(20), 9_000_000, 9_000_000),
    ];
    for (sent_at_s, received, expected) in cases {
        let mut epoch = EpochMachine::new();
        epoch.open("{}", UnixMicros(5_000_000), |_| true).expect("there is room");
        let mut times = EventTimes::after(epoch.newest_record());
        let sent = sent_at_s.and_then(|seconds| Timestamp::from_wire(seconds, 0).expect("in range"));
        times.add(sent, UnixMicros(received));
        assert_eq!(epoch.record_events(times, || false), EventsOutcome::OverrunBegan);
        let mut until = None;
        let append = |body: Body<'_>| {
            if let Body::Detached { certain_until, .. } = body {
                until = certain_until;
            }
            true
        };
        assert_eq!(epoch.record_overrun(append), Ok(Some(1)));
        assert_eq!(until, Some(UnixMicros(expected)), "sent at {sent_at_s:?} s");
    }
}

proptest! {
    /// Inside an epoch nothing is missing: each event between the record that opens it and the moment up to which it is
    /// certain is recorded, and the epoch is closed before another one opens.
    #[test]
    fn epoch_lacks_no_event(steps in prop::collection::vec(0..6_u8, 1..80)) {
        let (mut epoch, mut has_room) = (EpochMachine::new(), true);
        let mut accepted: Vec<AcceptedRecord> = Vec::new();
        let mut sent: Vec<i64> = Vec::new();
        let mut is_connected = false;
        for (now, step) in (1..).zip(steps) {
            let at = UnixMicros(now);
            match step {
                0 => has_room = !has_room,
                1 if is_connected => {
                    is_connected = false;
                    epoch.detach(&DetachReason::PeerClosed, "", at, |body| push(&mut accepted, has_room, AcceptedRecord::of(&body, now)));
                }
                2 if !is_connected => {
                    is_connected = true;
                    attach(&mut epoch, &mut accepted, has_room, now);
                }
                3 if has_room && epoch.waits_for_room() => {
                    let append = |body: Body<'_>| push(&mut accepted, true, AcceptedRecord::of(&body, now));
                    epoch.record_overrun(append).expect("there is room");
                    if is_connected {
                        attach(&mut epoch, &mut accepted, has_room, now);
                    }
                }
                _ if is_connected => {
                    sent.push(now);
                    let mut times = EventTimes::after(epoch.newest_record());
                    times.add(None, at);
                    epoch.record_events(times, || push(&mut accepted, has_room, AcceptedRecord::Event(now)));
                }
                _ => {}
            }
        }
        let mut opened = None;
        for (place, record) in accepted.iter().enumerate() {
            match *record {
                AcceptedRecord::Opened(at) => prop_assert_eq!(opened.replace((place, at)), None, "one epoch at a time"),
                AcceptedRecord::Event(_) => prop_assert!(opened.is_some(), "events are in an epoch"),
                AcceptedRecord::Closed(until) => {
                    let (begins, at) = opened.take().expect("an epoch is open");
                    let recorded: Vec<i64> = accepted[begins..place]
                        .iter()
                        .filter_map(|record| if let AcceptedRecord::Event(at) = record { Some(*at) } else { None })
                        .collect();
                    let certain: Vec<i64> = sent.iter().copied().filter(|sent| (at..until).contains(sent)).collect();
                    prop_assert_eq!(recorded, certain);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptedRecord {
    Opened(i64),
    Event(i64),
    /// Certain until then.
    Closed(i64),
}

impl AcceptedRecord {
    fn of(body: &Body<'_>, now: i64) -> Self {
        match body {
            Body::Detached { certain_until: Some(until), .. } => Self::Closed(until.0),
            _ => Self::Opened(now),
        }
    }
}

fn push(accepted: &mut Vec<AcceptedRecord>, has_room: bool, record: AcceptedRecord) -> bool {
    if has_room {
        accepted.push(record);
    }
    has_room
}

/// Opens an epoch as the driver does: after the record of an overrun.
fn attach(epoch: &mut EpochMachine, accepted: &mut Vec<AcceptedRecord>, has_room: bool, now: i64) {
    let mut append = |body: Body<'_>| push(accepted, has_room, AcceptedRecord::of(&body, now));
    if !epoch.is_overrun() || epoch.record_overrun(&mut append).is_ok() {
        // Without room the machine waits for it.
        let _ = epoch.open("{}", UnixMicros(now), append);
    }
}

/// Plays steps (`SECONDS WHAT`), as the driver does, and returns what the journal took.
fn recorded(steps: &str) -> String {
    let (mut epoch, mut records) = (EpochMachine::new(), Records::default());
    for step in steps.split('|') {
        let (now, what) = step.split_once(' ').expect("SECONDS WHAT");
        let now = UnixMicros(now.parse().expect("a number"));
        let mut append = |body: Body<'_>| records.append(shown(&body));
        match what.split_once(' ').unwrap_or((what, "1")) {
            ("attached", _) => {
                if !epoch.is_overrun() || epoch.record_overrun(&mut append).is_ok() {
                    let _ = epoch.open("{}", now, append);
                }
            }
            ("events", count) => {
                let mut times = EventTimes::after(epoch.newest_record());
                (0..count.parse().expect("a number")).for_each(|_| times.add(None, now));
                epoch.record_events(times, || records.append(format!("{} events", times.count())));
            }
            ("detached", _) => _ = epoch.detach(&DetachReason::PeerClosed, "", now, append),
            ("left", _) => {
                let _ = if epoch.is_overrun() {
                    epoch.record_overrun(append).map(drop)
                } else {
                    epoch.leave(&DetachReason::HubStopped, "", now, append)
                };
            }
            ("full", _) => records.has_no_room = true,
            ("room", _) => {
                records.has_no_room = false;
                let append = |body: Body<'_>| records.append(shown(&body));
                epoch.record_overrun(append).expect("there is room");
            }
            _ => panic!("no step {what}"),
        }
    }
    records.accepted.join("|")
}

fn shown(body: &Body<'_>) -> String {
    match body {
        Body::Detached { reason, detail, certain_until: Some(until) } => {
            let lost: String =
                detail.iter().flat_map(|detail| detail.chars()).filter(char::is_ascii_digit).collect();
            let lost = if lost.is_empty() { lost } else { format!(", {lost} lost,") };
            format!("{}{lost} until {}", reason.as_str(), until.0)
        }
        Body::Attached { .. } => "attached".to_owned(),
        other => panic!("{other:?}"),
    }
}

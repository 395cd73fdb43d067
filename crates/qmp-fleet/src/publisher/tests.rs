//! Tests of the publishing side.

use proptest::prelude::*;

use super::*;

fn mark(created: &str, first: u64, last: u64) -> StreamMark {
    StreamMark { created: created.into(), first, last }
}

/// A publisher of the journal `j` that has published the offsets, all acknowledged by the stream `a`.
fn published(offsets: &[u64], now: Instant) -> Publisher {
    let mut publisher = Publisher::new("j", 4, PublisherState::default());
    publisher.observe_stream(mark("a", 1, 0));
    for (index, offset) in offsets.iter().enumerate() {
        publisher.publish(Offset(*offset));
        publisher.acknowledge(Offset(*offset), index as u64 + 1, now);
    }
    publisher
}

fn confirmation(offset: u64, again: bool) -> Confirmation {
    Confirmation { journal: "j".into(), offset: Offset(offset), again }
}

#[test]
fn published_cursor_waits_for_the_oldest_acknowledgement() {
    let now = Instant::now();
    let mut publisher = published(&[], now);
    let links: Vec<_> = [3, 5, 9].map(|offset| publisher.publish(Offset(offset)).previous.0).to_vec();
    assert_eq!(links, [0, 3, 5]);
    for (acknowledged, expected) in [(5, 0), (5, 0), (7, 0), (3, 5), (9, 9)] {
        publisher.acknowledge(Offset(acknowledged), 1, now);
        assert_eq!(publisher.state().published, expected, "after {acknowledged}");
    }
    assert!(!publisher.is_waiting());
}

#[test]
fn window_bounds_the_messages_without_acknowledgement() {
    let mut publisher = published(&[], Instant::now());
    for offset in 1..=4 {
        assert!(publisher.has_room());
        publisher.publish(Offset(offset));
    }
    assert!(!publisher.has_room());
    publisher.acknowledge(Offset(1), 1, Instant::now());
    assert!(publisher.has_room());
}

#[test]
fn abandoned_messages_have_the_same_link_again() {
    let mut publisher = published(&[2], Instant::now());
    let first = publisher.publish(Offset(5));
    publisher.abandon();
    assert_eq!(publisher.publish(Offset(5)), first);
    let restored = Publisher::new("j", 4, publisher.state().clone()).publish(Offset(5));
    assert_eq!(restored, first, "after a restart, too");
}

#[test]
fn confirmation_of_what_was_not_published_is_not_taken() {
    let now = Instant::now();
    let mut publisher = published(&[1, 2, 3], now);
    for again in [false, true] {
        publisher.confirm(&confirmation(9, again), now);
        assert_eq!((publisher.ahead(), publisher.state().confirmed), (Some(Offset(9)), None));
        assert_eq!(publisher.repeat_cause(), None);
    }
    publisher.confirm(&confirmation(2, true), now);
    assert_eq!(publisher.poll_repeat(), Some((Offset(2), RepeatCause::Requested)));
    publisher.confirm(&confirmation(3, false), now);
    assert_eq!(publisher.state().confirmed, Some(3), "it was published before the publisher went back");
    publisher.publish(Offset(9));
    assert_eq!((publisher.ahead(), publisher.state().confirmed), (None, Some(9)), "it is published now");
}

#[test]
fn messages_in_flight_are_not_published_again() {
    let now = Instant::now();
    let offsets = |offsets: &[u64]| offsets.iter().copied().map(Offset).collect::<Vec<_>>();
    let cases: [(&str, &[u64], usize, u64); 5] = [
        // name, the records to publish, how many are in flight, the offset before the next one
        ("the same", &[3, 5], 2, 5),
        ("and more", &[3, 5, 8, 9], 2, 5),
        ("fewer", &[3], 0, 1),
        ("others", &[3, 4, 5], 0, 1),
        ("later ones", &[5, 8], 0, 1),
    ];
    for (name, records, in_flight, previous) in cases {
        let mut publisher = published(&[1], now);
        for offset in [3, 5] {
            publisher.publish(Offset(offset));
        }
        assert_eq!(publisher.begin(&offsets(records)), in_flight, "{name}");
        assert_eq!(publisher.repeat_cause(), None, "{name}");
        assert_eq!(publisher.link(Offset(10)).previous, Offset(previous), "{name}");
    }
    let mut publisher = published(&[1, 2], now);
    publisher.begin(&offsets(&[2, 3]));
    assert_eq!(publisher.repeat_cause(), Some(RepeatCause::Requested), "the offset before it is unknown");
}

#[test]
fn lost_messages_are_published_again_from_the_confirmed_cursor() {
    let now = Instant::now();
    let cases = [
        ("the same", mark("a", 1, 3), None),
        ("messages of others", mark("a", 1, 9), None),
        ("old ones removed", mark("a", 3, 3), None),
        ("created again", mark("b", 1, 9), Some(RepeatCause::StreamYounger)),
        ("shorter", mark("a", 1, 2), Some(RepeatCause::StreamShorter)),
    ];
    for (case, seen, expected) in cases {
        for (confirmed, after, previous) in [(None, 3, 0), (Some(6), 6, 6)] {
            let mut publisher = published(&[4, 6, 8], now);
            if let Some(offset) = confirmed {
                publisher.confirm(&confirmation(offset, false), now);
            }
            publisher.observe_stream(seen.clone());
            assert_eq!(publisher.repeat_cause(), expected, "{case}");
            let expected = expected.map(|cause| (Offset(after), cause));
            assert_eq!(publisher.poll_repeat(), expected, "{case}, {confirmed:?}");
            assert_eq!(publisher.poll_repeat(), None, "{case}");
            if expected.is_some() {
                assert_eq!(publisher.publish(Offset(8)).previous, Offset(previous), "{case}");
            }
        }
    }
}

#[test]
fn older_copy_with_messages_of_others_is_recognized_by_its_first() {
    let mut publisher = published(&[1, 2], Instant::now());
    publisher.observe_stream(mark("a", 5, 9));
    publisher.observe_stream(mark("a", 4, 12));
    assert_eq!(publisher.repeat_cause(), Some(RepeatCause::StreamShorter));
}

#[test]
fn confirmation_that_does_not_advance_repeats_ever_less_often() {
    let start = Instant::now();
    let seconds = Duration::from_secs;
    let mut publisher = published(&[1, 2, 3], start);
    assert_eq!(publisher.next_timeout(), None, "no fleet hub has confirmed anything");
    publisher.confirm(&confirmation(1, false), start);
    let mut now = start;
    for wait in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        assert_eq!(publisher.next_timeout(), Some(now + seconds(wait)));
        publisher.handle_timeout(now + seconds(wait - 1));
        assert_eq!(publisher.poll_repeat(), None);
        now += seconds(wait);
        publisher.handle_timeout(now);
        assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Unconfirmed)));
        publisher.publish(Offset(2));
        publisher.acknowledge(Offset(2), 4, now);
    }
    publisher.confirm(&confirmation(2, false), now);
    assert_eq!(publisher.next_timeout(), None, "all is confirmed");
    publisher.publish(Offset(3));
    publisher.acknowledge(Offset(3), 5, now);
    assert_eq!(publisher.next_timeout(), Some(now + seconds(60)), "an advance restores the first time");
}

#[test]
fn request_repeats_at_once_and_not_too_often() {
    let now = Instant::now();
    let mut publisher = published(&[1, 2, 3], now);
    publisher.confirm(&Confirmation { journal: "other".into(), ..confirmation(1, true) }, now);
    assert_eq!(publisher.poll_repeat(), None, "another journal");
    publisher.confirm(&confirmation(3, true), now);
    assert_eq!(publisher.poll_repeat(), None, "nothing is missing");
    publisher.confirm(&confirmation(1, true), now);
    assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Requested)));
    publisher.publish(Offset(2));
    publisher.acknowledge(Offset(2), 4, now);
    publisher.confirm(&confirmation(1, true), now + Duration::from_secs(9));
    assert_eq!(publisher.poll_repeat(), None, "the repetition is under way");
    publisher.confirm(&confirmation(1, true), now + Duration::from_secs(10));
    assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Requested)));
}

proptest! {
    /// Whatever the order of acknowledgements, the published cursor is the highest offset up to which all are acknowledged.
    #[test]
    fn published_cursor_is_the_highest_with_all_acknowledged(order in Just((1..=20_u64).collect::<Vec<_>>()).prop_shuffle(), count in 0..20_usize) {
        let now = Instant::now();
        let mut publisher = Publisher::new("j", 20, PublisherState::default());
        for offset in 1..=20 {
            publisher.publish(Offset(offset));
        }
        let acknowledged = &order[..count];
        for offset in acknowledged {
            publisher.acknowledge(Offset(*offset), *offset, now);
        }
        let expected = (1..=20).take_while(|offset| acknowledged.contains(offset)).last().unwrap_or(0);
        prop_assert_eq!(publisher.state().published, expected);
    }
}

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn port(limiter: &mut Limiter<u64>, key: &str, event: u64, now: Instant) -> Option<u64> {
    limiter.offer(EventKind::VserportChange, key, SECOND, event, now)
}

/// Returns the passed events, as (time, key and time of the event), when events are offered at the given times and
/// the timer runs exactly when it is due; times in milliseconds.
fn passed<'a>(offered: &[(u64, &'a str)]) -> Vec<(u64, (&'a str, u64))> {
    let start = Instant::now();
    let at = |time_ms: u64| start + Duration::from_millis(time_ms);
    let since = |time: Instant| u64::try_from((time - start).as_millis()).unwrap();
    let mut limiter = Limiter::default();
    let mut passed = Vec::new();
    let mut offers = offered.iter().peekable();
    loop {
        let deadline = limiter.next_deadline().map(since);
        match (offers.peek(), deadline) {
            (Some((time, key)), deadline) if deadline.is_none_or(|deadline| *time < deadline) => {
                let event = (*key, *time);
                let passes = limiter.offer(EventKind::VserportChange, key, SECOND, event, at(*time));
                passed.extend(passes.map(|event| (*time, event)));
                offers.next();
            }
            (_, Some(deadline)) => limiter.expire(at(deadline), |event| passed.push((deadline, event))),
            (_, None) => return passed,
        }
    }
}

/// A name, the times of offers, and the passed events with their times, in milliseconds.
type Case<'a> = (&'a str, &'a [u64], &'a [(u64, u64)]);

#[test]
fn first_and_last_event_of_a_burst_pass() {
    let cases: [Case<'_>; 5] = [
        // name                 offered at     passed at, raised at (ms)
        ("one", &[0], &[(0, 0)]),
        ("pair", &[0, 10], &[(0, 0), (1000, 10)]),
        ("burst keeps last", &[0, 10, 20, 30], &[(0, 0), (1000, 30)]),
        ("window reopens", &[0, 10, 1500], &[(0, 0), (1000, 10), (2000, 1500)]),
        ("empty window closes", &[0, 1000, 2500], &[(0, 0), (1000, 1000), (2500, 2500)]),
    ];
    for (name, offered, expected) in cases {
        let offered: Vec<_> = offered.iter().map(|time| (*time, "")).collect();
        let passed: Vec<_> = passed(&offered).into_iter().map(|(time, (_, raised))| (time, raised)).collect();
        assert_eq!(passed, expected, "{name}");
    }
}

/// Milliseconds, raised event, sent events, and closing time of the window.
type Row<'a> = (u64, Option<&'a str>, &'a [&'a str], Option<u64>);

/// Measured on QEMU 11.1.3 with a stepped clock, `RTC_CHANGE`.
#[test]
fn timeline_equals_that_of_a_real_qemu() {
    let start = Instant::now();
    let at = |time_ms: u64| start + Duration::from_millis(time_ms);
    let mut limiter = Limiter::default();
    let rows: [Row<'_>; 12] = [
        // t ms   raised      sent        window closes
        (0, Some("A"), &["A"], Some(1000)),
        (100, Some("B"), &[], Some(1000)),
        (500, Some("C"), &[], Some(1000)),
        (999, None, &[], Some(1000)),
        (1000, None, &["C"], Some(2000)),
        (1500, Some("D"), &[], Some(2000)),
        (1999, None, &[], Some(2000)),
        (2000, None, &["D"], Some(3000)),
        (2999, None, &[], Some(3000)),
        (3000, None, &[], None),
        (3000, Some("E"), &["E"], Some(4000)),
        (3100, Some("F"), &[], Some(4000)),
    ];
    for (time, raised, expected, closes_at) in rows {
        let mut sent = Vec::new();
        limiter.expire(at(time), |event| sent.push(event));
        let passes =
            raised.and_then(|event| limiter.offer(EventKind::RtcChange, "", SECOND, event, at(time)));
        sent.extend(passes);
        assert_eq!(sent, expected, "at {time}");
        assert_eq!(limiter.next_deadline(), closes_at.map(at), "at {time}");
    }
    assert_eq!(limiter.merged(), 1, "B");
    let mut flushed = Vec::new();
    limiter.flush(|event| flushed.push(event));
    assert_eq!(flushed, ["F"]);
    assert!(limiter.is_empty());
}

#[test]
fn keys_are_limited_separately() {
    let sent = passed(&[(0, "a"), (10, "b"), (20, "a")]);
    assert_eq!(sent, [(0, ("a", 0)), (10, ("b", 10)), (1000, ("a", 20))]);
}

#[test]
fn events_are_limited_separately() {
    let now = Instant::now();
    let mut limiter = Limiter::default();
    assert_eq!(limiter.offer(EventKind::RtcChange, "", SECOND, 1, now), Some(1));
    assert_eq!(limiter.offer(EventKind::Watchdog, "", SECOND, 2, now), Some(2));
    assert_eq!(limiter.offer(EventKind::Watchdog, "", SECOND, 3, now), None);
}

#[test]
fn late_timer_shifts_the_next_window() {
    let start = Instant::now();
    let at = |time_ms: u64| start + Duration::from_millis(time_ms);
    let mut limiter = Limiter::default();
    port(&mut limiter, "a", 0, at(0));
    port(&mut limiter, "a", 1, at(1));
    let mut sent = Vec::new();
    limiter.expire(at(1700), |event| sent.push(event));
    assert_eq!(sent, [1]);
    assert_eq!(limiter.next_deadline(), Some(at(2700)));
}

#[test]
fn reopened_windows_continue() {
    let start = Instant::now();
    let at = |time_ms: u64| start + Duration::from_millis(time_ms);
    let mut before = Limiter::default();
    for (key, event, time_ms) in [("a", 0, 0), ("b", 1, 100), ("a", 2, 200)] {
        port(&mut before, key, event, at(time_ms));
    }
    let mut after = Limiter::default();
    for window in before.take_windows() {
        after.reopen(window);
    }
    assert!(before.is_empty() && after.len() == 2);
    assert_eq!(port(&mut after, "b", 3, at(300)), None);
    let mut sent = Vec::new();
    after.expire(at(1000), |event| sent.push(event));
    assert_eq!((sent.as_slice(), after.next_deadline()), (&[2][..], Some(at(1100))));
    after.expire(at(1100), |event| sent.push(event));
    assert_eq!(sent, [2, 3]);
}

#[test]
fn keys_beyond_the_limit_share_one_window() {
    let now = Instant::now();
    let mut limiter = Limiter::with_keys_max(2);
    for (key, passes) in [("a", true), ("b", true), ("c", true), ("d", false), ("e", false), ("a", false)] {
        assert_eq!(port(&mut limiter, key, 0, now).is_some(), passes, "{key}");
    }
    assert_eq!(limiter.len(), 3, "two keys, and one window for all others");
    assert_eq!(limiter.merged(), 1, "d, by e");
    limiter.expire(now + SECOND, |_| {});
    limiter.expire(now + 2 * SECOND, |_| {});
    assert!(limiter.is_empty());
}

proptest! {
    /// Two events of one key never pass less than one interval apart.
    #[test]
    fn events_of_a_key_never_exceed_the_rate(offered in offers()) {
        for key in KEYS {
            let times: Vec<_> =
                passed(&offered).into_iter().filter(|(_, event)| event.0 == key).map(|(time, _)| time).collect();
            prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{times:?}");
        }
    }

    /// The last event of each key passes unchanged, at most one interval after it was raised.
    #[test]
    fn last_event_of_a_key_passes(offered in offers()) {
        let sent = passed(&offered);
        for key in KEYS {
            let raised = offered.iter().rev().find(|(_, other)| *other == key);
            let last = sent.iter().rev().find(|(_, event)| event.0 == key);
            prop_assert_eq!(raised.map(|(time, _)| *time), last.map(|(_, event)| event.1));
            prop_assert!(last.is_none_or(|(time, event)| time - event.1 <= 1000));
        }
    }

    /// Every event passes, is merged or is held.
    #[test]
    fn every_event_is_counted(offered in offers(), timer_ms in 1_u64..3000) {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let mut seen = 0;
        let mut timer = 0;
        for (time, key) in &offered {
            while timer < *time {
                timer += timer_ms;
                limiter.expire(start + Duration::from_millis(timer), |_| seen += 1);
            }
            let now = start + Duration::from_millis(*time);
            seen += u64::from(port(&mut limiter, key, *time, now).is_some());
        }
        limiter.flush(|_| seen += 1);
        prop_assert_eq!(seen + limiter.merged(), offered.len() as u64);
    }

    /// The limiter equals the algorithm written for one key and a timer that is checked every millisecond.
    #[test]
    fn limiter_agrees_with_the_algorithm(offered in offers()) {
        let mut expected = Vec::new();
        let mut entries: BTreeMap<&str, (u64, Option<u64>)> = BTreeMap::new();
        for now in 0..=offered.last().map_or(0, |last| last.0) + 2000 {
            entries.retain(|key, (timer, stored)| {
                if *timer != now {
                    return true;
                }
                *timer = now + 1000;
                stored.take().is_some_and(|raised| {
                    expected.push((now, (*key, raised)));
                    true
                })
            });
            for (_, key) in offered.iter().filter(|(time, _)| *time == now) {
                match entries.get_mut(key) {
                    Some((_, stored)) => *stored = Some(now),
                    None => {
                        expected.push((now, (*key, now)));
                        entries.insert(key, (now + 1000, None));
                    }
                }
            }
        }
        let mut sent = passed(&offered);
        // Timers of one millisecond run in the order in which they were set, which the oracle does not keep.
        sent.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(sent, expected);
    }
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn offers() -> impl Strategy<Value = Vec<(u64, &'static str)>> {
    prop::collection::vec((0_u64..10_000, prop::sample::select(&KEYS)), 1..100).prop_map(|mut offers| {
        offers.sort_unstable();
        offers
    })
}

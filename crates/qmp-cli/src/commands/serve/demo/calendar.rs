//! The time of a history: its begin and end, its days, and the outages of the hub.

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The hub of the history stops so long before the running hub attaches.
const RESTART: i64 = 20 * SECOND;

/// Times at which the hub did not watch: an upgrade, and a longer maintenance of the host. Days before the last midnight, time of
/// day, length.
const OUTAGES: [(i64, i64, i64); 2] = [(2, 2 * HOUR + 7 * MINUTE, 6 * MINUTE), (4, 5 * HOUR, 41 * MINUTE)];

/// The time of a history, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    pub(super) since: i64,
    pub(super) until: i64,
}

impl Calendar {
    pub(super) const fn new(since: i64, now: i64) -> Self {
        Self { since, until: now - RESTART }
    }

    /// The days, the last first: their midnights, and how many days before the last they are.
    pub(super) fn days(self) -> impl Iterator<Item = (i64, i64)> {
        let last = self.until.div_euclid(DAY) * DAY;
        let days = (last - self.since).div_euclid(DAY) + 2;
        (0..days).map(move |ago| (ago, last - ago * DAY))
    }

    /// The times at which the hub did not watch.
    pub(super) fn outages(self) -> impl Iterator<Item = (i64, i64)> {
        let of_day = |(ago, midnight): (i64, i64)| {
            let outage = OUTAGES.into_iter().find(|(day, ..)| *day == ago % 7);
            outage.map(|(_, at, length)| (midnight + at, midnight + at + length))
        };
        self.days()
            .filter_map(of_day)
            .filter(move |(from, to)| *from > self.since + HOUR && *to < self.until - HOUR)
    }
}

//! The output of this project's limiter for the causes that a guest gave QEMU, compared with QEMU's events.

use std::time::{Duration, Instant};

use qmp_events::EventKind;
use qmp_events::limiter::Limiter;
use qmp_real_qemu::MonitorLine;

/// How long a window is.
const INTERVAL: Duration = Duration::from_secs(1);

/// How much sooner than predicted a line may be read: the first one of a window may have been read late.
const SOONER: Duration = Duration::from_millis(200);

/// How much later. A machine under load is slow, and a late timer moves the windows after it.
const LATER: Duration = Duration::from_secs(5);

/// Causes that are only a few milliseconds apart.
pub(crate) fn at_once<T: Clone>(causes: &[T]) -> Vec<(Duration, T)> {
    (1..).map(Duration::from_millis).zip(causes.iter().cloned()).collect()
}

/// Which causes pass, and when, counted from the same moment as those of the causes.
pub(crate) fn keyed<T: Clone>(
    event: &str,
    causes: &[(Duration, T)],
    key: impl Fn(&T) -> &str,
) -> Vec<(Duration, T)> {
    let kind = EventKind::from_name(event).expect("an event of the catalogue");
    let start = Instant::now();
    let mut limiter = Limiter::default();
    let mut passed = Vec::new();
    for (at, cause) in causes {
        let now = start + *at;
        while let Some(deadline) = limiter.next_deadline().filter(|deadline| *deadline <= now) {
            limiter.expire(deadline, |held| passed.push((deadline - start, held)));
        }
        passed
            .extend(limiter.offer(kind, key(cause), INTERVAL, cause.clone(), now).map(|cause| (*at, cause)));
    }
    while let Some(deadline) = limiter.next_deadline() {
        limiter.expire(deadline, |held| passed.push((deadline - start, held)));
    }
    passed
}

/// The line was read so long after the first of its key, or a little later.
#[track_caller]
pub(crate) fn arrived(line: &MonitorLine, first: &MonitorLine, after: Duration) {
    let arrived = line.arrived.duration_since(first.arrived);
    assert!(
        arrived + SOONER >= after && arrived <= after + LATER,
        "{arrived:?}, not {after:?}: {}",
        line.text()
    );
}

/// The lines, all of one key, keep the distance of a window between each two.
#[track_caller]
pub(crate) fn keep_their_distance(lines: &[MonitorLine]) {
    for pair in lines.windows(2) {
        let distance = pair[1].arrived.duration_since(pair[0].arrived);
        assert!(distance + SOONER >= INTERVAL, "{distance:?} before {}", pair[1].text());
    }
}

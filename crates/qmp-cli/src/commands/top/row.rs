//! One VM of the display: what the hub says of it, and its history.

use qmp_wire::UnixMicros;

use super::super::status::Vm;
use super::history::{Cell, History};

/// Why a VM is listed before others, from the least to the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing is wrong.
    None,
    /// The monitor is not attached, or does not answer: the state is not known.
    Unwatched,
    /// The VM is in a state that needs an operator.
    Trouble,
}

/// One VM.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) vm: Vm,
    pub(super) history: History,
}

impl Row {
    /// Whether the VM needs an operator.
    pub(super) fn need(&self) -> Need {
        let run_state = self.vm.run_state.as_deref();
        match (&*self.vm.state, run_state) {
            (_, Some("ended")) => Need::None,
            _ if self.vm.two_hosts_since.is_some() => Need::Trouble,
            _ if self.class() == Cell::Trouble => Need::Trouble,
            _ if self.vm.is_current() => Need::None,
            _ => Need::Unwatched,
        }
    }

    /// The class of the state for the lane, now.
    pub(super) fn cell(&self) -> Cell {
        match (self.need(), self.class()) {
            (Need::Unwatched, _) => Cell::Gap,
            (_, class) => class,
        }
    }

    fn class(&self) -> Cell {
        self.vm.run_state.as_deref().map_or(Cell::Unknown, Cell::of_run_state)
    }

    /// Since when the VM is in its state.
    pub(super) fn since(&self) -> Option<UnixMicros> {
        let known = self.vm.run_since.as_deref().filter(|_| self.vm.state != "in-use");
        known.unwrap_or(&self.vm.since).parse().ok()
    }

    /// The reason of the state, in a sentence.
    pub(super) fn why(&self) -> &str {
        self.vm.absence().unwrap_or(self.vm.why())
    }
}

/// The age of a moment in at most five characters: `12s`, `2m14`, `3h05`, `3d`, `1y`.
pub(super) fn age(since: Option<UnixMicros>, now: UnixMicros) -> String {
    let Some(since) = since else { return "-".to_owned() };
    let seconds = now.0.saturating_sub(since.0).max(0) / 1_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (minutes, hours, days) {
        (0, ..) => format!("{seconds}s"),
        (1..10, ..) => format!("{minutes}m{:02}", seconds % 60),
        (_, 0, _) => format!("{minutes}m"),
        (_, 1..10, _) => format!("{hours}h{:02}", minutes % 60),
        (.., 0) => format!("{hours}h"),
        (.., 1..1_000) => format!("{days}d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::status::examples;
    use super::*;

    #[test]
    fn need_follows_from_the_state() {
        let expected = [
            ("web1", Need::Trouble, Cell::Trouble),
            ("db", Need::Unwatched, Cell::Gap),
            ("new", Need::Unwatched, Cell::Gap),
            ("100", Need::Unwatched, Cell::Gap),
            ("nas", Need::Unwatched, Cell::Gap),
            ("ci-17", Need::None, Cell::Off),
            ("old", Need::Unwatched, Cell::Gap),
        ];
        for (vm, (name, need, cell)) in examples().into_iter().zip(expected) {
            let row = Row { vm, history: History::new(1, UnixMicros(0)) };
            assert_eq!((row.vm.vm.as_str(), row.need(), row.cell()), (name, need, cell));
        }
    }

    #[test]
    fn age_fits_five_characters() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (134, "2m14"),
            (660, "11m"),
            (3_600 * 3 + 300, "3h05"),
            (3_600 * 23, "23h"),
            (86_400 * 3, "3d"),
            (86_400 * 4_000, "10y"),
            (-5, "0s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(Some(UnixMicros(0)), UnixMicros(seconds * 1_000_000)), expected);
        }
        assert_eq!(age(None, UnixMicros(0)), "-");
    }
}

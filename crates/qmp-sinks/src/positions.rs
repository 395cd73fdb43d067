//! The positions of the rules, on the disk: `JOURNAL.sinks`.
//!
//! One small file of JSON for all rules, replaced as a whole. The file is written at once after a single delivery, and
//! four times a second while there are many: a crash loses the positions of this time, and the deliveries are repeated.
//! Moving past records that no rule selects does not cause a write.
//!
//! Rules that are not in the configuration keep their position: a hub that is started once without its configuration
//! must not lose pending deliveries.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use qmp_host::{blocking, lock, open_regular, read_text};
use qmp_wire::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::open_alerts::OpenAlerts;
use super::reported_states::ReportedStates;
use super::silences::Silences;

/// The shortest interval between two writes of the file while rules deliver: after a crash, the deliveries of this time
/// are repeated.
const POSITIONS_SAVE_INTERVAL: Duration = Duration::from_millis(250);

/// The interval if rules only skipped records, which are cheap to read again.
const POSITIONS_IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// Permissions: as those of the journal.
const FILE_MODE: u32 = 0o640;

/// Most bytes of the file that are read: an alert of each of some ten thousand VMs takes a hundred bytes for each rule.
const FILE_MAX_BYTES: u64 = 1 << 30;

const VERSION: u32 = 1;

/// Errors of reading the positions of the rules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PositionsError {
    /// The file system failed.
    #[error("cannot {doing} {}, which says what the rules have delivered: {source}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not one that a hub wrote.
    #[error(
        "{} should contain what the rules have delivered, and is invalid ({what}): restore it from a backup, \
         or remove it, and the rules begin at the journal's head",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        what: Box<str>,
    },
}

/// The position of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The offset up to which all records are handled: delivered, given up, held back, or not selected.
    pub(super) offset: u64,
    /// The number of records that are held back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) held_back: u64,
    /// The newest of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) held_back_newest: u64,
    /// The times of the last deliveries, for `at-most`, in microseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passed: Vec<i64>,
    /// The alerts up to that offset that are not resolved.
    #[serde(default, skip_serializing_if = "OpenAlerts::is_empty")]
    pub(super) alerts: OpenAlerts,
    /// The states that were reported up to that offset, without their end.
    #[serde(default, skip_serializing_if = "ReportedStates::is_empty")]
    pub(super) reported: ReportedStates,
    /// The state of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sink: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// The journal of the offsets.
    journal: Box<str>,
    rules: BTreeMap<Box<str>, Position>,
    #[serde(default, skip_serializing_if = "Silences::is_empty")]
    silences: Silences,
}

impl Content {
    fn of(journal: &str) -> Self {
        Self {
            version: VERSION,
            journal: journal.into(),
            rules: BTreeMap::new(),
            silences: Silences::default(),
        }
    }
}

/// The positions of all rules. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Positions(Arc<PositionState>);

#[derive(Debug)]
struct PositionState {
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the file is written: one write at a time, and never an older state after a newer one.
    writing: Mutex<()>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    content: Content,
    urgent: bool,
    idle: bool,
}

impl Positions {
    /// Reads the file beside `journal`, if there is one.
    pub(super) fn open(journal: &Path, identity: &str) -> Result<Self, PositionsError> {
        let mut path = journal.as_os_str().to_owned();
        path.push(".sinks");
        let path = PathBuf::from(path);
        let mut content = read(&path)?.unwrap_or_else(|| Content::of(identity));
        if *content.journal != *identity {
            tracing::warn!(
                "{} belongs to another journal than the one beside it: the rules begin at the journal's head",
                path.display()
            );
            content = Content::of(identity);
        }
        let state = Mutex::new(State { content, urgent: false, idle: false });
        Ok(Self(Arc::new(PositionState { path, state, writing: Mutex::default(), changed: Notify::new() })))
    }

    /// The position of a rule; `None` for a rule without one.
    pub(super) fn get(&self, rule: &str) -> Option<Position> {
        self.0.lock().content.rules.get(rule).cloned()
    }

    /// Sets the position of a rule after a delivery, to be written soon.
    pub(super) fn set(&self, rule: &str, position: Position) {
        let mut state = self.0.lock();
        state.content.rules.insert(rule.into(), position);
        state.urgent = true;
        drop(state);
        self.0.changed.notify_one();
    }

    /// Changes the position of a rule after a delivery, to be written soon.
    pub(super) fn change(&self, rule: &str, change: impl FnOnce(&mut Position)) {
        let mut state = self.0.lock();
        change(state.content.rules.entry(rule.into()).or_default());
        state.urgent = true;
        drop(state);
        self.0.changed.notify_one();
    }

    /// Takes records of the alerts of a rule; they are written with its position.
    pub(super) fn take_alerts<'r>(&self, rule: &str, records: impl Iterator<Item = &'r Record<'r>>) {
        let mut state = self.0.lock();
        let alerts = &mut state.content.rules.entry(rule.into()).or_default().alerts;
        records.for_each(|record| alerts.take(record));
    }

    /// Takes records that the receiver of a rule got; they are written with its position.
    pub(super) fn take_reported<'r>(&self, rule: &str, records: impl Iterator<Item = &'r Record<'r>>) {
        let mut state = self.0.lock();
        let reported = &mut state.content.rules.entry(rule.into()).or_default().reported;
        records.for_each(|record| reported.take(record));
    }

    /// Sets the position of a rule that read on without a delivery.
    pub(super) fn skip_to(&self, rule: &str, offset: u64) {
        let mut state = self.0.lock();
        if let Some(position) = state.content.rules.get_mut(rule)
            && position.offset != offset
        {
            position.offset = offset;
            if !state.idle {
                state.idle = true;
                drop(state);
                self.0.changed.notify_one();
            }
        }
    }

    /// Reads the silences.
    pub(super) fn with_silences<T>(&self, read: impl FnOnce(&Silences) -> T) -> T {
        read(&self.0.lock().content.silences)
    }

    /// Changes the silences, to be written soon.
    pub(super) fn change_silences<T>(&self, change: impl FnOnce(&mut Silences) -> T) -> T {
        let mut state = self.0.lock();
        state.urgent = true;
        let changed = change(&mut state.content.silences);
        drop(state);
        self.0.changed.notify_one();
        changed
    }

    /// Writes the changes. Blocks on the disk.
    pub(super) fn save(&self) -> Result<(), PositionsError> {
        let _one_at_a_time = lock(&self.0.writing);
        let text = {
            let mut state = self.0.lock();
            if !state.urgent && !state.idle {
                return Ok(());
            }
            (state.urgent, state.idle) = (false, false);
            serde_json::to_vec(&state.content).expect("names and numbers can be written as JSON")
        };
        write(&self.0.path, &text).inspect_err(|_| self.0.lock().urgent = true)
    }

    /// Writes the file when it is due, until `stop` is true.
    pub(super) async fn write_until_stopped(self, mut stop: watch::Receiver<bool>) {
        let mut is_failing = false;
        loop {
            let is_urgent = self.0.lock().urgent;
            let is_idle = self.0.lock().idle;
            if is_urgent {
                let positions = self.clone();
                match blocking(move || positions.save()).await {
                    Ok(()) => is_failing = false,
                    Err(error) => {
                        if !is_failing {
                            tracing::error!("{error}; after a crash the rules would repeat deliveries");
                        }
                        is_failing = true;
                    }
                }
            }
            if is_urgent {
                // The next delivery waits for the next interval.
                tokio::select! {
                    () = tokio::time::sleep(POSITIONS_SAVE_INTERVAL) => continue,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(POSITIONS_IDLE_INTERVAL), if is_idle => self.0.make_idle_urgent(),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

impl PositionState {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Makes changes without a delivery due, after their interval.
    fn make_idle_urgent(&self) {
        let mut state = self.lock();
        state.urgent |= std::mem::take(&mut state.idle);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn read(path: &Path) -> Result<Option<Content>, PositionsError> {
    let text = match open_regular(path).and_then(|file| read_text(file, FILE_MAX_BYTES)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PositionsError::Io { doing: "read", path: path.into(), source }),
    };
    let damaged = |what: String| PositionsError::Damaged { path: path.into(), what: what.into() };
    let content: Content = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(format!("it has version {}, and this program knows {VERSION}", content.version)));
    }
    Ok(Some(content))
}

/// Replaces the file atomically, and syncs it.
fn write(path: &Path, text: &[u8]) -> Result<(), PositionsError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let written = (|| {
        // A file of a killed hub, or a link of another user, whose target stays unchanged.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory)?.sync_all()
    })();
    written.map_err(|source| PositionsError::Io { doing: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_process_and_belong_to_one_journal() {
        let home = tempfile::tempdir().expect("a directory");
        let journal = home.path().join("journal.db");
        let positions = Positions::open(&journal, "a").expect("no file");
        assert_eq!(positions.get("mail"), None);
        let held = Position {
            offset: 7,
            held_back: 2,
            held_back_newest: 6,
            passed: vec![-1, 5],
            sink: Some(serde_json::json!({"published": 7})),
            ..Position::default()
        };
        positions.set("mail", held.clone());
        positions.set("log", Position { offset: 9, ..Position::default() });
        positions.skip_to("log", 11);
        positions.skip_to("unknown", 11);
        positions.save().expect("writes");
        let again = Positions::open(&journal, "a").expect("reads");
        assert_eq!(again.get("mail"), Some(held));
        assert_eq!(again.get("log").map(|position| position.offset), Some(11));
        assert_eq!(again.get("unknown"), None);
        assert_eq!(Positions::open(&journal, "b").expect("reads").get("mail"), None, "another journal");
    }

    #[test]
    fn invalid_file_of_positions_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        let journal = home.path().join("journal.db");
        for text in ["", "{}", r#"{"version":2,"journal":"a","rules":{}}"#] {
            fs::write(home.path().join("journal.db.sinks"), text).expect("writes");
            let error = Positions::open(&journal, "a").expect_err(text).to_string();
            assert!(
                error.contains("journal.db.sinks should contain") && error.contains("remove it"),
                "{error}"
            );
        }
    }
}

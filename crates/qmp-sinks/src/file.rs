//! A file of JSON Lines, with the same lines as `qmp log --json`, rotated by size or age.
//!
//! Records that are reported as delivered are on the disk: the file is synced after each batch, before the rule moves
//! on. No line is torn: a line that a crash cut off is removed before the next is written, and the rule, which has not
//! moved past it, writes it again. Other programs may also rotate the file, by moving it away (logrotate) or by
//! truncating it.

mod rotated_file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qmp_host::blocking;
use qmp_host::clock;
use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};

use super::delivery::{Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink};
use super::fields;
use super::kind::SinkKind;
use rotated_file::{RotatedFile, Rotation};

pub(super) static KIND: SinkKind = SinkKind {
    variant: &Variant { key: &FILE, options: &[&MAX_SIZE, &MAX_AGE, &KEEP] },
    // Every line is one record; a count of others has no place in it.
    may_hold_back: false,
    read,
};

static FILE: KeySchema =
    KeySchema::new("file", Form::Path, "a path", "Appends each record to this file, as a line of JSON.")
        .example("\"/var/log/qmp-events/events.jsonl\"");

static MAX_SIZE: KeySchema = KeySchema::new(
    "max-size",
    Form::Size { min_bytes: FILE_SIZE_MIN_BYTES, is_number: true },
    "a size such as \"100MiB\"",
    "The size from which the file is renamed and a new one begun.",
)
.absent("no limit")
.example("\"100MiB\"");

static MAX_AGE: KeySchema = KeySchema::new(
    "max-age",
    Form::Span { min: FILE_AGE_MIN, max: Duration::MAX },
    "a span such as \"30s\"",
    "The age from which the file is renamed and a new one begun.",
)
.absent("no limit")
.example("\"1d\"");

static KEEP: KeySchema = KeySchema::new(
    "keep",
    Form::Number { min: 1, max: FILE_KEEP_MAX },
    "a number",
    "How many old files are kept.",
)
.default("5")
.example("5");

/// Old files that are kept besides the current one, unless the rule says otherwise.
const FILE_KEEP: u32 = 5;

/// How many old files may be kept; each of them is renamed at every rotation.
const FILE_KEEP_MAX: u32 = 1_000;

/// The smallest `max-size`, in bytes: below, most files would hold one record.
const FILE_SIZE_MIN_BYTES: u64 = 4 << 10;

/// The shortest `max-age`.
const FILE_AGE_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    rotation: Rotation,
}

struct FileSink {
    path: PathBuf,
    rotation: Rotation,
    open: Option<RotatedFile>,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let path = settings.text(&FILE).map(PathBuf::from);
    let max_bytes = settings.size(&MAX_SIZE);
    let max_age = settings.span(&MAX_AGE);
    let keep = settings.number(&KEEP);
    if max_bytes.is_some_and(|bytes| bytes < FILE_SIZE_MIN_BYTES) {
        settings.problem(&MAX_SIZE, "a file of less than 4KiB would hold one record or none");
    }
    if max_age.is_some_and(|age| age < FILE_AGE_MIN) {
        settings.problem(&MAX_AGE, "a file must last at least one second");
    }
    if keep.is_some() && max_bytes.is_none() && max_age.is_none() {
        settings.problem(&KEEP, "nothing rotates the file; add: max-size = \"100MiB\"");
    }
    let path = path?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        let directory = directory.display();
        settings.warn(&FILE, &format!("there is no directory {directory}; the first record creates it"));
    }
    let rotation = Rotation { max_bytes, max_age, keep: keep.unwrap_or(FILE_KEEP) };
    Some(Arc::new(File { path, rotation }))
}

impl RuleAction for File {
    fn open(&self, _origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        Box::new(FileSink { path: self.path.clone(), rotation: self.rotation, open: None })
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl Sink for FileSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        let lines = deliveries.iter().map(|delivery| {
            let mut line = fields::line(&delivery.record);
            line.push(b'\n');
            line
        });
        let lines: Vec<Vec<u8>> = lines.collect();
        Box::pin(async {
            let (open, path, rotation) = (self.open.take(), self.path.clone(), self.rotation);
            let (open, outcome) = blocking(move || write(open, &path, rotation, &lines)).await;
            self.open = open;
            outcome
        })
    }
}

/// Writes all lines, until the disk refuses one.
fn write(
    open: Option<RotatedFile>,
    path: &Path,
    rotation: Rotation,
    lines: &[Vec<u8>],
) -> (Option<RotatedFile>, DeliveryOutcome) {
    let failed = |delivered: usize, path: &Path, error: &io::Error| {
        (None, DeliveryOutcome::unavailable(delivered, format!("cannot write {}: {error}", path.display())))
    };
    let opened = match open {
        Some(open) => open.follow(clock::now()),
        None => RotatedFile::open(path, rotation, clock::now()),
    };
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return failed(0, path, &error),
    };
    for (index, line) in lines.iter().enumerate() {
        if let Err(error) = file.append(line, clock::now()) {
            // Lines before are delivered only once they are on the disk.
            let delivered = if file.sync().is_ok() { index } else { 0 };
            return failed(delivered, path, &error);
        }
    }
    match file.sync() {
        Ok(()) => (Some(file), DeliveryOutcome::done(lines.len())),
        Err(error) => failed(0, path, &error),
    }
}

//! Records of files that a journal cannot take, counted.

use std::path::Path;

use qmp_wire::Record;

use crate::exit::Failure;

/// Why a record cannot be imported.
#[derive(Clone, Copy)]
pub(super) enum Conflict {
    /// The journal has its identity with other content.
    OtherContent,
    /// The journal has a later record of its VM, and not this one.
    Missing,
}

/// The records that cannot be imported.
#[derive(Default)]
pub(super) struct Conflicts {
    other_content: u64,
    missing: u64,
    first: Option<String>,
}

impl Conflicts {
    pub(super) fn add(&mut self, conflict: Conflict, record: &Record<'_>) {
        match conflict {
            Conflict::OtherContent => self.other_content += 1,
            Conflict::Missing => self.missing += 1,
        }
        self.first.get_or_insert_with(|| shown(record));
    }

    /// Fails if there is one.
    pub(super) fn into_result(self, journal: &Path) -> Result<(), Failure> {
        let Some(first) = self.first else { return Ok(()) };
        let journal = journal.display();
        let mut texts = Vec::new();
        if self.other_content > 0 {
            texts.push(format!(
                "{} have an identity that {journal} has with other content",
                self.other_content
            ));
        }
        if self.missing > 0 {
            texts.push(format!(
                "{} are before the last of their VM in {journal}, and missing there",
                self.missing
            ));
        }
        let texts = texts.join(", ");
        Err(Failure::failed(format_args!(
            "nothing was imported: of the records, {texts}; the first is {first}"
        ))
        .hint("import into another file, or with another name of the host: --as-host NAME"))
    }
}

/// `web1 2.7`: the identity of a record.
pub(super) fn shown(record: &Record<'_>) -> String {
    format!("{} {}.{}", record.vm, record.epoch.0, record.seq.0)
}

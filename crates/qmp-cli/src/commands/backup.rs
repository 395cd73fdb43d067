//! `qmp backup`: a copy of the journal, while the hub writes it.

use std::path::{Path, PathBuf};

use clap::Args;
use qmp_journal::{BackupError, BackupSummary};

use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::output;
use crate::paths::{self, DefaultPaths};
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Copy the journal into FILE, while the hub continues
///
/// The copy has the state of the journal at one instant, checked page by page, compact, in one file. The complete file gets
/// its name at the end. The default is the journal of the hub that answers, or else the one where a hub would write.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Backup {
    /// The copy; its directory must exist
    #[arg(value_name = "FILE")]
    to: PathBuf,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// The journal to copy
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp backup /backup/vms-$(date +%F).db
  qmp log --journal /backup/vms-2026-01-02.db --since 2026-01-01
To restore: stop the hub, move journal.db and its -wal and -shm away, put the copy in its place, start the hub.";

impl Backup {
    /// Makes the copy.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let journal = journal_of(self.journal.as_deref(), &self.hub).await?;
        let backup = qmp_journal::Backup::open(&journal)?;
        let interrupter = backup.interrupter();
        let (to, force) = (self.to.clone(), self.force);
        let mut copying = tokio::task::spawn_blocking(move || backup.write(&to, force));
        let progress = Progress::new(terminal, format!("copying {}", journal.display()));
        let copied = tokio::select! {
            copied = progress.during(&mut copying) => copied,
            _ = tokio::signal::ctrl_c() => {
                interrupter.interrupt();
                // The task removes the incomplete copy.
                let _ = copying.await;
                return Err(Failure::failed(format_args!("interrupted: {} was not made", self.to.display())));
            }
        };
        match copied {
            Ok(copied) => {
                output::note(summary(&self.to, &journal, copied?));
                Ok(Exit::Done)
            }
            Err(error) => Err(Failure::failed(error)),
        }
    }
}

/// The given file, or that of the hub that answers, or that of a hub of this user.
pub(super) async fn journal_of(named: Option<&Path>, hub: &HubArgs) -> Result<PathBuf, Failure> {
    if let Some(journal) = named {
        return Ok(journal.to_owned());
    }
    let of_hub = hub.client()?.info().await.ok().and_then(|hub| hub.journal).filter(|path| path.exists());
    Ok(of_hub
        .or_else(paths::journal_of_environment)
        .unwrap_or_else(|| DefaultPaths::of_this_user().journal()))
}

fn summary(to: &Path, journal: &Path, copied: BackupSummary) -> String {
    let records = copied.head.0 + 1 - copied.first.0;
    let span = match records {
        0 => "no record".to_owned(),
        1 => format!("1 record (offset {})", copied.head.0),
        records => format!("{records} records (offsets {} to {})", copied.first.0, copied.head.0),
    };
    format!("{}: {span} of {}, {} bytes, checked", to.display(), journal.display(), copied.bytes)
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Journal(error) => error.into(),
            error @ (BackupError::Exists { .. } | BackupError::InUse { .. }) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::Offset;

    use super::*;

    #[test]
    fn summary_has_the_copied_records() {
        let cases = [
            (1, 0, "b.db: no record of j.db, 4096 bytes, checked"),
            (7, 7, "b.db: 1 record (offset 7) of j.db, 4096 bytes, checked"),
            (5, 9, "b.db: 5 records (offsets 5 to 9) of j.db, 4096 bytes, checked"),
        ];
        for (first, head, expected) in cases {
            let copied = BackupSummary { first: Offset(first), head: Offset(head), bytes: 4096 };
            assert_eq!(summary("b.db".as_ref(), "j.db".as_ref(), copied), expected);
        }
    }
}

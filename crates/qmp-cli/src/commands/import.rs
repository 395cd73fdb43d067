//! `qmp import`: records of files into a journal, with their identities.

mod input;
mod repeated;
mod conflicts;
mod target;

use std::path::PathBuf;

use clap::Args;
use qmp_wire::QualifiedName;

use self::input::Input;
use self::target::{Outcome, Target};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Add records of files to a journal: JSON Lines or Parquet, as qmp export and qmp log --json write them
///
/// The records keep VM, epoch, number and time of reception; their offsets are those of the journal. A record that the journal has
/// already is left out. If the journal has another record with the same identity, or a later one of the VM, nothing is imported.
/// No hub may have the journal open; a missing file is created.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// Files, or folders with files *.parquet and *.jsonl; - is the standard input, with JSON Lines
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,

    /// The journal
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,

    /// Give this host to VMs whose records name none
    #[arg(long, value_name = "NAME")]
    as_host: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  qmp import /archive/vms --journal restored.db
  qmp log --journal restored.db --since 2026-01-01
  zcat node1.jsonl.gz | qmp import - --as-host node1 --journal all.db";

impl Import {
    /// Adds the records.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        if let Some(host) = &self.as_host {
            qmp_wire::check_host_name(host)
                .map_err(|error| Failure::usage(format_args!("--as-host: {error}")))?;
        }
        // The files are opened before the journal is created.
        let mut input = Input::open(&self.files)?;
        let mut target = Target::open(&self.journal)?;
        let outcome = self.import(&mut input, &mut target, terminal).await;
        // Also after an error: what was imported before is committed.
        let closed = target.close();
        let Outcome { imported, repeated, added } = outcome?;
        closed?;
        let noun = if imported == 1 { "record" } else { "records" };
        let mut text = format!("{}: {imported} {noun} imported", self.journal.display());
        if repeated > 0 {
            text += &format!("; {repeated} were there already");
        }
        if added > 0 {
            text += &format!("; {added} were left out, which a hub added to those of VMs of other hosts");
        }
        output::note(text);
        Ok(Exit::Done)
    }

    async fn import(
        &self,
        input: &mut Input,
        target: &mut Target,
        terminal: &Terminal,
    ) -> Result<Outcome, Failure> {
        if !target.is_new() && !input.has_stdin() {
            let mut checked = Input::open(&self.files)?;
            let mut progress = Progress::new(terminal, "comparing");
            let mut read = 0;
            while let Some(record) = checked.next_record()? {
                target.check(&self.of_host(record)?)?;
                read += 1;
                progress.done(read, checked.all().unwrap_or_default(), "records");
            }
            target.finish_check()?;
        }
        let mut progress = Progress::new(terminal, format!("importing into {}", self.journal.display()));
        let mut read = 0;
        while let Some(record) = input.next_record()? {
            target.add(&self.of_host(record)?).await?;
            read += 1;
            progress.done(read, input.all().unwrap_or_default(), "records");
        }
        target.finish().await
    }

    /// The record with the host of `--as-host`, unless it names one.
    fn of_host(&self, record: qmp_wire::Record<'static>) -> Result<qmp_wire::Record<'static>, Failure> {
        match &self.as_host {
            Some(host) if QualifiedName::parse(&record.vm).is_none() => {
                let vm = QualifiedName::join(host, &record.vm);
                let vm =
                    vm.ok_or_else(|| Failure::failed(format_args!("{:?} is no name of a VM", record.vm)))?;
                Ok(qmp_wire::Record { vm: vm.into(), ..record })
            }
            _ => Ok(record),
        }
    }
}

//! Whose records are exported: the journal's own name, and its host.

use qmp_wire::Offset;

use super::super::log::source::Source;
use crate::exit::Failure;

/// The origin of records.
pub(super) struct Origin {
    /// The journal's own name.
    pub(super) journal: Box<str>,
    /// The host of VMs whose records name none.
    pub(super) host: Box<str>,
    /// The last offset.
    pub(super) head: Offset,
    /// The journal, for messages.
    pub(super) shown: String,
}

impl Origin {
    /// Requests the origin. `local_host` is what the user gave.
    pub(super) async fn of(source: &Source, local_host: Option<&str>) -> Result<Self, Failure> {
        let (journal, host, head, shown) = match source {
            Source::File(reader) => {
                (reader.identity()?, None, reader.head()?, reader.path().display().to_string())
            }
            Source::Hub(client) => {
                let info = client.info().await?;
                let shown =
                    info.journal.map_or_else(|| "the journal".to_owned(), |path| path.display().to_string());
                (info.journal_id, info.host, Offset(info.head), shown)
            }
        };
        let Some(journal) = journal else {
            return Err(Failure::failed(format_args!(
                "{shown} has no name of its own yet, by which the next export would know it"
            ))
            .hint("a hub of this release gives it one when it opens the journal"));
        };
        let here = || rustix::system::uname().nodename().to_string_lossy().into_owned().into();
        Ok(Self { journal, host: local_host.map(Into::into).or(host).unwrap_or_else(here), head, shown })
    }
}

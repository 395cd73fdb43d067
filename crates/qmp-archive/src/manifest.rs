//! The file of a folder that says what its parts have.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::whole_file::WholeFile;

/// Its name. Readers of Parquet leave files out whose names begin with an underscore.
const NAME: &str = "_qmp-export.json";

/// The name until it is whole.
const BESIDE: &str = ".qmp-export.partial";

/// The version of its form.
const VERSION: u32 = 1;

/// What the parts of a folder have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Manifest {
    version: u32,
    /// The journal that the offsets belong to.
    pub(super) journal: Box<str>,
    /// The filters, in a form to compare and to print.
    pub(super) selection: Box<str>,
    /// All selected records up to this offset are in parts.
    pub(super) upto: u64,
}

impl Manifest {
    pub(super) fn new(journal: &str, selection: &str) -> Self {
        Self { version: VERSION, journal: journal.into(), selection: selection.into(), upto: 0 }
    }

    /// Reads the manifest of a folder; `None` if it has none. The inner error says why it cannot be used.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Result<Self, String>>> {
        let text = match fs::read(folder.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Ok(Some(match serde_json::from_slice::<Self>(&text) {
            Ok(manifest) if manifest.version == VERSION => Ok(manifest),
            Ok(Self { version, .. }) => {
                Err(format!("{NAME} has version {version}, and this release writes {VERSION}"))
            }
            Err(error) => Err(format!("{NAME} is damaged: {error}")),
        }))
    }

    /// Writes the manifest in place of the one that is there.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = WholeFile::create(folder.join(BESIDE))?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.replace(&folder.join(NAME))
    }
}

//! Writes records as lines to one file, or to the standard output.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use qmp_archive::WholeFile;
use qmp_wire::Offset;

use super::super::log::request::LogRequest;
use super::super::log::source::Source;
use super::reading;
use crate::exit::Failure;
use crate::output;
use crate::progress::Progress;
use crate::render::Renderer;
use crate::terminal::Terminal;

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Where lines go.
enum Out {
    Stdout(io::Stdout),
    File(WholeFile),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// Writes the requested records to `path`; returns the offset after which they begin.
pub(super) async fn write(
    path: &Path,
    force: bool,
    mut renderer: Renderer,
    request: &LogRequest,
    source: &Source,
    terminal: &Terminal,
) -> Result<Offset, Failure> {
    let is_stdout = path.as_os_str() == "-";
    let failed = |error: io::Error| Failure::failed(format_args!("cannot write {}: {error}", path.display()));
    let out = match is_stdout {
        true => Out::Stdout(io::stdout()),
        false => {
            check_place(path, force)?;
            Out::File(WholeFile::create(beside(path)).map_err(failed)?)
        }
    };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    // A closed pipe ends the command silently.
    let written = |result: io::Result<()>| match is_stdout {
        true => result.map_err(Failure::from),
        false => result.map_err(failed),
    };
    let mut lines = Vec::new();
    renderer.begin(&mut lines);
    written(out.write_all(&lines))?;
    let head = match source {
        Source::File(reader) => reader.head()?,
        Source::Hub(client) => Offset(client.info().await?.head),
    };
    let progress = Progress::new(terminal, format!("writing {}", path.display()));
    let (mut records, mut first, mut last) = (0_u64, None, None);
    let reading = reading::each(source, request, head, progress, |record| {
        records += 1;
        first = first.or(record.offset);
        last = record.offset.or(last);
        lines.clear();
        renderer.record(&record, &mut lines);
        written(out.write_all(&lines))?;
        Ok(ControlFlow::Continue(()))
    });
    if let Err(failure) = reading.await {
        // What the buffer has is not written by its destructor, which would hide the error of a full disk.
        drop(out.into_parts().0);
        return Err(failure);
    }
    let out = out.into_inner().map_err(io::IntoInnerError::into_error);
    match out {
        Ok(Out::Stdout(mut stdout)) => written(stdout.flush())?,
        Ok(Out::File(file)) => {
            let placed = if force { file.replace(path) } else { file.persist(path) };
            placed.map_err(failed)?;
            output::note(format_args!("{}: {}", path.display(), count(records, first, last)));
        }
        Err(error) => written(Err(error))?,
    }
    Ok(before(first))
}

/// Refuses a file that exists, which may be of another program, and what is no file in any case.
fn check_place(path: &Path, force: bool) -> Result<(), Failure> {
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    if !force {
        return Err(Failure::usage(format_args!("{} exists", path.display()))
            .hint("--force replaces it; only --parquet adds to what is there"));
    }
    match there.is_file() {
        true => Ok(()),
        false => Err(Failure::usage(format_args!("{} is not a file", path.display()))),
    }
}

/// The path of a file until it is whole.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

/// `1,234 records (offsets 5 to 1238)`.
fn count(records: u64, first: Option<Offset>, last: Option<Offset>) -> String {
    match (records, first, last) {
        (0, ..) => "no record".to_owned(),
        (1, Some(first), _) => format!("1 record (offset {})", first.0),
        (records, Some(first), Some(last)) => {
            format!("{records} records (offsets {} to {})", first.0, last.0)
        }
        (records, ..) => format!("{records} records"),
    }
}

fn before(first: Option<Offset>) -> Offset {
    Offset(first.unwrap_or_default().0.saturating_sub(1))
}

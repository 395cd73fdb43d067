//! The names of parts: `day=2026-11-28/host=node1/part-FIRST-LAST.parquet`.

use std::path::{Path, PathBuf};

use qmp_wire::Offset;

/// What the path of a part says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartName {
    /// The day, as a date.
    pub(super) day: String,
    /// The host.
    pub(super) host: Box<str>,
    /// The offset of its first record. Each record of its day and host up to the last is in it.
    pub(super) first: Offset,
    /// The offset of its last record.
    pub(super) last: Offset,
}

impl PartName {
    /// The path in the folder.
    pub(super) fn path(&self) -> PathBuf {
        let (first, last) = (self.first.0, self.last.0);
        let mut path = PathBuf::from(format!("day={}", self.day));
        path.push(format!("host={}", escaped(&self.host)));
        path.push(format!("part-{first}-{last}.parquet"));
        path
    }
}

/// The first and the last offset in the name of a file; `None` if it is not the name of a part.
pub(super) fn offsets(file: &Path) -> Option<(Offset, Offset)> {
    let name = file.file_name()?.to_str()?;
    let (first, last) = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((Offset(first), Offset(last)))
}

/// A host as a part of a path. Hive and its readers have percent signs for other characters.
pub(super) fn escaped(host: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte);
    host.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_has_day_host_and_offsets() {
        let name =
            PartName { day: "2026-11-28".into(), host: "a/b=ü".into(), first: Offset(7), last: Offset(19) };
        let path = name.path();
        assert_eq!(path, Path::new("day=2026-11-28/host=a%2Fb%3D%C3%BC/part-7-19.parquet"));
        assert_eq!(offsets(&path), Some((Offset(7), Offset(19))));
        for other in [
            "part-7.parquet",
            "part-9-7.parquet",
            ".part-7-9.parquet",
            "part-7-9.parquet.partial",
            "part-a-9.parquet",
        ] {
            assert_eq!(offsets(Path::new(other)), None, "{other}");
        }
    }
}

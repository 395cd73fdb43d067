//! Which daemon to follow: a URI of libvirt, or a socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The daemon to follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `qemu:///system`: the daemon of the host.
    System,
    /// `qemu:///session`: the daemon of this user.
    Session,
    /// `unix:PATH`: the daemon at this socket, which may be forwarded from another host.
    Socket(PathBuf),
}

/// The text names no daemon that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A URI of another hypervisor or of a remote host, or no URI.
    #[error("`{text}` is no daemon that can be followed: write qemu:///system, qemu:///session or unix:PATH")]
    Unknown {
        /// The text.
        text: Box<str>,
    },
    /// A socket without an absolute path.
    #[error("unix: needs an absolute path: write unix:/run/libvirt/libvirt-sock")]
    NoPath,
    /// A socket for readers only.
    #[error("`{}` is for readers only, and events need the socket without `-ro`", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
}

impl Source {
    /// Returns the URIs of the hypervisor to try, in this order.
    #[must_use]
    pub fn uris(&self) -> &'static [&'static str] {
        match self {
            Self::System => &["qemu:///system"],
            Self::Session => &["qemu:///session"],
            // The path does not say whose daemon it is, and each refuses the other's.
            Self::Socket(_) => &["qemu:///system", "qemu:///session"],
        }
    }

    /// Returns the sockets to try, in the order of libvirt's own client: the modular daemon goes first.
    ///
    /// `user_directory` is `$XDG_RUNTIME_DIR`; without it, libvirt's session is in `~/.cache`.
    #[must_use]
    pub fn sockets(&self, user_directory: &Path) -> Vec<PathBuf> {
        let directory = match self {
            Self::System => Path::new("/run/libvirt").to_owned(),
            Self::Session => user_directory.join("libvirt"),
            Self::Socket(path) => return vec![path.clone()],
        };
        ["virtqemud-sock", "libvirt-sock"].map(|name| directory.join(name)).into()
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text {
            "qemu:///system" => return Ok(Self::System),
            "qemu:///session" => return Ok(Self::Session),
            _ => {}
        }
        let path = text.strip_prefix("unix:").ok_or_else(|| SourceError::Unknown { text: text.into() })?;
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(SourceError::NoPath);
        }
        if path.to_string_lossy().ends_with("-sock-ro") {
            return Err(SourceError::ReadOnly { path: path.to_owned() });
        }
        Ok(Self::Socket(path.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("qemu:///system"),
            Self::Session => f.write_str("qemu:///session"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Source, SourceError};

    #[test]
    fn source_reads_back_from_its_text() {
        for text in ["qemu:///system", "qemu:///session", "unix:/run/b.sock"] {
            assert_eq!(text.parse::<Source>().map(|source| source.to_string()).as_deref(), Ok(text));
        }
        let cases = [
            ("qemu+ssh://host/system", SourceError::Unknown { text: "qemu+ssh://host/system".into() }),
            ("unix:", SourceError::NoPath),
            ("unix:a.sock", SourceError::NoPath),
            ("unix:/run/libvirt-sock-ro", SourceError::ReadOnly { path: "/run/libvirt-sock-ro".into() }),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Source>(), Err(error), "{text}");
        }
    }

    #[test]
    fn modular_daemon_is_tried_first() {
        let sockets = Source::Session.sockets(Path::new("/run/user/7"));
        let expected = ["/run/user/7/libvirt/virtqemud-sock", "/run/user/7/libvirt/libvirt-sock"];
        assert_eq!(sockets, expected.map(Path::new));
    }
}

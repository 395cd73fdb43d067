//! Permissions of files: the part of an error message that suggests a correction.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{getegid, geteuid};

/// Returns the user of this process, such as `user qmp-events (994)`.
#[must_use]
pub fn this_user() -> String {
    named("user", geteuid().as_raw(), "/etc/passwd")
}

/// Returns the name of a user of this host, or `uid N`.
#[must_use]
pub fn user(uid: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(uid, &text).map_or_else(|| format!("uid {uid}"), str::to_owned)
}

/// Returns the number of a group of this host, by its name or its number.
#[must_use]
pub fn group(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    name.parse().ok().or_else(|| id_of(name, &text))
}

/// Returns the reason why `directory` is not writable, and a correction.
#[must_use]
pub fn not_writable(directory: &Path) -> String {
    let user = this_user();
    format!(
        "{} ({}) cannot be written by {user}; make it writable, or choose another",
        directory.display(),
        owned(directory)
    )
}

/// Returns the reason why the socket at `path` refuses access: its own mode, or that of its directory.
#[must_use]
pub fn refused_socket(path: &Path) -> String {
    let directory = path.parent().unwrap_or(path);
    refused(path, if std::fs::metadata(path).is_ok() { path } else { directory })
}

/// Returns the reason why the socket at `path` refuses access, and a correction; `place` is the refusing file (the
/// socket, or a directory above).
#[must_use]
pub fn refused(path: &Path, place: &Path) -> String {
    let user = this_user();
    let group = std::fs::metadata(place).ok().map(|found| named("group", found.gid(), "/etc/group"));
    let join = match group {
        Some(group) if has_group_rights(place) => format!("add this user to {group}, "),
        _ => String::new(),
    };
    let at = if path == place { String::new() } else { format!(" in {}", place.display()) };
    format!(
        "no permission for {}{at} ({}): the hub runs as {user}; {join}give it access with setfacl, or run the hub as the \
         socket's owner",
        path.display(),
        owned(place)
    )
}

/// Returns owner and mode: `owned by user root (0) and group kvm (104), mode 0660`.
fn owned(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(found) => {
            let (user, group) =
                (named("user", found.uid(), "/etc/passwd"), named("group", found.gid(), "/etc/group"));
            format!("owned by {user} and {group}, mode {:04o}", found.mode() & 0o7777)
        }
        Err(error) => error.to_string(),
    }
}

/// Returns whether membership in the file's group would help: the group may write, and this process is not in it.
fn has_group_rights(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.mode() & 0o020 != 0 && found.gid() != getegid().as_raw() && found.gid() != 0)
}

/// Returns `user root (0)`. Uses only the files of this host: names of other services are shown as numbers.
fn named(what: &str, id: u32, file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match name_of(id, &text) {
        Some(name) => format!("{what} {name} ({id})"),
        None => format!("{what} {id}"),
    }
}

/// Returns the name in the first column of the line whose third column is `id`.
fn name_of(id: u32, text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        (columns.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

/// Returns the third column of the line whose first column is `name`.
fn id_of(name: &str, text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut columns = line.split(':');
        (columns.next()? == name).then(|| columns.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        let text =
            "root:x:0:\nkvm:x:104:alice,bob\nbroken\n:x:y:\nlibvirt-qemu:x:64055:64055::/:/bin/false\n";
        let cases = [(0, Some("root")), (104, Some("kvm")), (64_055, Some("libvirt-qemu")), (5, None)];
        for (id, expected) in cases {
            assert_eq!(name_of(id, text), expected, "{id}");
        }
        assert_eq!((id_of("kvm", text), id_of("broken", text), id_of("x", text)), (Some(104), None, None));
    }
}

//! Where other programs put the monitors of their VMs.
//!
//! One table: the directory, the pattern below it, and how the VM's name is derived from the path. Sources: libvirt 9.0
//! (run), Proxmox `QemuServer/Helpers.pm`, Incus `paths.go` and `driver_qemu.go`, Ganeti `design-kvmd.rst`, Kata
//! `qemu.go`.

mod parts;
mod pattern;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

pub(crate) use parts::Parts;
pub(crate) use pattern::Walk;
pub use pattern::{PathPattern, PatternError};

/// A program that runs VMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// libvirt.
    Libvirt,
    /// Proxmox VE.
    Proxmox,
    /// Incus.
    Incus,
    /// Ganeti.
    Ganeti,
    /// Kata Containers.
    Kata,
}

/// There is no layout of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is no layout; there are {}", words().collect::<Vec<_>>().join(", "))]
pub struct UnknownLayout {
    /// The word that was given.
    pub word: Box<str>,
}

/// The description of a layout.
struct LayoutDesc {
    layout: Layout,
    word: &'static str,
    root: &'static str,
    below: &'static str,
    name: fn(&Parts) -> Option<String>,
    /// Advice if the program uses the monitor itself.
    advice: &'static str,
}

const KNOWN: [LayoutDesc; 5] = [
    LayoutDesc {
        layout: Layout::Libvirt,
        word: "libvirt",
        root: "/var/lib/libvirt/qemu",
        below: "domain-*/monitor.sock",
        // domain-<id>-<short name>
        name: |parts| {
            let (id, name) = parts.directory.strip_prefix("domain-")?.split_once('-')?;
            is_number(id).then(|| name.to_owned())
        },
        advice: "libvirt holds this monitor; follow the VM through libvirt: --discover libvirt, or \
                 [[discover]] libvirt = \"qemu:///system\"",
    },
    LayoutDesc {
        layout: Layout::Proxmox,
        word: "proxmox",
        root: "/var/run/qemu-server",
        below: "*.qmp",
        name: |parts| is_number(&parts.stem).then(|| parts.stem.clone()),
        advice: "Proxmox uses this monitor; give the VM another: \
                 `qm set VMID --args '-qmp unix:/run/qmp-events/vm/VMID.sock,server=on,wait=off'`",
    },
    LayoutDesc {
        layout: Layout::Incus,
        word: "incus",
        root: "/run/incus",
        below: "*/qemu.monitor",
        // <project>_<name>, or <name> in the default project
        name: |parts| Some(parts.directory.clone()),
        advice: "Incus holds this monitor; give the VM another: \
                 `incus config set NAME raw.qemu='-qmp unix:/run/qmp-events/vm/NAME.sock,server=on,wait=off'`",
    },
    LayoutDesc {
        layout: Layout::Ganeti,
        word: "ganeti",
        root: "/var/run/ganeti/kvm-hypervisor/ctrl",
        below: "*.qmp",
        name: |parts| Some(parts.stem.clone()),
        advice: "Ganeti uses this monitor; give the VM another: \
                 `gnt-instance modify -H kvm_extra='-qmp unix:/run/qmp-events/vm/NAME.sock,server=on,wait=off' NAME`",
    },
    LayoutDesc {
        layout: Layout::Kata,
        word: "kata",
        root: "/run/vc/vm",
        below: "*/qmp.sock",
        name: |parts| Some(parts.directory.clone()),
        advice: "the Kata runtime holds this monitor; set `extra_monitor_socket = \"qmp\"` in the [hypervisor.qemu] \
                 section of its configuration, which gives the VM another",
    },
];

/// Advice about a monitor that an unknown client uses.
const ADVICE: &str = "another client uses this monitor, and a monitor serves one client; give the VM another one for the \
                      hub: -qmp unix:/run/qmp-events/vm/NAME.sock,server=on,wait=off (QEMU takes -qmp several times)";

/// The words for all layouts.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.word)
}

/// Advice about the monitor at that path if another client uses it.
pub(crate) fn advice(path: Option<&Path>) -> &'static str {
    path.and_then(owner).map_or(ADVICE, Layout::advice)
}

/// The program whose monitor is at that path. Only the end of the path decides, because directories can be moved.
pub(crate) fn owner(path: &Path) -> Option<Layout> {
    let looks_like = |known: &&LayoutDesc| match known.layout {
        Layout::Libvirt => path.ends_with("monitor.sock"),
        Layout::Proxmox => path.parent().is_some_and(|parent| parent.ends_with("qemu-server")),
        Layout::Incus => path.ends_with("qemu.monitor"),
        Layout::Ganeti => path.parent().is_some_and(|parent| parent.ends_with("kvm-hypervisor/ctrl")),
        Layout::Kata => path.ends_with("qmp.sock") && path.starts_with(known.root),
    };
    let known = KNOWN.iter().filter(looks_like).find(|known| known.layout.name(path).is_some());
    known.map(|known| known.layout)
}

impl Layout {
    /// The words for all layouts.
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        words().collect()
    }

    /// Advice how to get a monitor besides the program's own.
    pub(crate) fn advice(self) -> &'static str {
        self.known().advice
    }

    /// The patterns of its sockets, in its own directory or another.
    pub(crate) fn patterns(self, root: Option<&Path>) -> Vec<PathPattern> {
        let known = self.known();
        let root = root.unwrap_or(Path::new(known.root));
        // The pattern below the root is a constant, and a root was checked when it was read.
        root.join(known.below).to_str().and_then(|pattern| pattern.parse().ok()).into_iter().collect()
    }

    /// The VM of a socket; `None` for any other socket.
    pub(crate) fn name(self, path: &Path) -> Option<Parts> {
        let parts = Parts::of_path(path);
        let name = (self.known().name)(&parts).filter(|name| !name.is_empty())?;
        Some(Parts { name, ..parts })
    }

    fn known(self) -> &'static LayoutDesc {
        // Each layout is in the table; the tests iterate over it.
        KNOWN.iter().find(|known| known.layout == self).unwrap_or(&KNOWN[0])
    }
}

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(word: &str) -> Result<Self, UnknownLayout> {
        let known = KNOWN.iter().find(|known| known.word == word);
        known.map(|known| known.layout).ok_or_else(|| UnknownLayout { word: word.into() })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.known().word)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_of_paths() {
        let deep = format!("/run/incus/{}/qemu.monitor", "p".repeat(120));
        let cases: [(Layout, &str, Option<&str>); 13] = [
            (Layout::Libvirt, "/var/lib/libvirt/qemu/domain-7-web1/monitor.sock", Some("web1")),
            (Layout::Libvirt, "/var/lib/libvirt/qemu/domain-12-a-b.c/monitor.sock", Some("a-b.c")),
            (Layout::Libvirt, "/var/lib/libvirt/qemu/domain-x-web1/monitor.sock", None),
            (Layout::Libvirt, "/var/lib/libvirt/qemu/domain-7-/monitor.sock", None),
            (Layout::Libvirt, "/var/lib/libvirt/qemu/capabilities.monitor.sock/monitor.sock", None),
            (Layout::Proxmox, "/var/run/qemu-server/100.qmp", Some("100")),
            (Layout::Proxmox, "/var/run/qemu-server/qsd-100.qmp", None),
            (Layout::Incus, "/run/incus/web1/qemu.monitor", Some("web1")),
            (Layout::Incus, "/run/incus/prod_web1/qemu.monitor", Some("prod_web1")),
            (Layout::Incus, &deep, Some(&deep[11..131])),
            (
                Layout::Ganeti,
                "/var/run/ganeti/kvm-hypervisor/ctrl/web1.example.org.qmp",
                Some("web1.example.org"),
            ),
            (Layout::Kata, "/run/vc/vm/4f1c/qmp.sock", Some("4f1c")),
            (Layout::Kata, "/qmp.sock", None),
        ];
        for (layout, path, expected) in cases {
            let name = layout.name(Path::new(path)).map(|parts| parts.name);
            assert_eq!(name.as_deref(), expected, "{layout} {path}");
        }
    }

    #[test]
    fn every_layout_has_a_word_and_a_pattern() {
        for word in words() {
            let layout: Layout = word.parse().expect(word);
            assert_eq!(layout.to_string(), word);
            assert_eq!(layout.patterns(None).len(), 1, "{word}");
            let elsewhere = layout.patterns(Some(Path::new("/elsewhere")))[0].to_string();
            assert!(elsewhere.starts_with("/elsewhere/"), "{elsewhere}");
        }
        let error = "libvrit".parse::<Layout>().expect_err("no layout").to_string();
        assert_eq!(error, "\"libvrit\" is no layout; there are libvirt, proxmox, incus, ganeti, kata");
    }

    #[test]
    fn advice_is_for_whoever_holds_the_monitor() {
        let cases = [
            ("/var/lib/libvirt/qemu/domain-7-web1/monitor.sock", "--discover libvirt"),
            ("/srv/root/domain-7-web1/monitor.sock", "--discover libvirt"),
            ("/var/run/qemu-server/100.qmp", "qm set"),
            ("/run/incus/web1/qemu.monitor", "raw.qemu"),
            ("/var/run/ganeti/kvm-hypervisor/ctrl/a.qmp", "gnt-instance"),
            ("/run/vc/vm/4f1c/qmp.sock", "extra_monitor_socket"),
            ("/run/vm/web1.sock", "QEMU takes -qmp several times"),
        ];
        for (path, expected) in cases {
            assert!(advice(Some(Path::new(path))).contains(expected), "{path}");
        }
        assert_eq!(advice(None), ADVICE);
    }
}

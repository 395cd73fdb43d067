//! The description of a domain.

use std::path::Path;

/// The UUID of the domain `vm1`.
const UUID: &str = "5f93793e-c80e-4eec-a36b-a2e6d218bdbc";

/// The program of its QEMU.
pub(super) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A domain as a test wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DomainXml {
    /// Whether its QEMU has a second monitor at `raw.sock`.
    pub has_raw_monitor: bool,
    /// Its devices, in which `HOME` is the directory of its libvirt.
    pub devices: &'static str,
    /// Texts of the description, and those in their place.
    pub changes: &'static [(&'static str, &'static str)],
}

impl DomainXml {
    /// A domain whose QEMU has a second monitor at `raw.sock`.
    #[must_use]
    pub const fn with_raw_monitor() -> Self {
        Self { has_raw_monitor: true, devices: "", changes: &[] }
    }

    /// Returns the description of the domain `vm1`.
    ///
    /// # Panics
    ///
    /// If a text that is to be replaced is missing.
    #[must_use]
    pub fn text(&self, home: &Path) -> String {
        let raw = "<qemu:commandline><qemu:arg value='-qmp'/>\
                   <qemu:arg value='unix:HOME/raw.sock,server=on,wait=off'/></qemu:commandline>";
        let mut text = format!(
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
             <name>vm1</name><uuid>{UUID}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>\
             <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>\
             <devices><emulator>{QEMU}</emulator>{}</devices>{}</domain>",
            self.devices,
            if self.has_raw_monitor { raw } else { "" }
        );
        for (before, after) in self.changes {
            assert!(text.contains(before), "{before} is in the description");
            text = text.replace(before, after);
        }
        text.replace("HOME", home.to_str().expect("UTF-8"))
    }
}

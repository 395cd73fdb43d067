//! Configuration of an emulated machine.

use qmp_events::Release;

use crate::{action::Action, clock::MachineClock, guest::Guest, transitions::Policy};

/// Configuration of an emulated machine: the options that a QEMU has on its command line.
///
/// ```
/// use qmp_machine::{Guest, MachineConfig};
/// use qmp_events::Release;
///
/// let config = MachineConfig::default().with_release(Release::stable(7, 2, 22)).with_guest(Guest::Absent);
/// # assert_eq!(config.release.to_string(), "7.2.22");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MachineConfig {
    /// The machine's name (`-name`).
    pub name: Option<Box<str>>,
    /// Its UUID (`-uuid`).
    pub uuid: Box<str>,
    /// The QEMU release that the machine claims to be.
    pub release: Release,
    /// The package text of the greeting.
    pub package: Box<str>,
    /// Whether the machine waits for `cont` (`-S`).
    pub start_stopped: bool,
    /// Whether the machine waits for a migration (`-incoming defer`).
    pub incoming: bool,
    /// The reactions to a shutdown, a reboot, a panic and a watchdog (`-no-shutdown`, `-no-reboot`, `-action`).
    pub policy: Policy,
    /// Memory in bytes (`-m`).
    pub memory_bytes: u64,
    /// Number of processors (`-smp`).
    pub cpus: u32,
    /// Whether an operating system runs in the machine.
    pub guest: Guest,
    /// Devices, block devices and back ends, as the commands that create them: `device_add`, `blockdev-add`,
    /// `netdev_add`, `chardev-add`, `object-add`.
    pub devices: Vec<Action>,
    /// The time source.
    pub clock: MachineClock,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl MachineConfig {
    /// Sets [`name`](Self::name).
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets [`uuid`](Self::uuid).
    #[must_use]
    pub fn with_uuid(mut self, uuid: &str) -> Self {
        self.uuid = uuid.into();
        self
    }

    /// Sets [`package`](Self::package).
    #[must_use]
    pub fn with_package(mut self, package: &str) -> Self {
        self.package = package.into();
        self
    }

    /// A machine without devices and operating system, as `-nodefaults` starts it.
    #[must_use]
    pub fn bare() -> Self {
        Self { devices: Vec::new(), guest: Guest::Absent, ..Self::default() }
    }
}

/// Makes a method for each member, which sets it.
macro_rules! setters {
    ($($method:ident: $member:ident: $ty:ty,)*) => {
        impl MachineConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($member), "`](Self::", stringify!($member), ").")]
                #[must_use]
                pub fn $method(mut self, $member: $ty) -> Self {
                    self.$member = $member;
                    self
                }
            )*
        }
    };
}

setters! {
    with_release: release: Release,
    with_start_stopped: start_stopped: bool,
    with_incoming: incoming: bool,
    with_policy: policy: Policy,
    with_memory_bytes: memory_bytes: u64,
    with_cpus: cpus: u32,
    with_guest: guest: Guest,
    with_devices: devices: Vec<Action>,
    with_clock: clock: MachineClock,
    with_seed: seed: u64,
}

impl Default for MachineConfig {
    /// A running PC of the newest release with the usual devices: `disk0` on node `disk0-node`, `cd0`, `net0` on back end
    /// `lan0`, `serial0` with the port `agent0`, `balloon0`, `xhci0` with `tablet0`, `watchdog0`, `pvpanic0`.
    fn default() -> Self {
        Self {
            name: None,
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            release: Release::stable(11, 1, 3),
            package: "".into(),
            start_stopped: false,
            incoming: false,
            policy: Policy::default(),
            memory_bytes: 1 << 30,
            cpus: 1,
            guest: Guest::default(),
            devices: usual_devices(),
            clock: MachineClock::default(),
            seed: 0,
        }
    }
}

/// The devices of a usual PC.
fn usual_devices() -> Vec<Action> {
    let device = |driver: &str, id: &str| Action::new("device_add").with("driver", driver).with("id", id);
    let node = |driver: &str, name: &str| {
        Action::new("blockdev-add").with("driver", driver).with("node-name", name).with("size", 1_u64 << 30)
    };
    vec![
        node("null-co", "disk0-node"),
        device("virtio-blk-pci", "disk0").with("drive", "disk0-node"),
        device("ide-cd", "cd0"),
        Action::new("netdev_add").with("type", "user").with("id", "lan0"),
        device("virtio-net-pci", "net0").with("netdev", "lan0"),
        device("virtio-serial-pci", "serial0"),
        device("virtserialport", "agent0"),
        device("virtio-balloon-pci", "balloon0"),
        device("qemu-xhci", "xhci0"),
        device("usb-tablet", "tablet0"),
        device("i6300esb", "watchdog0"),
        device("pvpanic", "pvpanic0"),
    ]
}

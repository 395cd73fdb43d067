//! The files from which Linux is started, created once and cached.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use super::initramfs::Initramfs;
use super::kernel;
use super::modules::{Modules, in_order, needs};
use super::packages::Packages;

/// The packages. The kernel for clouds lacks the watchdog, AHCI and the network cards of PCI Express.
const KERNEL_PACKAGE: &str = "linux-image-amd64";
const BUSYBOX_PACKAGE: &str = "busybox-static";

/// The first program of the guest.
const INIT: &str = include_str!("init.sh");

/// Modules that scenarios may load, besides their dependencies.
const MODULES: [&str; 12] = [
    "ata_piix",
    "button",
    "evdev",
    "i6300esb",
    "pvpanic_mmio",
    "sr_mod",
    "virtio_balloon",
    "virtio_blk",
    "virtio_console",
    "virtio_mem",
    "virtio_net",
    "virtio_pci",
];

/// Names of the files in the cache directory.
const VMLINUZ: &str = "vmlinuz";
const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";

/// Kernel and root directory of the guest.
///
/// They are kept in `QMP_GUEST_CACHE`, or else in `qmp-events` below `XDG_CACHE_HOME` or `~/.cache`, under a name that
/// changes with what they are made of. The kernel is that of the day on which they were made.
#[derive(Clone, Debug)]
pub struct GuestFiles {
    /// Path of the kernel as it was packed.
    pub vmlinuz: PathBuf,
    /// Path of the kernel as QEMU starts it fastest.
    pub kernel: PathBuf,
    /// Path of the root directory's archive.
    pub initramfs: PathBuf,
}

impl GuestFiles {
    /// The files, made if they are not there; `None`, after saying why, where they cannot be made.
    ///
    /// # Panics
    ///
    /// If they cannot be made and `CI` is set.
    #[must_use]
    pub fn at_hand() -> Option<Self> {
        static MADE: OnceLock<Result<GuestFiles, String>> = OnceLock::new();
        match MADE.get_or_init(Self::kept_or_made) {
            Ok(files) => Some(files.clone()),
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "no Linux for the guest: {reason}");
                eprintln!("skipped: no Linux for the guest: {reason}");
                None
            }
        }
    }

    fn kept_or_made() -> Result<Self, String> {
        let cache = cache_directory().ok_or("neither QMP_GUEST_CACHE nor HOME is set")?;
        fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        let directory = cache.join(format!("guest-{:016x}", fingerprint()));
        let [vmlinuz, kernel, initramfs] = [VMLINUZ, KERNEL, INITRAMFS].map(|name| directory.join(name));
        let files = Self { vmlinuz, kernel, initramfs };
        // Tests run in parallel processes: one creates the files, the others wait.
        let lock = File::create(cache.join("guest.lock")).map_err(|error| error.to_string())?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
        if !directory.is_dir() {
            let workshop = tempfile::tempdir_in(&cache).map_err(|error| error.to_string())?;
            let made = make(workshop.path())?;
            // Renamed when complete, so that an interrupted attempt is not used.
            fs::rename(made, &directory).map_err(|error| error.to_string())?;
        }
        Ok(files)
    }
}

fn cache_directory() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("QMP_GUEST_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("qmp-events")))
        .or_else(|| Some(set("HOME")?.join(".cache/qmp-events")))
}

/// Returns a value that changes with all inputs of the files except the packages.
fn fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    (INIT, MODULES, KERNEL_PACKAGE, BUSYBOX_PACKAGE).hash(&mut hasher);
    hasher.finish()
}

/// Creates the files; returns their directory.
fn make(workshop: &Path) -> Result<PathBuf, String> {
    let [unpacked, made] = ["unpacked", "made"].map(|name| workshop.join(name));
    let told = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&made).map_err(told)?;
    let mut packages = Packages::in_directory(workshop);
    packages.unpack(BUSYBOX_PACKAGE, &unpacked)?;
    packages.unpack(KERNEL_PACKAGE, &unpacked)?;

    // Older releases have it in `bin`, younger ones in `usr/bin`.
    let found = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| unpacked.join(path))
        .into_iter()
        .find(|path| path.exists());
    let busybox = found.ok_or_else(|| format!("{BUSYBOX_PACKAGE} has no busybox"))?;
    let vmlinuz = fs::read(vmlinuz_in(&unpacked.join("boot"))?).map_err(told)?;
    fs::write(made.join(VMLINUZ), &vmlinuz).map_err(told)?;
    let kernel = match kernel::packed(&vmlinuz) {
        Some(packed) => unpack_xz(packed, workshop)?,
        None => vmlinuz,
    };
    fs::write(made.join(KERNEL), kernel).map_err(told)?;
    fs::write(made.join(INITRAMFS), initramfs(&unpacked, &busybox, workshop)?).map_err(told)?;
    Ok(made)
}

fn vmlinuz_in(boot: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(boot).map_err(|error| error.to_string())?;
    let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
    let is_it =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    files.find(is_it).ok_or_else(|| format!("{KERNEL_PACKAGE} has no kernel"))
}

fn initramfs(unpacked: &Path, busybox: &Path, workshop: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut modules = Modules::default();
    for directory in ["lib/modules", "usr/lib/modules"].map(|path| unpacked.join(path)) {
        if directory.is_dir() {
            modules = Modules::below(&directory).map_err(told)?;
        }
    }
    let mut archive = Initramfs::default();
    for directory in ["bin", "dev", "modules", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &fs::read(busybox).map_err(told)?);
    let mut needed = BTreeMap::new();
    let mut open: Vec<String> = MODULES.map(str::to_owned).into();
    while let Some(name) = open.pop() {
        if needed.contains_key(&name) {
            continue;
        }
        let file = modules.file(&name).ok_or_else(|| format!("{KERNEL_PACKAGE} has no module {name}"))?;
        let mut content = fs::read(file).map_err(told)?;
        if file.extension().is_some_and(|extension| extension == "xz") {
            content = unpack_xz(&content, workshop)?;
        }
        archive.file(&format!("modules/{name}.ko"), &content);
        let needs = needs(&content);
        open.extend(needs.iter().cloned());
        needed.insert(name, needs);
    }
    for name in needed.keys() {
        let order = in_order(name, &needed).join("\n") + "\n";
        archive.file(&format!("modules/{name}.needs"), order.as_bytes());
    }
    Ok(archive.finish())
}

fn unpack_xz(packed: &[u8], workshop: &Path) -> Result<Vec<u8>, String> {
    let file = workshop.join("packed.xz");
    fs::write(&file, packed).map_err(|error| error.to_string())?;
    let output = Command::new("xz").args(["-dc"]).arg(&file).output();
    let output = output.map_err(|error| format!("xz cannot be run: {error}; install xz-utils"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("xz: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

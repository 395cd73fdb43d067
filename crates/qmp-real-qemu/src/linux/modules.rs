//! Modules of the kernel and their dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How a module's file says what it needs: names with commas between them, up to a zero byte.
const NEEDS: &[u8] = b"\0depends=";

/// All modules of a kernel, by name: `-` in the name of a file is `_` in that of its module.
#[derive(Debug, Default)]
pub(crate) struct Modules(BTreeMap<String, PathBuf>);

impl Modules {
    /// Finds the modules below a directory.
    pub(crate) fn below(directory: &Path) -> io::Result<Self> {
        let mut modules = Self::default();
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else if let Some((name, "ko" | "ko.xz")) = name.split_once('.') {
                    modules.0.insert(name.replace('-', "_"), entry.path());
                }
            }
        }
        Ok(modules)
    }

    /// Returns the path of the module.
    pub(crate) fn file(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }
}

/// Returns the names of the modules that have to be loaded before the one with this content.
pub(crate) fn needs(module: &[u8]) -> Vec<String> {
    let Some(at) = module.windows(NEEDS.len()).position(|bytes| bytes == NEEDS) else { return Vec::new() };
    let names = module[at + NEEDS.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Returns the modules to load for `name`, itself the last, each after its dependencies.
pub(crate) fn in_order(name: &str, needs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut order = Vec::new();
    visit(name, needs, &mut order);
    order
}

fn visit(name: &str, needs: &BTreeMap<String, Vec<String>>, order: &mut Vec<String>) {
    for need in needs.get(name).into_iter().flatten() {
        visit(need, needs, order);
    }
    if !order.iter().any(|earlier| earlier == name) {
        order.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_module_needs() {
        let cases: [(&str, &[u8], &[&str]); 4] = [
            (
                "two",
                b"\x7fELF\0license=GPL\0depends=virtio-ring,virtio\0name=x\0",
                &["virtio_ring", "virtio"],
            ),
            ("none", b"\x7fELF\0depends=\0name=x\0", &[]),
            ("nothing said", b"\x7fELF\0name=x\0", &[]),
            ("cut off", b"\x7fELF\0depends=a,b", &["a", "b"]),
        ];
        for (name, module, expected) in cases {
            assert_eq!(needs(module), expected, "{name}");
        }
    }

    #[test]
    fn each_comes_after_what_it_needs() {
        let needs: BTreeMap<String, Vec<String>> =
            [("net", "pci,core"), ("pci", "core,ring"), ("core", "ring")]
                .map(|(name, needs)| (name.to_owned(), needs.split(',').map(str::to_owned).collect()))
                .into();
        assert_eq!(in_order("net", &needs), ["ring", "core", "pci", "net"]);
        assert_eq!(in_order("ring", &needs), ["ring"]);
    }
}

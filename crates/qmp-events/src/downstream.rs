//! Names that a vendor of QEMU defines.

/// Returns whether a vendor of QEMU, and not QEMU, defines the name.
pub(crate) fn is_downstream(name: &str) -> bool {
    name.starts_with("__")
}

//! Which VMs a reader of summaries wants.

/// The VMs of which a reader wants something, by the ids of their names.
#[derive(Clone, Copy, Debug)]
pub enum VmSelection<'a> {
    /// No VM.
    None,
    /// These VMs, in ascending order.
    These(&'a [u32]),
    /// Every VM.
    Every,
}

impl VmSelection<'_> {
    /// Whether the VM is one of them.
    #[must_use]
    pub fn has(&self, vm: u32) -> bool {
        match self {
            Self::None => false,
            Self::These(vms) => vms.binary_search(&vm).is_ok(),
            Self::Every => true,
        }
    }

    /// The same for VMs in ascending order, without a search for each.
    pub(super) fn ascending(&self) -> impl FnMut(u32) -> bool {
        let (mut rest, is_every) = match *self {
            Self::None => (&[][..], false),
            Self::These(vms) => (vms, false),
            Self::Every => (&[][..], true),
        };
        move |vm| {
            while let Some((_, tail)) = rest.split_first().filter(|(first, _)| **first < vm) {
                rest = tail;
            }
            is_every || rest.first() == Some(&vm)
        }
    }

    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

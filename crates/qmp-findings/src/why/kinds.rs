//! The kinds of findings about why a VM stopped, was reset, slept or ended.

pub(in super::super) const WHY_ENDED: &str = "why-ended";
pub(in super::super) const WHY_PAUSED: &str = "why-paused";
pub(in super::super) const WHY_RESET: &str = "why-reset";
pub(in super::super) const WHY_SUSPENDED: &str = "why-suspended";

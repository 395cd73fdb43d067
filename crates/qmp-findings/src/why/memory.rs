//! What is kept of one VM to say why it stands as it does.

use super::asking::Asking;
use super::evidence::Evidence;
use super::pending::Pending;
use super::standing::Standing;
use crate::saved::saved;

/// How one VM stands, and what led there.
#[derive(Debug, Default)]
pub(in super::super) struct Why {
    pub(super) standing: Standing,
    pub(super) evidence: Evidence,
    pub(super) pending: Vec<Pending>,
    pub(super) asking: Asking,
}

saved!(Why { standing, evidence, pending, asking });

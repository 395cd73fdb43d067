//! The members that a write leaves out.

/// A member to leave out, or a member whose value has members to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The member's name.
    pub name: Box<str>,
    /// The members to leave out in its value; if empty, the member itself is left out.
    pub within: Vec<Hidden>,
}

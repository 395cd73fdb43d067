//! The stack of open containers: one bit each, so that a thousand levels take 128 bytes and no allocation.

/// Deepest nesting of objects and arrays in a message, in levels; the message itself is the first.
///
/// QEMU's own parser accepts 1024 levels and refuses 1025, so no QEMU can be made to send more.
pub const NESTING_MAX: usize = 1024;

const WORDS: usize = NESTING_MAX / 64;

/// The open containers of a scan.
#[derive(Clone, Debug)]
pub(super) struct Nesting {
    depth: usize,
    in_object: bool,
    objects: [u64; WORDS],
}

impl Nesting {
    /// One open object.
    pub(super) fn one_object() -> Self {
        let mut objects = [0; WORDS];
        objects[0] = 1;
        Self { depth: 1, in_object: true, objects }
    }

    /// Closes all but the outermost object.
    #[inline]
    pub(super) fn restart(&mut self) {
        self.depth = 1;
        self.in_object = true;
    }

    /// Opens an object or an array; returns `false` beyond the limit.
    #[inline]
    pub(super) fn open(&mut self, object: bool) -> bool {
        if self.depth == NESTING_MAX {
            return false;
        }
        let word = &mut self.objects[self.depth / 64 % WORDS];
        let bit = self.depth % 64;
        *word = *word & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        self.in_object = object;
        true
    }

    /// Closes the innermost container.
    #[inline]
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        let enclosing = self.depth.wrapping_sub(1);
        self.in_object = self.objects[enclosing / 64 % WORDS] >> (enclosing % 64) & 1 == 1;
    }

    /// Returns the number of open containers.
    #[inline]
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Returns whether the innermost open container is an object.
    #[inline]
    pub(super) fn in_object(&self) -> bool {
        self.in_object
    }
}

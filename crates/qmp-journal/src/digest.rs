//! The part of a summary beside a record's names and time: derived by the owner of the journal.
//!
//! The journal does not know what an event means. Its owner gives a [`Digest`], which says for each record of which class
//! it is, and what it changes. Classes and words are opaque to the journal, which counts the ones and keeps the others.

use std::borrow::Cow;
use std::fmt;

use qmp_wire::{Body, UnixMicros};

use super::body::{self, RecordKind};
use super::limits::WORD_MAX_BYTES;

/// Derives classes and changes from records.
///
/// The same record must always give the same: summaries are made when a segment is sealed, and again for segments that
/// have none of the same version.
pub trait Digest: fmt::Debug + Send + Sync {
    /// The version of the derivation, at least 1. Summaries of another version are made again.
    fn version(&self) -> u32;

    /// Returns the class of a record, and appends what it changes.
    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class;
}

/// Derives nothing: one class, no changes. Its version is 0.
#[derive(Clone, Copy, Debug)]
pub struct NoDigest;

impl Digest for NoDigest {
    fn version(&self) -> u32 {
        0
    }

    fn digest(&self, _: UnixMicros, _: &Body<'_>, _: &mut Vec<Change<'static>>) -> Class {
        Class::default()
    }
}

/// A class of records of one name, such as those that report a failure: a number below 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

impl Class {
    /// Bits of a class.
    pub(super) const BITS: u32 = 3;

    /// The class with this number; its lowest three bits count.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & 7)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// One of four values that a VM has at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track(u8);

impl Track {
    /// The number of tracks.
    pub(super) const COUNT: u8 = 4;

    /// The track with this number; its lowest two bits count.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & 3)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A change of a VM by a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// From when on: not always the receipt of the record.
    pub at: UnixMicros,
    /// The change.
    pub kind: ChangeKind<'a>,
}

/// The kinds of changes. A word has at most [`WORD_MAX_BYTES`], and is cut there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind<'a> {
    /// A track has this value until the next one of the same track.
    Set {
        /// The track.
        track: Track,
        /// The value.
        word: Cow<'a, str>,
    },
    /// Something begins that lasts until it is closed.
    Open {
        /// Its kind. If it lasts already, it begins again.
        word: Cow<'a, str>,
    },
    /// It ends, if it lasts.
    Close {
        /// The kind that ends.
        word: Cow<'a, str>,
    },
    /// Everything that lasts ends.
    CloseAll,
    /// Something happened that has ended.
    Span {
        /// Its kind.
        word: Cow<'a, str>,
        /// When it ended.
        until: UnixMicros,
    },
}

impl Change<'_> {
    /// The same change with words of its own, which are cut to their limit.
    #[must_use]
    pub fn into_owned(self) -> Change<'static> {
        let own = |word: Cow<'_, str>| match word {
            Cow::Borrowed(word) => Cow::Owned(cut(word).to_owned()),
            Cow::Owned(word) => Cow::Owned(cut(&word).to_owned()),
        };
        let kind = match self.kind {
            ChangeKind::Set { track, word } => ChangeKind::Set { track, word: own(word) },
            ChangeKind::Open { word } => ChangeKind::Open { word: own(word) },
            ChangeKind::Close { word } => ChangeKind::Close { word: own(word) },
            ChangeKind::CloseAll => ChangeKind::CloseAll,
            ChangeKind::Span { word, until } => ChangeKind::Span { word: own(word), until },
        };
        Change { at: self.at, kind }
    }
}

impl ChangeKind<'_> {
    /// The word, if the kind has one.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Set { word, .. } | Self::Open { word } | Self::Close { word } | Self::Span { word, .. } => {
                Some(cut(word))
            }
            Self::CloseAll => None,
        }
    }
}

/// The beginning of a word, at most [`WORD_MAX_BYTES`] of it.
fn cut(word: &str) -> &str {
    let mut end = word.len().min(WORD_MAX_BYTES);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    &word[..end]
}

/// The class and the changes that a digest derived from one record.
#[derive(Clone, Debug, Default)]
pub(super) struct DigestResult {
    pub(super) class: Class,
    pub(super) changes: Vec<Change<'static>>,
}

impl DigestResult {
    /// Derives from a record, given its columns. Columns that make no record give nothing.
    pub(super) fn of(
        digest: &dyn Digest,
        received: i64,
        kind: RecordKind,
        event: Option<&str>,
        data: Option<&str>,
    ) -> Self {
        if digest.version() == NoDigest.version() {
            return Self::default();
        }
        let Some(body) = body::abridged(kind, event, data) else { return Self::default() };
        let mut changes = Vec::new();
        let class = digest.digest(UnixMicros(received), &body, &mut changes);
        Self { class, changes }
    }
}

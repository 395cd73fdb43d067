//! Words as small numbers, in the order of their first use.

use std::collections::HashMap;

/// Texts, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    words: Vec<Box<str>>,
    ids: HashMap<Box<str>, u32>,
}

impl Interner {
    /// The number of a word.
    pub(crate) fn id(&mut self, word: &str) -> u32 {
        if let Some(id) = self.ids.get(word) {
            return *id;
        }
        let id = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.words.push(word.into());
        self.ids.insert(word.into(), id);
        id
    }

    /// The word of a number.
    pub(crate) fn word(&self, id: u32) -> &str {
        usize::try_from(id).ok().and_then(|id| self.words.get(id)).map_or("", |word| word)
    }

    /// All words.
    pub(crate) fn into_words(self) -> Vec<Box<str>> {
        self.words
    }
}

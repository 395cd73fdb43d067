//! Names that were probably meant.

/// The one of `known` that `word` was probably meant to be: at most half of its letters are others.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&word, &known.to_lowercase());
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) * 2 <= near.len().max(2)).then_some(near)
}

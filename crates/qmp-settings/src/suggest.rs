//! Suggestions for misspelt names: "did you mean …?"

use std::collections::BTreeSet;

/// The candidate that is nearest to `word`: at most a third of its letters differ, exchanged letters counted once. Case
/// is ignored.
pub fn nearest<'k>(word: &str, candidates: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let candidates = candidates.into_iter().map(|candidate| {
        let characters = candidate.chars().count();
        (candidate, characters, characters.max(3) / 3)
    });
    candidates
        // The distance is at least the difference of the lengths: a long word is not compared.
        .filter(|(_, characters, distance_max)| characters.abs_diff(length) <= *distance_max)
        .map(|(candidate, _, distance_max)| {
            (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate, distance_max)
        })
        .filter(|(distance, _, distance_max)| distance <= distance_max)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(_, candidate, _)| candidate)
}

/// A suggestion, or the known names. If there are more than `listed_max` of them, lists those that share a word with
/// `word`, or the first ones.
#[must_use]
pub fn advice(word: &str, known: &[&str], listed_max: usize) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.len() <= listed_max => format!("known here: {}", known.join(", ")),
        None => {
            let words: BTreeSet<&str> = word.split(['-', '_']).filter(|word| word.len() > 2).collect();
            let near: Vec<_> =
                known.iter().filter(|known| words.iter().any(|word| known.contains(word))).copied().collect();
            match near.is_empty() {
                true => format!("known here: {}, …", known[..listed_max].join(", ")),
                false => format!("perhaps {}", near.join(", ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_suggested() {
        let cases = [
            ("SHUTDWON", Some("SHUTDOWN")),
            ("shutdown", Some("SHUTDOWN")),
            ("RESUMED", Some("RESUME")),
            ("STPO", Some("STOP")),
            ("POWER", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, ["STOP", "RESUME", "SHUTDOWN", "POWERDOWN"]), expected, "{word}");
        }
    }
}

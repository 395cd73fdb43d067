//! "Did you mean …?"

use std::collections::BTreeSet;

/// The candidate that `word` was probably meant to be: at most a third of its letters differ, exchanged ones counted once.
/// Upper and lower case are the same.
pub fn nearest<'k>(word: &str, candidates: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What was probably meant, or what there is. Of more than `listed_max` names, those are listed that share a word with this
/// one, or the first.
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
    fn suggests_what_is_near_and_nothing_else() {
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

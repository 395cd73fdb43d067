//! "Did you mean …?"

/// The candidate that `word` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
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

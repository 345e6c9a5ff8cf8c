//! "Did you mean ...?"

/// The candidate nearest to what was written, where one is near enough to have been meant.
pub(super) fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let written = plain(written);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&written, &plain(candidate));
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(written.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["id", "type", "max_bytes", "find_me", "hydrate"];
        for (written, meant) in [
            ("max_byte", "max_bytes"),
            ("maxbytes", "max_bytes"),
            ("max-bytes", "max_bytes"),
            ("fnid_me", "find_me"),
            ("Type", "type"),
            ("hydrat", "hydrate"),
        ] {
            assert_eq!(nearest(written, keys), Some(meant), "{written}");
        }
    }

    #[test]
    fn suggests_nothing_far_off() {
        assert_eq!(nearest("colour", ["id", "type", "max_bytes"]), None);
        assert_eq!(nearest("", ["max_bytes"]), None);
    }
}

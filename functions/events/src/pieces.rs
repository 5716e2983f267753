//! A text in pieces of a few words, where nothing says in which pieces its model wrote it.

/// A piece ends with the word that makes it this long, in bytes.
const WANTED: usize = 16;
/// Not even a word is longer.
const MOST: usize = 256;

/// The same pieces every time; one after the other they are the text.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let most = &rest[..rest.floor_char_boundary(MOST)];
        let spaces = most.char_indices().filter(|(_, it)| it.is_whitespace());
        let mut ends = spaces.map(|(start, it)| start + it.len_utf8());
        let end = ends.find(|end| *end >= WANTED).unwrap_or(most.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_a_few_words_and_together_the_text() {
        fn of(text: &str) -> Vec<&str> {
            pieces(text).collect()
        }
        assert_eq!(
            of("The disk filled up at noon, as logs were not rotated."),
            [
                "The disk filled ",
                "up at noon, as logs ",
                "were not rotated."
            ]
        );
        assert!(of("").is_empty());
        for text in [
            "x".repeat(1000),
            "語".repeat(1000),
            format!("{} \n\n\t ä", "ü".repeat(300)),
            "  leading and trailing  ".to_owned(),
        ] {
            assert_eq!(of(&text).concat(), text);
            assert!(pieces(&text).all(|it| !it.is_empty() && it.len() <= MOST));
        }
    }
}

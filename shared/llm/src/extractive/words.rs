//! Words: what counts as the same one, and what counts for nothing.

use unicode_segmentation::UnicodeSegmentation;

/// English words that carry no subject.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been", "before", "being",
    "between", "both", "but", "by", "can", "could", "did", "do", "does", "doing", "done", "during", "each", "few", "for", "from",
    "had", "has", "have", "having", "he", "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "may", "me",
    "more", "most", "much", "my", "no", "nor", "not", "of", "off", "on", "once", "only", "or", "other", "our", "out", "over", "own", "same",
    "she", "should", "so", "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "through",
    "to", "too", "under", "until", "up", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will",
    "with", "within", "without", "would", "you", "your",
];

/// Words that ask for an answer and say nothing of its subject.
#[rustfmt::skip]
const REQUEST_WORDS: &[&str] = &[
    "answer", "brief", "briefly", "bullet", "concise", "describe", "document", "explain", "extract", "following", "give", "input", "key", "list",
    "main", "one", "please", "point", "points", "provide", "quote", "report", "sentence", "sentences", "short", "shortly", "summarise", "summarize",
    "summary", "tell", "text", "three", "two", "use", "using", "word", "words", "write",
];

/// Words at whose full stop a sentence goes on.
#[rustfmt::skip]
const ABBREVIATIONS: &[&str] = &[
    "approx", "ca", "cf", "dept", "dr", "ed", "eq", "etc", "fig", "figs", "gen", "jr", "mr", "mrs", "ms", "mt", "no", "nos", "nr", "pp", "prof",
    "ref", "rev", "sec", "sr", "st", "vol", "vs",
];

/// Words that point back to a sentence which a quotation leaves behind.
#[rustfmt::skip]
const BACK_REFERENCES: &[&str] = &[
    "also", "but", "he", "however", "instead", "it", "its", "otherwise", "she", "so", "that", "their", "then", "these", "they", "therefore",
    "this", "those", "thus",
];

/// The number of words that a text has, for `usage`.
pub(super) fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The subject words of a text, each in the form that its inflections share.
pub(super) fn terms(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().filter_map(|word| {
        let word = word.to_lowercase();
        (!STOP_WORDS.contains(&word.as_str())).then(|| stem(word))
    })
}

/// The subject words of instructions.
pub(super) fn request_terms(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().filter_map(|word| {
        let word = word.to_lowercase();
        let is_subject = ![STOP_WORDS, REQUEST_WORDS]
            .iter()
            .any(|list| list.contains(&word.as_str()));
        is_subject.then(|| stem(word))
    })
}

/// Returns `true` if a sentence that begins so leans on the one before.
pub(super) fn refers_back(sentence: &str) -> bool {
    sentence
        .unicode_words()
        .next()
        .is_some_and(|word| BACK_REFERENCES.contains(&word.to_lowercase().as_str()))
}

/// Returns `true` if the full stop at the end of `text` is likely part of its last word.
pub(super) fn ends_in_abbreviation(text: &str) -> bool {
    let Some(text) = text.trim_end().strip_suffix('.') else {
        return false;
    };
    let last = text
        .rsplit(|character: char| character.is_whitespace() || "([\"'*".contains(character))
        .next()
        .unwrap_or_default();
    let lower = last.to_lowercase();
    let is_initial = last.chars().count() == 1 && last.chars().all(char::is_uppercase);
    let is_numbering =
        last == text.trim() && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let is_dotted = last.contains('.')
        && last
            .split('.')
            .all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic));
    ABBREVIATIONS.contains(&lower.as_str())
        || is_initial
        || is_numbering
        || (is_dotted && !["a.m", "p.m"].contains(&lower.as_str()))
}

/// The number of sentences that the instructions ask for.
pub(super) fn sentence_limit(instructions: &str) -> Option<usize> {
    let words: Vec<_> = instructions
        .unicode_words()
        .map(str::to_lowercase)
        .collect();
    let unit = |word: &String| {
        [
            "sentence",
            "sentences",
            "bullet",
            "bullets",
            "quote",
            "quotes",
        ]
        .contains(&word.as_str())
    };
    words
        .iter()
        .enumerate()
        .filter(|(_, word)| unit(word))
        .find_map(|(position, _)| {
            words[position.saturating_sub(2)..position]
                .iter()
                .rev()
                .find_map(|word| number(word))
        })
}

fn number(word: &str) -> Option<usize> {
    const NAMES: [&str; 10] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    let named = NAMES
        .iter()
        .position(|name| *name == word)
        .map(|position| position + 1);
    let number = named
        .or_else(|| (word == "single").then_some(1))
        .or_else(|| word.parse().ok())?;
    (1..=50).contains(&number).then_some(number)
}

/// Takes English endings off: `causes`, `caused` and `causing` become `caus`. Crude on purpose: two words that
/// meet by mistake cost less than two forms that do not meet.
fn stem(mut word: String) -> String {
    if word.len() < 4 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word;
    }
    for (ending, replacement) in [
        ("ies", "y"),
        ("ied", "y"),
        ("sses", "ss"),
        ("ing", ""),
        ("ed", ""),
        ("s", ""),
    ] {
        let Some(root) = word.strip_suffix(ending) else {
            continue;
        };
        let keeps = root.len() < 3 || !root.bytes().any(|byte| b"aeiouy".contains(&byte));
        if keeps || (ending == "s" && root.ends_with(['s', 'u', 'i'])) {
            break;
        }
        word = format!("{root}{replacement}");
        let doubled = word
            .as_bytes()
            .last_chunk::<2>()
            .is_some_and(|[one, two]| one == two && !b"aeiouls".contains(one));
        if doubled && replacement.is_empty() && ending != "s" {
            word.pop();
        }
        break;
    }
    if word.len() > 3 && word.ends_with('e') {
        word.pop();
    }
    word
}

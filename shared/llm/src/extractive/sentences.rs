//! Cutting a text, plain or Markdown, into sentences under headings.

use unicode_segmentation::UnicodeSegmentation;

use super::words;

/// A line that is no longer than this, and does not end like a sentence, is a heading.
const HEADING_WORDS: usize = 8;

/// More of a sentence, or of a heading, is not read, in bytes: a text without full stops is not one sentence.
const MAX_SENTENCE: usize = 1_000;
const MAX_HEADING: usize = 150;

#[derive(Default)]
pub(super) struct Text {
    pub(super) sections: Vec<String>,
    pub(super) sentences: Vec<Sentence>,
}

pub(super) struct Sentence {
    /// As it stands in the text, but for line breaks; the end of an overlong one is cut off.
    pub(super) text: String,
    /// Index into `Text::sections`.
    pub(super) section: Option<usize>,
    /// The number of sentences of its section before it.
    pub(super) place: usize,
    /// `true` if it is a row of a table.
    pub(super) is_row: bool,
}

impl Text {
    /// Reads passages, each with the heading it has from outside.
    pub(super) fn parse<'a>(
        passages: impl IntoIterator<Item = (Option<&'a str>, &'a str)>,
    ) -> Self {
        let mut reader = Reader::default();
        for (heading, text) in passages {
            reader.section = None;
            if let Some(heading) = heading {
                reader.open_section(heading);
            }
            text.lines().for_each(|line| reader.line(line));
            reader.end_paragraph();
            reader.in_code = false;
        }
        let mut text = reader.text;
        if text.sentences.is_empty() {
            // Notes without full stops look like headings alone.
            let notes = text
                .sections
                .drain(..)
                .filter(|line| line.unicode_words().nth(3).is_some());
            text.sentences = notes
                .map(|text| Sentence {
                    text,
                    section: None,
                    place: 0,
                    is_row: false,
                })
                .collect();
        }
        text
    }

    pub(super) fn section_of(&self, sentence: &Sentence) -> Option<&str> {
        sentence
            .section
            .map(|section| self.sections[section].as_str())
    }
}

#[derive(Default)]
struct Reader {
    text: Text,
    section: Option<usize>,
    /// Sentences that the current section has so far.
    place: usize,
    paragraph: String,
    /// The number of lines that the paragraph has so far.
    lines: usize,
    in_item: bool,
    in_code: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let line = line.trim().trim_start_matches("> ");
        if line.starts_with("```") || line.starts_with("~~~") {
            self.end_paragraph();
            self.in_code = !self.in_code;
        } else if self.in_code {
            // Code has no sentences.
        } else if line.is_empty() || is_notation(line) {
            self.end_paragraph();
        } else if let Some(heading) = atx_heading(line) {
            self.end_paragraph();
            self.open_section(heading);
        } else if is_rule(line) {
            // Under a single line it makes that a heading.
            if self.lines == 1 && !self.in_item {
                let heading = std::mem::take(&mut self.paragraph);
                self.lines = 0;
                self.open_section(&heading);
            } else {
                self.end_paragraph();
            }
        } else if let Some(row) = line.strip_prefix('|') {
            self.end_paragraph();
            self.row(row);
        } else {
            let item = list_item(line);
            if item.is_some() {
                self.end_paragraph();
                self.in_item = true;
            }
            if self.lines > 0 {
                self.paragraph.push(' ');
            }
            self.paragraph.push_str(item.unwrap_or(line));
            self.lines += 1;
        }
    }

    fn row(&mut self, row: &str) {
        let cells: Vec<_> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        if cells
            .iter()
            .all(|cell| !cell.is_empty() && cell.bytes().all(|byte| b"-:".contains(&byte)))
        {
            // What stands above it was the head of the table.
            self.text.sentences.pop_if(|sentence| sentence.is_row);
        } else {
            self.push(cells.join(" | "), true);
        }
    }

    fn open_section(&mut self, heading: &str) {
        let heading = heading.trim_matches(|character: char| "*_#: ".contains(character));
        self.section = Some(self.text.sections.len());
        self.text
            .sections
            .push(cut(heading.to_owned(), MAX_HEADING));
        self.place = 0;
    }

    fn end_paragraph(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        let is_heading = self.lines == 1 && !self.in_item && reads_as_heading(&paragraph);
        self.lines = 0;
        self.in_item = false;
        if is_heading {
            self.open_section(&paragraph);
        } else {
            for sentence in split(&paragraph) {
                self.push(sentence.to_owned(), false);
            }
        }
    }

    fn push(&mut self, text: String, is_row: bool) {
        let text = cut(text, MAX_SENTENCE);
        self.text.sentences.push(Sentence {
            text,
            section: self.section,
            place: self.place,
            is_row,
        });
        self.place += 1;
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(" …");
    }
    text
}

fn atx_heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    ((1..=6).contains(&level) && rest.starts_with(' ')).then(|| rest.trim())
}

/// Lines that a reader of the rendered text does not see as text: comments, images, targets of links.
fn is_notation(line: &str) -> bool {
    let is_target = line.starts_with('[')
        && line
            .split_once("]: ")
            .is_some_and(|(_, target)| !target.contains(' '));
    is_target
        || line.starts_with("![")
        || line.starts_with("[![")
        || (line.starts_with("<!--") && line.ends_with("-->"))
}

fn is_rule(line: &str) -> bool {
    line.len() >= 3
        && ["-", "=", "*", "_"]
            .iter()
            .any(|mark| line.trim_matches(' ').replace(*mark, "").is_empty())
}

/// The text behind `-`, `*`, `+`, `•`, `1.` or `1)`.
fn list_item(line: &str) -> Option<&str> {
    let after_number = line.trim_start_matches(|character: char| character.is_ascii_digit());
    let digits = line.len() - after_number.len();
    let rest = if digits == 0 {
        line.strip_prefix(['-', '*', '+', '•'])
    } else if digits <= 3 {
        after_number.strip_prefix(['.', ')'])
    } else {
        None
    };
    let item = rest?.strip_prefix(' ')?.trim_start();
    Some(
        item.strip_prefix("[ ] ")
            .or_else(|| item.strip_prefix("[x] "))
            .unwrap_or(item),
    )
}

fn reads_as_heading(line: &str) -> bool {
    let bare = line.trim_matches(['*', '_']);
    !bare.ends_with(['.', '!', '?', ';', ',', '…', '。', '"', '”'])
        && bare
            .chars()
            .next()
            .is_some_and(|character| character.is_uppercase() || character.is_ascii_digit())
        && bare.unicode_words().take(HEADING_WORDS + 1).count() <= HEADING_WORDS
}

/// The sentences of a paragraph.
fn split(paragraph: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (at, piece) in paragraph.split_sentence_bound_indices() {
        let rest = &paragraph[at + piece.len()..];
        // The Unicode rules do not know that emphasis is closed: `**Use a canary.** The next ...`
        let closing = if piece.ends_with(' ') {
            0
        } else {
            rest.len() - rest.trim_start_matches(['*', '_']).len()
        };
        let end = start.max(at + piece.len() + closing);
        let sentence = &paragraph[start..end];
        if end < paragraph.len() && words::ends_in_abbreviation(sentence) {
            continue;
        }
        sentences.push(sentence.trim());
        start = end;
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

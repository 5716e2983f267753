//! The text of an HTML page.

/// Elements that begin a new line.
const BLOCKS: [&str; 24] = [
    "address",
    "article",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "li",
    "main",
    "ol",
    "p",
    "section",
    "table",
    "tr",
    "ul",
];

/// Elements whose content is not for reading.
const HIDDEN: [&str; 5] = ["script", "style", "noscript", "template", "head"];

/// The visible text of a page, near enough to quote from: tags are left out, headings come as Markdown.
pub(super) fn text_of_html(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let mut text = String::with_capacity(page.len() / 2);
    let mut at = 0;
    while let Some(open) = page[at..].find('<').map(|found| at + found) {
        text.push_str(&page[at..open]);
        let end = page[open..]
            .find('>')
            .map_or(page.len(), |found| open + found + 1);
        let tag = lower[open + 1..end].trim_end_matches('>');
        let (closing, name) = match tag.strip_prefix('/') {
            Some(rest) => (true, name_of(rest)),
            None => (false, name_of(tag)),
        };
        at = if tag.starts_with("!--") {
            page[open..]
                .find("-->")
                .map_or(page.len(), |found| open + found + 3)
        } else if !closing && HIDDEN.contains(&name) {
            let close = format!("</{name}");
            lower[end..]
                .find(&close)
                .map_or(page.len(), |found| end + found)
        } else {
            end
        };
        if BLOCKS.contains(&name) {
            text.push_str("\n\n");
            if !closing && matches!(name, "h1" | "h2" | "h3" | "h4" | "h5" | "h6") {
                text.push_str("# ");
            }
        }
    }
    text.push_str(&page[at..]);
    [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .into_iter()
    .fold(text, |text, (entity, character)| {
        text.replace(entity, character)
    })
}

fn name_of(tag: &str) -> &str {
    tag.split(|character: char| !character.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default()
}

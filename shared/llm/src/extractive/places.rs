//! The place of a value in a text, and the form in which it is written there so that it stays there.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The kind of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing that has places.
    Plain,
    Url,
    Json,
    /// Names and values of an HTML form.
    Form,
    /// XML or HTML.
    Markup,
}

/// The kind of an `http_request` body: what its content type says; without one, or where the input says it, what it looks like.
pub(super) fn kind_of_body(arguments: &Map<String, Value>) -> Place {
    let headers = arguments.get("headers").and_then(Value::as_object);
    let mut kinds = headers.into_iter().flatten().filter_map(|(name, value)| {
        let is_kind = name.eq_ignore_ascii_case("content-type");
        value.as_str().filter(|_| is_kind)
    });
    // Of two, the request has the last.
    let kind = kinds.next_back().filter(|kind| placeholder(kind).is_none());
    let Some(kind) = kind else {
        let body = arguments.get("body").and_then(Value::as_str);
        return match body {
            Some(body) if is_json_when_filled(body) => Place::Json,
            _ => Place::Plain,
        };
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Place::Form,
        "application/json" | "text/json" => Place::Json,
        "application/xml" | "text/xml" | "text/html" => Place::Markup,
        kind if kind.ends_with("+json") => Place::Json,
        kind if kind.ends_with("+xml") => Place::Markup,
        _ => Place::Plain,
    }
}

/// Returns `true` if a text is a JSON object or list once something stands for its placeholders.
fn is_json_when_filled(template: &str) -> bool {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, _, after)) = placeholder(rest) {
        filled.push_str(before);
        filled.push('0');
        rest = after;
    }
    filled.push_str(rest);
    filled.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(&filled).is_ok()
}

/// A text in the making.
pub(super) struct Text {
    place: Place,
    text: String,
    /// In a URL: where the segment of the path begins that is being written; behind `?` or `#` there is none.
    segment: Option<usize>,
    /// `true` if a value is part of that segment.
    segment_has_value: bool,
    /// In JSON: between quotes.
    is_quoted: bool,
    /// Behind a backslash, which makes something else of what follows.
    is_escaped: bool,
}

impl Text {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            text: String::new(),
            segment: (place == Place::Url).then_some(0),
            segment_has_value: false,
            is_quoted: false,
            is_escaped: false,
        }
    }

    /// Adds what the template has between its placeholders.
    ///
    /// # Errors
    /// Why a value before it cannot stand where it does.
    pub(super) fn push_template(&mut self, template: &str) -> Result<(), String> {
        for character in template.chars() {
            match (self.place, character) {
                (Place::Url, '/' | '\\' | '?' | '#') if self.segment.is_some() => {
                    self.end_segment()?;
                    let is_path = matches!(character, '/' | '\\');
                    self.segment = is_path.then_some(self.text.len() + 1);
                }
                (Place::Json, '"') if !self.is_escaped => self.is_quoted = !self.is_quoted,
                _ => {}
            }
            self.is_escaped = character == '\\' && !self.is_escaped;
            self.text.push(character);
        }
        Ok(())
    }

    /// Adds a value of the input, which is `written` where nothing has to be kept apart.
    ///
    /// # Errors
    /// Why it cannot stand there.
    pub(super) fn push_value(&mut self, value: &Value, written: &str) -> Result<(), String> {
        match self.place {
            Place::Plain => self.text.push_str(written),
            Place::Url => {
                self.segment_has_value |= self.segment.is_some();
                self.text.extend(utf8_percent_encode(written, ENCODED));
            }
            Place::Form => self.text.extend(utf8_percent_encode(written, ENCODED)),
            Place::Json if self.is_escaped => {
                return Err("there is a backslash before a placeholder in its body".to_owned());
            }
            Place::Json if self.is_quoted => {
                let quoted = Value::from(written).to_string();
                self.text.push_str(&quoted[1..quoted.len() - 1]);
            }
            Place::Json => self.text.push_str(&value.to_string()),
            Place::Markup => {
                for character in written.chars() {
                    match character {
                        '&' => self.text.push_str("&amp;"),
                        '<' => self.text.push_str("&lt;"),
                        '>' => self.text.push_str("&gt;"),
                        '"' => self.text.push_str("&quot;"),
                        '\'' => self.text.push_str("&#39;"),
                        other => self.text.push(other),
                    }
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// Why the last value cannot stand where it does.
    pub(super) fn finish(mut self) -> Result<String, String> {
        self.end_segment()?;
        Ok(self.text)
    }

    /// A segment that is empty or made of dots would lead to another path, however it is written.
    fn end_segment(&mut self) -> Result<(), String> {
        let segment = self.segment.filter(|_| self.segment_has_value);
        self.segment_has_value = false;
        let Some(start) = segment else {
            return Ok(());
        };
        let plain = self.text[start..].to_ascii_lowercase().replace("%2e", ".");
        match plain.as_str() {
            "" | "." | ".." => Err(format!(
                "the input makes {plain:?} a segment of the URL's path"
            )),
            _ => Ok(()),
        }
    }
}

/// The first `{{input...}}` of a text: what is before it, its path, what is after it.
pub(super) fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let end = from + text[from..].find("}}")?;
        if let Some(start) = text[from..end].rfind("{{").map(|found| from + found) {
            let path = text[start + 2..end].trim();
            if path == "input" || path.starts_with("input.") {
                return Some((&text[..start], path, &text[end + 2..]));
            }
        }
        from = end + 2;
    }
}
